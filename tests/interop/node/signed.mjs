// Signed calls on http-message-sig and Node's own crypto: keys, requests, enrolment, replies judged.
import { createHash, createHmac, createPublicKey, generateKeyPairSync, randomBytes, sign, timingSafeEqual, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import { component, createSignature, verifySignature } from "http-message-sig";

export const ENDPOINTS = "/.well-known/sealwire";
export const COVERED = ["@method", "@authority", "@path", "@query"];
export const WITH_BODY = [...COVERED, "content-type", "content-digest"];
export const BOUND = [...WITH_BODY, component("signature", { key: "pos" }), component("signature-input", { key: "pos" })];

export const now = () => Math.floor(Date.now() / 1000);
export const sha256 = (data) => createHash("sha256").update(data).digest();
export const freshNonce = () => randomBytes(18).toString("base64url");
const fieldOf = ({ fields }, wanted) => fields.find(({ name }) => name === wanted)?.value;
const digestOf = (content) => `sha-256=:${sha256(content).toString("base64")}:`;

export function newKey() {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const { kty, crv, x } = publicKey.export({ format: "jwk" });
  const keyid = sha256(JSON.stringify({ crv, kty, x })).toString("base64url");
  return { jwk: { kty, crv, x }, keyid, signer: { algorithm: "ed25519", sign: (data) => sign(null, data, privateKey) } };
}

/** A secret that both ends have, as a key to sign with and one to verify with. */
export function macKey(keyid, secret) {
  const mac = (data) => createHmac("sha256", secret).update(data).digest();
  const check = (data, signature) => signature.length === 32 && timingSafeEqual(mac(data), signature);
  return { keyid, signer: { algorithm: "hmac-sha256", sign: mac }, verifier: { algorithm: "hmac-sha256", verify: check } };
}

/** One server, reached over TLS under one CA. */
export class Peer {
  constructor(origin, ca) {
    this.origin = origin;
    this.authority = new URL(origin).host;
    this.agent = new https.Agent({ ca: readFileSync(ca), keepAlive: true });
  }

  build(method, path, content = "", type = "application/json") {
    const fields = [{ name: "host", value: this.authority }];
    if (content) fields.push({ name: "content-type", value: type }, { name: "content-digest", value: digestOf(content) });
    return { kind: "request", method, targetUri: this.origin + path, requestTarget: path, fields, content };
  }

  send(request) {
    const headers = {};
    for (const { name, value } of request.fields) headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
    if (request.content) headers["content-length"] = Buffer.byteLength(request.content);
    const { hostname: host, port } = new URL(this.origin);
    const options = { method: request.method, host, port, path: request.requestTarget, headers, agent: this.agent };
    return new Promise((resolve, reject) => {
      const call = https.request(options, (reply) => {
        const chunks = [];
        reply.on("data", (chunk) => chunks.push(chunk));
        reply.on("error", reject);
        reply.on("end", () => {
          const fields = [];
          for (let i = 0; i < reply.rawHeaders.length; i += 2) fields.push({ name: reply.rawHeaders[i].toLowerCase(), value: reply.rawHeaders[i + 1] });
          resolve({ status: reply.statusCode, fields, type: fieldOf({ fields }, "content-type"), body: Buffer.concat(chunks).toString() });
        });
      });
      call.on("error", reject);
      call.end(request.content);
    });
  }

  /** The server's key with this thumbprint, as one to verify with. */
  async pinned(pin) {
    const { keys } = JSON.parse((await this.send(this.build("GET", `${ENDPOINTS}/jwks.json`))).body);
    const { kty, crv, x } = keys.find(({ kid }) => kid === pin);
    const key = createPublicKey({ key: { kty, crv, x }, format: "jwk" });
    return { keyid: pin, verifier: { algorithm: "ed25519", verify: (data, signature) => verify(null, data, key, signature) } };
  }

  /** The answer to a key that comes in by invitation, under both of its signatures. */
  async enrol(key, invitation, name) {
    const [id, secret] = invitation.split("_inv_")[1].split(".");
    const created = now();
    const request = this.build("POST", `${ENDPOINTS}/keys`, JSON.stringify({ key: key.jwk, name }));
    await put(request, key, WITH_BODY, { created, tag: "sealwire-possession", label: "pos" });
    await put(request, macKey(id, sha256(secret)), BOUND, { created, tag: "sealwire-invitation" });
    return this.send(request);
  }
}

export async function put(request, { keyid, signer }, components, { created = now(), tag = "sealwire", label = "sig", nonce = freshNonce() } = {}) {
  const parameters = { created, expires: created + 60, keyid, nonce, tag };
  const { content, ...message } = request;
  const made = await createSignature(message, { label, components, parameters, signer });
  request.fields.push({ name: "signature-input", value: made.signatureInput }, { name: "signature", value: made.signature });
}

/** True once the reply is proven the answer to this request, of which one signature `sig` covered `components`. */
export async function verified(reply, request, components, trusted) {
  const digest = fieldOf(reply, "content-digest");
  if (digest !== (reply.body ? digestOf(reply.body) : undefined)) return false;
  const requiredComponents = ["@status", ...components.map((name) => component(name, { req: true })),
    component("signature", { req: true, key: "sig" }), component("signature-input", { req: true, key: "sig" })];
  if (reply.body) requiredComponents.push("content-type", "content-digest");
  const policy = { algorithms: [trusted.verifier.algorithm], requiredComponents, requiredParameters: ["created", "keyid", "tag"] };
  const resolveVerifier = ({ parameters }) => {
    if (parameters.keyid !== trusted.keyid || parameters.tag !== "sealwire-response") throw new Error("not the key that is trusted");
    return trusted.verifier;
  };
  const { content, ...message } = request;
  await verifySignature({ kind: "response", status: reply.status, fields: reply.fields, request: message }, { policy, resolveVerifier });
  return true;
}
