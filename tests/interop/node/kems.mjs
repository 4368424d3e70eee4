// The four kems of a session, on @hpke/core, @hpke/hybridkem-x-wing and, for RSA, Node's own crypto.
import crypto from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, DhkemX25519HkdfSha256, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";

const suiteOf = (kem) => new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() });
const HPKE = {
  "MLKEM768-X25519": suiteOf(new XWing()),
  X25519: suiteOf(new DhkemX25519HkdfSha256()),
  "P-256": suiteOf(new DhkemP256HkdfSha256()),
};
const OAEP = { padding: crypto.constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };

export const KEMS = [...Object.keys(HPKE), "RSA-OAEP-256"];

/** A key pair, from a seed where one is given: its public key, and what opens `enc ‖ ct` under a context. */
export async function pair(kem, seed) {
  if (kem === "RSA-OAEP-256") {
    const { privateKey, publicKey } = crypto.generateKeyPairSync("rsa", { modulusLength: 3072 });
    const open = async (sealed) => crypto.privateDecrypt({ key: privateKey, ...OAEP }, sealed);
    return { publicKey: publicKey.export({ type: "spki", format: "der" }), open };
  }
  const suite = HPKE[kem];
  const keys = await (seed ? suite.kem.deriveKeyPair(seed) : suite.kem.generateKeyPair());
  const open = async (sealed, info) => {
    const [enc, ct] = [sealed.subarray(0, suite.kem.encSize), sealed.subarray(suite.kem.encSize)];
    return Buffer.from(await suite.open({ recipientKey: keys.privateKey, enc, info }, ct));
  };
  return { publicKey: Buffer.from(await suite.kem.serializePublicKey(keys.publicKey)), open };
}

/** `enc ‖ ct` of a secret for a public key and a context. */
export async function seal(kem, publicKey, info, secret) {
  if (kem === "RSA-OAEP-256") {
    const key = crypto.createPublicKey({ key: publicKey, type: "spki", format: "der" });
    return crypto.publicEncrypt({ key, ...OAEP }, secret);
  }
  const suite = HPKE[kem];
  const recipientPublicKey = await suite.kem.deserializePublicKey(publicKey);
  const { enc, ct } = await suite.seal({ recipientPublicKey, info }, secret);
  return Buffer.concat([Buffer.from(enc), Buffer.from(ct)]);
}
