// A second opinion on single values: reads a list of [what, ...arguments] from standard input, prints what comes of each.
// Bytes are base64url. A refusal is {"refused": …}.
import { readFileSync } from "node:fs";
import { CompactEncrypt, compactDecrypt } from "jose";
import { pair, seal } from "./kems.mjs";

const bytes = (text) => Buffer.from(text, "base64url");
const text = (data) => Buffer.from(data).toString("base64url");
const only = { keyManagementAlgorithms: ["dir"], contentEncryptionAlgorithms: ["A256GCM"] };

const OPINIONS = {
  encrypt: (key, header, plaintext) => new CompactEncrypt(bytes(plaintext)).setProtectedHeader(header).encrypt(bytes(key)),
  decrypt: async (key, jwe) => {
    const { plaintext, protectedHeader } = await compactDecrypt(jwe, bytes(key), only);
    return [protectedHeader, text(plaintext)];
  },
  publicKey: async (kem, seed) => text((await pair(kem, bytes(seed))).publicKey),
  open: async (kem, seed, context, sealed) => text(await (await pair(kem, bytes(seed))).open(bytes(sealed), bytes(context))),
  seal: async (kem, publicKey, context, secret) => text(await seal(kem, bytes(publicKey), bytes(context), bytes(secret))),
};

const out = [];
for (const [what, ...given] of JSON.parse(readFileSync(0, "utf8"))) {
  out.push(await OPINIONS[what](...given).catch((why) => ({ refused: why.code ?? why.name })));
}
console.log(JSON.stringify(out));
