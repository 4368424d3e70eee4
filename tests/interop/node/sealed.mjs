// A caller in Node at sealed routes, on jose, @hpke and http-message-sig: for each kem a session, and what is done in it.
// Reads {origin, ca, invitation} from standard input, prints what happened as JSON.
import { hkdfSync, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { CompactEncrypt, compactDecrypt } from "jose";
import { KEMS, pair } from "./kems.mjs";
import { COVERED, ENDPOINTS, Peer, WITH_BODY, freshNonce, macKey, newKey, put, sha256, verified } from "./signed.mjs";

const { origin, ca, invitation } = JSON.parse(readFileSync(0, "utf8"));
const peer = new Peer(origin, ca);
const server = await peer.pinned(invitation.split(".")[2]);
const key = newKey();
const must = (holds, why) => { if (!holds) throw new Error(why); };

/** One signed call, its reply proven under `trusted` and, where it is sealed, opened: [status, "sealed" or "clear", json]. */
async function call(request, { session, by = key, trusted = server, nonce } = {}) {
  const named = request.fields.some(({ name }) => name === "sealwire-session") ? ["sealwire-session"] : [];
  const covered = [...(request.content ? WITH_BODY : COVERED), ...named];
  await put(request, by, covered, { nonce });
  const reply = await peer.send(request);
  must(await verified(reply, request, covered, trusted), "the digest of the reply");
  if (reply.type !== "application/jose") return [reply.status, "clear", reply.body ? JSON.parse(reply.body) : null];
  const { plaintext, protectedHeader } = await compactDecrypt(reply.body, session.s2c, {
    keyManagementAlgorithms: ["dir"],
    contentEncryptionAlgorithms: ["A256GCM"],
  });
  must(protectedHeader.kid === session.id, "the reply names another session");
  return [reply.status, "sealed", JSON.parse(Buffer.from(plaintext).toString())];
}

const byMac = (session) => ({ session, by: macKey(session.id, session.c2sMac), trusted: macKey(session.id, session.s2cMac) });

async function openSession(kem) {
  const { publicKey, open } = await pair(kem);
  const body = JSON.stringify({ kem, public_key: publicKey.toString("base64url") });
  const nonce = freshNonce();
  const [status, form, said] = await call(peer.build("POST", `${ENDPOINTS}/sessions`, body), { nonce });
  must(status === 201 && form === "clear" && said.kem === kem, JSON.stringify(said));
  const context = Buffer.from(["sealwire session 1", peer.authority, key.keyid, kem, said.session, sha256(body).toString("base64url"),
    nonce, said.expires_at, said.max_requests].join("\n"));
  const secret = await open(Buffer.from(said.sealed_key, "base64url"), context);
  const derive = (label) => Buffer.from(hkdfSync("sha256", secret, sha256(context), `sealwire ${label}`, 32));
  must(timingSafeEqual(derive("commitment"), Buffer.from(said.commitment, "base64url")), "the commitment");
  return { id: said.session, c2s: derive("c2s key"), s2c: derive("s2c key"), c2sMac: derive("c2s mac"), s2cMac: derive("s2c mac") };
}

async function sealed(session, path, content) {
  const header = { alg: "dir", enc: "A256GCM", kid: session.id, cty: "application/json" };
  const body = await new CompactEncrypt(Buffer.from(content)).setProtectedHeader(header).encrypt(session.c2s);
  return peer.build("POST", path, body, "application/jose");
}

function empty(session, method, path) {
  const request = peer.build(method, path);
  request.fields.push({ name: "sealwire-session", value: session.id });
  return request;
}

async function live(kem) {
  const session = await openSession(kem);
  const order = JSON.stringify({ market: "BTC-EUR", amount: "0.01" });
  const out = {};
  out.ordered = await call(await sealed(session, "/orders", order), { session });
  out.listed = await call(empty(session, "GET", "/orders"), { session });
  out.cancelled = await call(empty(session, "DELETE", "/orders"), { session });
  const [status, form, problem] = await call(await sealed(session, "/orders", '{"amount":"1","amount":"2"}'), { session });
  out.refused = [status, form, problem.code];
  out.byMac = await call(await sealed(session, "/quotes?page=2", order), byMac(session));
  out.listedByMac = await call(empty(session, "GET", "/quotes?page=3"), byMac(session));
  out.ended = await call(peer.build("DELETE", `${ENDPOINTS}/sessions/${session.id}`));
  const late = await call(await sealed(session, "/orders", order), { session });
  out.afterwards = [late[0], late[1], late[2].code];
  return out;
}

const out = { enrolled: (await peer.enrol(key, invitation, "node")).status };
for (const kem of KEMS) out[kem] = await live(kem);
peer.agent.destroy();
console.log(JSON.stringify(out));
