// The wire as docs/protocol.md tells it, on Node's own crypto alone: requests are signed, replies judged. No sockets, no clock.
import crypto from "node:crypto";

const UNCOVERED = new Set(("signature signature-input set-cookie date server connection keep-alive transfer-encoding " +
  "content-length via alt-svc vary").split(" "));
const WHEN_SENT = ["authorization", "dpop", "idempotency-key", "sealwire-session", "sealwire-reply-key", "sealwire-approval"];
const PSS = { padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength: 64 };
const ALGORITHMS = {  // by the name in a JWK: the name in a signature, the hash, and how Node is told the rest
  Ed25519: ["ed25519", null, {}],
  ES256: ["ecdsa-p256-sha256", "sha256", { dsaEncoding: "ieee-p1363" }],
  ES384: ["ecdsa-p384-sha384", "sha384", { dsaEncoding: "ieee-p1363" }],
  PS512: ["rsa-pss-sha512", "sha512", PSS],
};
const THUMBPRINT = { OKP: ["crv", "kty", "x"], EC: ["crv", "kty", "x", "y"], RSA: ["e", "kty", "n"] };

export const must = (holds, why) => { if (!holds) throw new Error(why); };
export const nonce = () => crypto.randomBytes(16).toString("base64url");
const digest = (body, hash = "sha256") => crypto.createHash(hash).update(body).digest("base64");

/** A dictionary of RFC 9651, as far as signatures need one, in canonical form: label to {items | value, params, text}. */
export function dictionary(text) {
  const members = new Map();
  let at = 0;
  const take = (pattern, what) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    must(found, `${what} expected at ${at}`);
    at += found[0].length;
    return found[0];
  };
  const bare = () => {
    if (text[at] === '"') return take(/"(?:[ !#-[\]-~]|\\["\\])*"/y, "string").slice(1, -1).replace(/\\(.)/g, "$1");
    if (text[at] === "?") return take(/\?[01]/y, "boolean") === "?1";
    if (text[at] !== ":") return Number(take(/-?(?:0|[1-9]\d{0,14})/y, "integer"));
    const coded = take(/:[A-Za-z0-9+/]*={0,2}:/y, "bytes").slice(1, -1);
    const bytes = Buffer.from(coded, "base64");
    must(bytes.toString("base64") === coded, "base64 has one form");
    return bytes;
  };
  const named = (into, read) => {
    const name = take(/[a-z*][a-z0-9_.*-]*/y, "name");
    must(!into.has(name), `${name} stands twice`);
    into.set(name, read());
  };
  const parameters = () => {
    const params = new Map();
    while (text[at] === ";") {
      at += 1;
      named(params, () => (text[at] === "=" ? (at += 1, bare()) : true));
    }
    return params;
  };
  const list = () => {
    const items = [];
    for (at += 1; text[at] !== ")";) {
      if (items.length) take(/ /y, "space");
      const from = at;
      take(/"[^"\\]+"/y, "component");
      parameters();
      items.push(text.slice(from, at));
    }
    at += 1;
    return items;
  };
  while (at < text.length) {
    if (members.size) take(/[ \t]*,[ \t]*/y, "comma");
    named(members, () => {
      take(/=/y, "=");
      const from = at;
      const member = text[at] === "(" ? { items: list() } : { value: bare() };
      return { ...member, params: parameters(), text: text.slice(from, at) };
    });
  }
  return members;
}

export function thumbprint(jwk) {
  must(Object.hasOwn(THUMBPRINT, jwk.kty), `no support for ${jwk.kty}`);
  const members = Object.fromEntries(THUMBPRINT[jwk.kty].map((member) => [member, jwk[member]]));
  return crypto.createHash("sha256").update(JSON.stringify(members)).digest("base64url");
}

export function makeKey() {
  const { privateKey, publicKey } = crypto.generateKeyPairSync("ed25519");
  const jwk = publicKey.export({ format: "jwk" });
  return { jwk, keyid: thumbprint(jwk), sign: (base) => crypto.sign(null, base, privateKey) };
}

/** The keys of a key set, by thumbprint; those of an algorithm that is not known here are left out. */
export function serverKeys(set) {
  const keys = new Map();
  for (const jwk of set.keys.filter(({ alg, use }) => Object.hasOwn(ALGORITHMS, alg) && use === "sig")) {
    const [alg, hash, rest] = ALGORITHMS[jwk.alg];
    must(jwk.kid === thumbprint(jwk), "a kid is not the thumbprint");
    const key = { key: crypto.createPublicKey({ key: jwk, format: "jwk" }), ...rest };
    keys.set(jwk.kid, { alg, verify: (base, signature) => crypto.verify(hash, base, key, signature) });
  }
  return keys;
}

/** What authorises an enrolment, and the key to pin. */
export function readInvitation(line) {
  const found = /^sw_(?:test|live)_inv_([\w-]{1,64})\.([\w-]{43})\.([\w-]{43})$/.exec(line.trim());
  must(found, "that is no invitation");
  const key = crypto.createHash("sha256").update(found[2]).digest();
  return { keyid: found[1], pin: found[3], sign: (base) => crypto.createHmac("sha256", key).update(base).digest() };
}

