// A client in Node without any package, written from docs/protocol.md: one life of a key, with a server that lies between.
// Reads {origin, ca, invitation} from standard input, prints what happened as JSON.
import { readFileSync } from "node:fs";
import https from "node:https";
import { compose, dictionary, fieldsOf, makeKey, must, nonce, prove, put, readInvitation, serverKeys, signedBy } from "./wire.mjs";

const ENDPOINTS = "/.well-known/sealwire";
const REPEATABLE = ["GET", "HEAD", "OPTIONS"];

/** What an unproven problem says of itself: good for a message to people, and to find a nonce offered. */
function claimed({ body }) {
  try {
    return Object(JSON.parse(body));
  } catch {
    return {};
  }
}

/** No answer that can be believed. `hint` is what the unproven one claims. */
class Unknown extends Error {
  constructor(why, reply) {
    super(why);
    this.hint = claimed(reply).code;
  }
}

class Client {
  keys = new Map();
  version = 0;
  offset = 0;
  sends = 0;

  constructor(origin, ca, { clock = () => Date.now() / 1000, between = (reply) => reply } = {}) {
    Object.assign(this, { origin, clock, between, agent: new https.Agent({ ca, minVersion: "TLSv1.3", keepAlive: true }) });
  }

  /** The same client, with another clock or another line. */
  as(change) {
    return Object.assign(Object.create(Client.prototype), this, { offset: 0, sends: 0 }, change);
  }

  send({ method, target, fields, body }) {
    this.sends += 1;
    const { hostname, port } = new URL(this.origin);
    return new Promise((resolve, reject) => {
      const call = https.request({ agent: this.agent, hostname, port, method, path: target, headers: fields, setHost: false }, async (answer) => {
        const parts = [];
        try {
          for await (const part of answer) parts.push(part);
          resolve(this.between({ status: answer.statusCode, raw: answer.rawHeaders, body: Buffer.concat(parts) }));
        } catch (cut) { reject(cut); }
      });
      call.on("error", reject);
      call.end(body ?? undefined);
    });
  }

  /** `build` signs anew for each send; a server nonce is used once, and only its proven answer sets the clock. */
  async exchange(build, tag, mayRepeat) {
    const signed = (given) => build(Math.floor(this.clock() + this.offset), given);
    let request = signed();
    let reply = await this.send(request);
    const offered = mayRepeat ? offeredNonce(reply, tag) : null;
    const sent = this.clock();
    if (offered) reply = await this.send(request = signed(offered));
    try {
      if (!this.keys.has(signedBy(reply))) await this.keySet();
      const proven = prove(reply, request, this.keys);
      if (offered) this.offset = proven.created - (sent + this.clock()) / 2;
      return proven;
    } catch (why) {
      throw new Unknown(why.message, reply);
    }
  }

  call(method, target, { json, idempotencyKey } = {}) {
    const body = json === undefined ? null : Buffer.from(JSON.stringify(json));
    const headers = { ...(body && { "content-type": "application/json" }), ...(idempotencyKey && { "idempotency-key": idempotencyKey }) };
    const build = (created, given) => {
      const request = compose(this.origin, method, target, headers, body);
      put(request, "sig", this.key, "sealwire", created, { nonce: given });
      return request;
    };
    const ownEndpoint = target.startsWith(`${ENDPOINTS}/keys/`);
    return this.exchange(build, "sealwire", ownEndpoint || idempotencyKey !== undefined || REPEATABLE.includes(method));
  }

  /** A document that the server signs and nobody else; fresh by our nonce. */
  async document(path, trusted = () => this.keys) {
    const request = compose(this.origin, "GET", ENDPOINTS + path);
    request.nonce = nonce();
    request.fields["accept-signature"] = `sig=();nonce="${request.nonce}";tag="sealwire-response"`;
    const reply = await this.send(request);
    const proven = prove(reply, request, trusted(reply));
    must(proven.status === 200, `${path} answers ${proven.status}`);
    return JSON.parse(proven.body);
  }

  /** Takes the server's keys: under the pinned one at first, under one that is held later. */
  async keySet(pin) {
    const set = await this.document("/jwks.json", (reply) => {
      if (pin === undefined) return this.keys;
      return new Map([...serverKeys(JSON.parse(reply.body))].filter(([keyid]) => keyid === pin));
    });
    must(Array.isArray(set.keys) && set.version >= this.version, "the key set is older than one that was seen");
    Object.assign(this, { keys: serverKeys(set), version: set.version });
    return set;
  }

  async enrol(line, name, key = makeKey()) {
    const invitation = readInvitation(line);
    await this.keySet(invitation.pin);
    return this.take(key, { key: key.jwk, name }, invitation, "sealwire-invitation");
  }

  rotate(name, key = makeKey()) {
    return this.take(key, { key: key.jwk, name, client: this.id, by: this.key.keyid }, this.key, "sealwire");
  }

  async take(key, document, authority, tag) {
    const body = Buffer.from(JSON.stringify(document));
    const proven = await this.exchange((created, given) => {
      const request = compose(this.origin, "POST", `${ENDPOINTS}/keys`, { "content-type": "application/json" }, body);
      const over = put(request, "possession", key, "sealwire-possession", created);
      put(request, "sig", authority, tag, created, { nonce: given, over });
      return request;
    }, tag, true);
    if (proven.status === 201) Object.assign(this, { id: JSON.parse(proven.body).client, key });
    return proven;
  }
}

