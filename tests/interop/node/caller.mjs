// A caller in Node, on http-message-sig and Node's own crypto: enrols, signs a GET and an order, rotates, verifies replies.
// Reads {origin, ca, invitation} from standard input, prints what happened as JSON.
import { readFileSync } from "node:fs";
import { BOUND, COVERED, ENDPOINTS, Peer, WITH_BODY, newKey, now, put, verified } from "./signed.mjs";

const { origin, ca, invitation } = JSON.parse(readFileSync(0, "utf8"));
const peer = new Peer(origin, ca);
const server = await peer.pinned(invitation.split(".")[2]);
const out = {};

const first = newKey();
let reply = await peer.enrol(first, invitation, "node");
out.enrolled = reply.status;
const { client } = JSON.parse(reply.body);

let request = peer.build("GET", "/v1/balances");
await put(request, first, COVERED);
reply = await peer.send(request);
out.balances = JSON.parse(reply.body);
out.balancesVerified = await verified(reply, request, COVERED, server);

request = peer.build("POST", "/v1/orders", JSON.stringify({ market: "BTC-EUR", side: "buy", price: "100.00", amount: "0.01" }));
await put(request, first, WITH_BODY);
reply = await peer.send(request);
out.ordered = reply.status;
out.orderVerified = await verified(reply, request, WITH_BODY, server);
out.again = JSON.parse((await peer.send(request)).body).code;

const second = newKey();
const created = now();
request = peer.build("POST", `${ENDPOINTS}/keys`, JSON.stringify({ key: second.jwk, name: "node", client, by: first.keyid }));
await put(request, second, WITH_BODY, { created, tag: "sealwire-possession", label: "pos" });
await put(request, first, BOUND, { created });
out.rotated = (await peer.send(request)).status;
request = peer.build("GET", "/v1/balances");
await put(request, second, COVERED);
out.withNewKey = (await peer.send(request)).status;
peer.agent.destroy();
console.log(JSON.stringify(out));