export function compose(origin, method, target, headers = {}, body = null) {
  const authority = new URL(origin).host;
  const fields = { host: authority, "accept-encoding": "identity", ...headers };
  if (body !== null) {
    fields["content-length"] = String(body.length);
    fields["content-digest"] = `sha-256=:${digest(body)}:`;
  }
  const [path, query] = [target.split("?", 1)[0], target.slice(target.split("?", 1)[0].length)];
  const derived = { "@method": method, "@authority": authority, "@path": path, "@query": query || "?" };
  return { method, target, body, fields, derived, signatures: [], nonce: null };
}

const valueOf = (request, name) => (name.startsWith("@") ? request.derived[name] : request.fields[name]);
const bytesOf = (lines, input) => Buffer.from([...lines.map((line) => line.join(": ")), `"@signature-params": ${input}`].join("\n"), "latin1");

/** Puts one more signature on a request; `over` is an earlier one that it binds. */
export function put(request, label, { keyid, sign }, tag, created, { nonce: given = nonce(), over = null } = {}) {
  const names = [...Object.keys(request.derived), ...(request.body === null ? [] : ["content-type", "content-digest"]),
    ...WHEN_SENT.filter((name) => name in request.fields)];
  const lines = names.map((name) => [`"${name}"`, valueOf(request, name)]);
  if (over) lines.push([`"signature";key="${over.label}"`, over.value], [`"signature-input";key="${over.label}"`, over.input]);
  const input = `(${lines.map(([id]) => id).join(" ")});created=${created};expires=${created + 60};keyid="${keyid}";nonce="${given}";tag="${tag}"`;
  const made = { label, names, input, value: `:${sign(bytesOf(lines, input)).toString("base64")}:` };
  request.signatures.push(made);
  request.fields["signature-input"] = request.signatures.map((one) => `${one.label}=${one.input}`).join(", ");
  request.fields.signature = request.signatures.map((one) => `${one.label}=${one.value}`).join(", ");
  return made;
}

/** The fields of a reply, of which several lines are one value. */
export function fieldsOf({ raw }) {
  const fields = new Map();
  for (let i = 0; i < raw.length; i += 2) {
    const [name, value] = [raw[i].toLowerCase(), raw[i + 1].replace(/^[ \t]+|[ \t]+$/g, "")];
    fields.set(name, fields.has(name) ? `${fields.get(name)}, ${value}` : value);
  }
  return fields;
}

/** The one signature of the server on a reply: {keyid, input, signature}. */
function sealOf(fields) {
  must(fields.has("signature-input") && fields.has("signature"), "it is not signed");
  const ours = [...dictionary(fields.get("signature-input"))].filter(([, { params }]) => params.get("tag") === "sealwire-response");
  must(ours.length === 1, "it has not one signature of the server");
  const [[label, input]] = ours;
  const signature = dictionary(fields.get("signature")).get(label)?.value;
  must(input.items && Buffer.isBuffer(signature), "its signature is malformed");
  return { keyid: input.params.get("keyid"), input, signature };
}

export const signedBy = (reply) => sealOf(fieldsOf(reply)).keyid;

/** What of a reply is proven to be the server's answer to this request: {status, headers, body, created}; else throws. */
export function prove(reply, request, keys) {
  const fields = fieldsOf(reply);
  const { keyid, input, signature } = sealOf(fields);
  const key = keys.get(keyid);
  must(key, "its key is not trusted");
  const { params } = input;
  must([...params.keys()].every((name) => ["created", "keyid", "tag", "nonce", "alg"].includes(name)), "a parameter is not known");
  must(Number.isInteger(params.get("created")), "it is not dated");
  must(!params.has("alg") || params.get("alg") === key.alg, "alg is not the key's");
  must((params.get("nonce") ?? null) === request.nonce, "it repeats another nonce");

  const headers = [...fields].filter(([name]) => !UNCOVERED.has(name) && !name.startsWith("access-control-"));
  const due = new Map([['"@status"', String(reply.status)], ...headers.map(([name, value]) => [`"${name}"`, value])]);
  for (const { label, names, value, input: params } of request.signatures) {
    for (const name of names) if (name !== "authorization" && name !== "dpop") due.set(`"${name}";req`, valueOf(request, name));
    due.set(`"signature";req;key="${label}"`, value).set(`"signature-input";req;key="${label}"`, params);
  }
  must(new Set(input.items).size === input.items.length, "a component stands twice");
  for (const id of input.items) must(due.has(id), `${id} is covered and was not received`);
  for (const id of due.keys()) must(input.items.includes(id), `${id} is not covered`);
  must(key.verify(bytesOf(input.items.map((id) => [id, due.get(id)]), input.text), signature), "its signature does not verify");

  must(!fields.has("sealwire-stream"), "its content is a stream");
  if (request.method !== "HEAD") judgeDigest(fields.get("content-digest"), reply.body);
  return { status: reply.status, headers: Object.fromEntries(headers), body: reply.body, created: params.get("created") };
}

function judgeDigest(field, body) {
  if (field === undefined) return must(body.length === 0, "its body has no digest");
  const known = [...dictionary(field)].filter(([name]) => name === "sha-256" || name === "sha-512");
  must(known.length, "its digest is of no known algorithm");
  for (const [name, { value }] of known) must(value?.toString("base64") === digest(body, name.replace("-", "")), "its body is not what was signed");
}
