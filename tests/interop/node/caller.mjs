// A caller in Node, on http-message-sig and Node's own crypto: enrols, signs a GET and an order, rotates, verifies replies.
// Reads {origin, ca, invitation} from standard input, prints what happened as JSON.
import { createHash, createHmac, generateKeyPairSync, createPublicKey, randomBytes, sign, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import { component, createSignature, verifySignature } from "http-message-sig";

const { origin, ca, invitation } = JSON.parse(readFileSync(0, "utf8"));
const COVERED = ["@method", "@authority", "@path", "@query"];
const WITH_BODY = [...COVERED, "content-type", "content-digest"];

function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { kty, crv, x } = publicKey.export({ format: "jwk" });
  const keyid = createHash("sha256").update(JSON.stringify({ crv, kty, x })).digest("base64url");
  const signer = { algorithm: "ed25519", sign: (data) => sign(null, data, privateKey) };
  return { jwk: { kty, crv, x }, keyid, signer };
}

function build(method, path, body) {
  const content = body === undefined ? "" : JSON.stringify(body);
  const fields = [{ name: "host", value: new URL(origin).host }];
  if (content) {
    fields.push({ name: "content-type", value: "application/json" });
    fields.push({ name: "content-digest", value: `sha-256=:${createHash("sha256").update(content).digest("base64")}:` });
  }
  return { kind: "request", method, targetUri: origin + path, requestTarget: path, fields, content };
}

async function put(request, { keyid, signer }, components, created, tag = "sealwire", label = "sig") {
  const nonce = randomBytes(18).toString("base64url");
  const parameters = { created, expires: created + 60, keyid, nonce, tag };
  const { content, ...message } = request;
  const made = await createSignature(message, { label, components, parameters, signer });
  request.fields.push({ name: "signature-input", value: made.signatureInput }, { name: "signature", value: made.signature });
}

function send(request) {
  const headers = {};
  for (const { name, value } of request.fields) headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  if (request.content) headers["content-length"] = Buffer.byteLength(request.content);
  const url = new URL(request.targetUri);
  const options = { method: request.method, host: url.hostname, port: url.port, path: request.requestTarget, headers, ca: readFileSync(ca) };
  return new Promise((resolve, reject) => {
    const call = https.request(options, (reply) => {
      const chunks = [];
      reply.on("data", (chunk) => chunks.push(chunk));
      reply.on("end", () => {
        const fields = [];
        for (let i = 0; i < reply.rawHeaders.length; i += 2) fields.push({ name: reply.rawHeaders[i].toLowerCase(), value: reply.rawHeaders[i + 1] });
        resolve({ status: reply.statusCode, fields, body: Buffer.concat(chunks).toString() });
      });
    });
    call.on("error", reject);
    call.end(request.content);
  });
}

async function verified(reply, request, server) {
  const { content, ...message } = request;
  const digest = reply.fields.find(({ name }) => name === "content-digest").value;
  if (digest !== `sha-256=:${createHash("sha256").update(reply.body).digest("base64")}:`) return false;
  const policy = {
    algorithms: ["ed25519"],
    requiredComponents: ["@status", "content-digest", component("@method", { req: true }), component("signature", { req: true, key: "sig" })],
    requiredParameters: ["created", "keyid", "tag"],
  };
  const resolveVerifier = ({ parameters }) => {
    if (parameters.keyid !== server.kid || parameters.tag !== "sealwire-response") throw new Error("not the pinned key");
    return { algorithm: "ed25519", verify: (data, signature) => verify(null, data, server.key, signature) };
  };
  await verifySignature({ kind: "response", status: reply.status, fields: reply.fields, request: message }, { policy, resolveVerifier });
  return true;
}

const now = () => Math.floor(Date.now() / 1000);
const bound = [...WITH_BODY, component("signature", { key: "pos" }), component("signature-input", { key: "pos" })];
const [id, secret, pin] = invitation.split("_inv_")[1].split(".");
const keySet = JSON.parse((await send(build("GET", "/.well-known/sealwire/jwks.json"))).body).keys;
const { kty, crv, x } = keySet.find(({ kid }) => kid === pin);
const server = { kid: pin, key: createPublicKey({ key: { kty, crv, x }, format: "jwk" }) };
const out = {};

const first = newKey();
let created = now();
let request = build("POST", "/.well-known/sealwire/keys", { key: first.jwk, name: "node" });
await put(request, first, WITH_BODY, created, "sealwire-possession", "pos");
const hmacKey = createHash("sha256").update(secret).digest();
const inviter = { keyid: id, signer: { algorithm: "hmac-sha256", sign: (data) => createHmac("sha256", hmacKey).update(data).digest() } };
await put(request, inviter, bound, created, "sealwire-invitation");
let reply = await send(request);
out.enrolled = reply.status;
const { client } = JSON.parse(reply.body);

request = build("GET", "/v1/balances");
await put(request, first, COVERED, now());
reply = await send(request);
out.balances = JSON.parse(reply.body);
out.balancesVerified = await verified(reply, request, server);

request = build("POST", "/v1/orders", { market: "BTC-EUR", side: "buy", price: "100.00", amount: "0.01" });
await put(request, first, WITH_BODY, now());
reply = await send(request);
out.ordered = reply.status;
out.orderVerified = await verified(reply, request, server);
out.again = JSON.parse((await send(request)).body).code;

const second = newKey();
created = now();
request = build("POST", "/.well-known/sealwire/keys", { key: second.jwk, name: "node", client, by: first.keyid });
await put(request, second, WITH_BODY, created, "sealwire-possession", "pos");
await put(request, first, bound, created);
out.rotated = (await send(request)).status;
request = build("GET", "/v1/balances");
await put(request, second, COVERED, now());
out.withNewKey = (await send(request)).status;
console.log(JSON.stringify(out));