function offeredNonce(reply, tag) {
  const fields = fieldsOf(reply);
  if (reply.status !== 401 || !fields.has("accept-signature") || claimed(reply).code !== "clock-skew") return null;
  const asked = [...dictionary(fields.get("accept-signature")).values()].find(({ params }) => params.get("tag") === tag);
  const given = asked?.params.get("nonce");
  return typeof given === "string" ? given : null;
}

// ---- one life of a key ----------------------------------------------------------------------------------------------

const { origin, ca, invitation } = JSON.parse(readFileSync(0, "utf8"));
const trusted = readFileSync(ca);
const read = ({ status, body }) => ({ status, json: body.length ? JSON.parse(body) : null });
const refusalOf = (promise) => promise.then(() => "taken", (why) => (why.hint ? `${why.message} (${why.hint})` : why.message));
const ORDER = { market: "BTC-EUR", side: "buy", price: "100.00", amount: "0.01" };
const out = {};

const client = new Client(origin, trusted);
out.otherPin = await refusalOf(new Client(origin, trusted).enrol(invitation.replace(/[^.]+$/, "A".repeat(43)), "plain"));
const late = client.as({ clock: () => Date.now() / 1000 - 3600 });
out.enrolled = (await late.enrol(invitation, "plain")).status;
Object.assign(client, { id: late.id, key: late.key, keys: late.keys, version: late.version });
out.discovery = (await client.document("")).origin === origin;
out.signed = (await client.document("/rules")).rules.filter(({ profile }) => profile === "signed").map(({ path }) => path);
out.keySet = (await client.keySet()).version;

out.balances = read(await client.call("GET", "/v1/balances?x=%2f"));
const first = read(await client.call("POST", "/v1/orders", { json: ORDER, idempotencyKey: "order-1" }));
const again = read(await client.call("POST", "/v1/orders", { json: ORDER, idempotencyKey: "order-1" }));
out.ordered = [first.status, again.status, first.json.id === again.json.id];
const conflict = read(await client.call("POST", "/v1/orders", { json: { ...ORDER, amount: "0.02" }, idempotencyKey: "order-1" }));
out.problem = [conflict.status, conflict.json.code];

const early = client.as({ clock: () => Date.now() / 1000 + 3600 });
out.early = [];
for (const idempotencyKey of ["order-2", "order-3"]) {
  early.sends = 0;
  out.early.push([(await early.call("POST", "/v1/orders", { json: ORDER, idempotencyKey })).status, early.sends]);
}
out.earlyWithoutKey = await refusalOf(early.as({}).call("POST", "/v1/orders", { json: ORDER }));

const without = (raw, pattern) => raw.filter((_, i) => !pattern.test(raw[i - (i % 2)]));
const edited = (raw, name, edit) => raw.map((text, i) => (i % 2 && raw[i - 1].toLowerCase() === name ? edit(text) : text));
let earlier;
await client.as({ between: (reply) => (earlier = reply) }).call("GET", "/v1/balances");
const lies = {
  body: (reply) => ({ ...reply, body: Buffer.from(reply.body.toString().replace("10", "11")) }),
  noBody: (reply) => ({ ...reply, body: Buffer.alloc(0) }),
  status: (reply) => ({ ...reply, status: 202 }),
  fieldAdded: (reply) => ({ ...reply, raw: [...reply.raw, "X-More", "1"] }),
  fieldGone: (reply) => ({ ...reply, raw: without(reply.raw, /^x-request-id$/i) }),
  unsigned: (reply) => ({ ...reply, raw: without(reply.raw, /^signature/i) }),
  otherBytes: (reply) => ({ ...reply, raw: edited(reply.raw, "signature", () => `reply=:${Buffer.alloc(64).toString("base64")}:`) }),
  otherKey: (reply) => ({ ...reply, raw: edited(reply.raw, "signature-input", (text) => text.replace(/;keyid="[^"]+"/, `;keyid="${client.key.keyid}"`)) }),
  earlier: () => earlier,
};
out.lies = {};
for (const [lie, tell] of Object.entries(lies)) {
  const deceived = client.as({ between: tell, keySet: async () => {} });
  out.lies[lie] = await refusalOf(deceived.call("GET", "/v1/balances"));
}
let oldSet;
await client.as({ between: (reply) => (oldSet = reply) }).keySet();
out.lies.oldKeySet = await refusalOf(client.as({ between: () => oldSet }).keySet());

const before = client.as({});
out.rotated = [(await client.rotate("plain, second")).status, client.id === before.id];
out.withNewKey = read(await client.call("GET", "/v1/balances")).status;
out.rotatedByTheOld = read(await before.rotate("plain, third")).json.code;
out.revoked = (await client.call("DELETE", `${ENDPOINTS}/keys/${client.key.keyid}`)).status;
out.afterwards = await refusalOf(client.call("GET", "/v1/balances"));
client.agent.destroy();
console.log(JSON.stringify(out));
