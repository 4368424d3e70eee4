"""
The guard: takes one call through its stages to the app and back, and writes each decision before it takes effect.

Owns: the ten steps of a request (ARCHITECTURE.md carries the same numbers), the comparison of evidence held with
evidence demanded, and the one place where deciding and recording are the same act. No stage can skip it. Refuses to
know: ASGI, HTTP parsing, stores.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from sealwire.call import (
    Approve,
    Assured,
    Body,
    Call,
    Caller,
    ClientGone,
    Evidence,
    FirstSeen,
    Idempotent,
    InSession,
    Plain,
    Proof,
)
from sealwire.challenge import SIGNED, challenge
from sealwire.desk import Desk
from sealwire.entry import Arrival, Begin, Enter, Entry, Gate, Place, Room, busy
from sealwire.errors import Fault, Problem, Refusal
from sealwire.pipeline import DEMANDS, OBSERVED, Pipeline
from sealwire.ports import Clock, DurableNonce, Entropy, IdempotencyClaim, Keyring, Ledger, Observer
from sealwire.protocol.approval import MAX_SHOWN, Shown
from sealwire.protocol.identifier import RANDOM_BYTES, identifier
from sealwire.protocol.message import Headers, Reply, Request, read_authority, read_head, read_target
from sealwire.protocol.problem import answer
from sealwire.protocol.reply import in_progress, pack
from sealwire.protocol.window import late
from sealwire.routes import Routes
from sealwire.stages.body import Kept
from sealwire.trace import Trace, place

#: Behind this stage calls that came together wait for each other, and before a reply (docs/decisions/0007).
_TURN_BEHIND = "verify"
_SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
#: Observe mode refuses these all the same: limits are limits.
LIMITS = frozenset(("rate-limited", "body-too-large"))
#: What a caller hears who did no other than too much: counted, not recorded one by one, since a flood is made of them.
_COUNTED = frozenset(("rate-limited",))
#: Refusals that prove nothing whatever was held when they were found: they go out unsigned.
UNPROVEN = frozenset(("replay-detected", "clock-skew"))
_UNRULED: Headers = ((b"cache-control", b"no-store, no-transform"), (b"x-content-type-options", b"nosniff"))
_LOG = logging.getLogger("sealwire.guard")

#: One of the guard's own endpoints: answers a call whose evidence is complete.
Endpoint = Callable[[Call], Awaitable[Reply]]


class Deployment(NamedTuple):
    """What the guard is told of the deployment."""

    origin: str
    authorities: frozenset[str]
    policy: str
    external_prefix: bytes = b""
    health: str = ""
    most_calls: int = 1024  # at work at once, in this process


class Guard:
    """One guard for one deployment. Safe for any number of calls at once on one event loop."""

    def __init__(
        self,
        deployment: Deployment,
        routes: Routes,
        pipeline: Pipeline,
        endpoints: dict[str, Endpoint],
        *,
        ledger: Ledger,
        keyring: Keyring,
        clock: Clock,
        entropy: Entropy,
        issue_nonce: Callable[[str], str],
        observer: Observer,
        desk: Desk,
        closing: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._deployment = deployment
        self._scheme = deployment.origin.partition(":")[0]
        self._routes = routes
        self._pipeline = pipeline
        self._endpoints = endpoints
        self._ledger = ledger
        self._keyring = keyring
        self._clock = clock
        self._entropy = entropy
        self._issue_nonce = issue_nonce
        self._observer = observer
        self._desk = desk
        self._closing = closing
        self._room = Room(deployment.most_calls)

    async def handle(self, arrival: Arrival, enter: Enter) -> Reply | None:
        """
        One call, from its head to the reply that goes out; None if the reply was streamed out already.

        Raises: ClientGone if the client left before its body was whole. Nothing else: every failure is a reply.
        """
        started = self._clock.monotonic()
        now = self._clock.now()
        request_id = identifier("req", int(now * 1000), self._entropy(RANDOM_BYTES))
        if self._deployment.health and arrival.target == self._deployment.health.encode("ascii"):
            return Reply(200, ((b"cache-control", b"no-store"),), b"")
        trace = Trace(request_id, now, arrival.address, arrival.method)
        try:
            taken = self._room.take(arrival.address)
            if taken is None:
                reply: Reply | None = await self._turn_away(busy(), None, trace)
            else:
                try:
                    reply = await self._serve(arrival, enter, trace, taken)
                finally:
                    taken.leave()
        except ClientGone:
            trace.code, trace.decision = "client-gone", "failed"
            if trace.call is not None:
                await self._counted(trace.call, None, trace)
            self._tell(trace, 0, started)
            raise
        self._tell(trace, trace.status if reply is None else reply.status, started)
        return reply

    async def misuse(self, arrival: Arrival) -> Reply:
        """The answer to a call whose front is wired wrongly: 500, whatever the call is."""
        now = self._clock.now()
        request_id = identifier("req", int(now * 1000), self._entropy(RANDOM_BYTES))
        trace = Trace(request_id, now, arrival.address, arrival.method)
        reply = await self._turn_away(Fault("internal", "misuse"), None, trace)
        self._tell(trace, reply.status, self._clock.monotonic())
        return reply

    async def close(self) -> None:
        """Counts that wait are written and the stores closed. For after the last call: later ones are 503."""
        if self._closing is not None:
            await self._closing()

    async def _serve(self, arrival: Arrival, enter: Enter, trace: Trace, taken: Place) -> Reply | None:
        held: dict[type, Evidence] = {}
        try:
            # 1. arrive, 2. match: one reading of the head, one rule, one reading of the clock
            call = trace.call = self._read(arrival, held, trace, taken)
            # 3. to 8. the stages of the rule's profile
            refusal = await self._run_stages(call, held)
            # 9. record and enter, 10. return
            return await self._record_and_enter(call, held, refusal, enter, trace)
        except Problem as problem:
            return await self._turn_away(problem, trace.call, trace)
        except ClientGone:
            raise
        except Exception as failure:  # noqa: BLE001  # whatever it was, the caller gets a problem document
            _LOG.error("the guard failed on %s: %s", trace.request_id, place(failure))
            return await self._turn_away(Fault("internal", "bug"), trace.call, trace)

    def _read(self, arrival: Arrival, held: dict[type, Evidence], trace: Trace, taken: Place) -> Call:
        headers, fields = read_head(arrival.headers)
        authority = read_authority(fields.get(b"host"), self._deployment.authorities)
        target = read_target(arrival.target)
        rule = self._routes.match(arrival.method, target)
        trace.template = rule.template
        path = self._deployment.external_prefix + target.path
        request = Request(
            arrival.method,
            self._deployment.external_prefix + arrival.target,
            authority,
            path,
            target.query,
            target.decoded,
            headers,
            fields,
            self._scheme,
        )
        receive = taken.reading(arrival.receive)
        receive = Kept(receive) if rule.observe else receive
        return Call(request, rule, trace.at, trace.request_id, arrival.address, receive, held, taken.outside)

    async def _run_stages(self, call: Call, held: dict[type, Evidence]) -> Problem | None:
        """Each stage in turn. In observe mode the first refusal that may be observed is answered, not raised."""
        for name, stage in self._pipeline.stages[call.rule.profile]:
            try:
                evidence = await stage(call)
            except Refusal as refusal:
                if not call.rule.observe or name not in OBSERVED or refusal.slug in LIMITS:
                    raise
                return refusal
            held[type(evidence)] = evidence
            if name == _TURN_BEHIND and self._room.shared:
                await self._room.turn()
        return None

    async def _record_and_enter(
        self, call: Call, held: dict[type, Evidence], refusal: Problem | None, enter: Enter, trace: Trace
    ) -> Reply | None:
        idempotent: Idempotent | None = None
        if refusal is not None:
            # Entered all the same, so the limits that need no proof take it.
            await self._pipeline.count_refused(call, None)
            await self._read_rest(call, held)
            trace.code, trace.decision = refusal.code, "observed"
        elif not held.keys() >= DEMANDS[call.rule.profile]:
            # A wiring mistake, never a caller's: the app is not entered without every piece of evidence.
            raise Fault("internal", "evidence")
        else:
            trace.decision = "entered"
            # Only the app's answers are kept for repeats; an endpoint of our own is asked again.
            own = call.rule.template in self._endpoints
            idempotent = call.get(Idempotent) if Idempotent in held and not own else None
        if idempotent is not None and idempotent.stored is not None:
            trace.decision = "repeated"
            await self._record(call, held, trace, None)
            return await self._go_out(call, idempotent.stored)
        await self._record(call, held, trace, idempotent)
        return await self._enter(call, held, idempotent, enter, trace)

    async def _read_rest(self, call: Call, held: dict[type, Evidence]) -> None:
        """In observe mode the app gets the body that came, though signature or digest did not hold."""
        if Body not in held and isinstance(call.receive, Kept):
            held[Body] = Body(await call.receive.whole(call.rule.max_body_bytes))

    async def _record(
        self, call: Call, held: dict[type, Evidence], trace: Trace, idempotent: Idempotent | None
    ) -> None:
        """
        The decision, on stable storage, with the claims that hold or fall with it.

        Raises: replay-detected, clock-skew, idempotency-in-progress or approval-required if a claim is lost;
        audit-unavailable.
        """
        if call.rule.profile == "published":
            return  # a document for whoever asks: no decision, and no row that anybody could fill the ledger with
        nonce = claimed = None
        if FirstSeen in held and call.request.method not in _SAFE and not call.rule.fast_replay:
            proof = call.get(Proof)
            nonce = DurableNonce(proof.keyid, proof.claim.nonce, proof.last_valid, proof.remember_seconds)
        if idempotent is not None and idempotent.key:
            claimed = IdempotencyClaim(idempotent.scope, idempotent.key, idempotent.fingerprint)
        approval = call.get(Assured).approval if Assured in held else None
        outcome = await self._ledger.record(
            trace.decided(call, self._deployment.policy), nonce, claimed, "" if approval is None else approval.id
        )
        if outcome == "unapproved":
            raise Refusal("approval-required", "spent", "This approval is no longer good.", failed="policy")
        if outcome == "seen":
            raise Refusal("replay-detected", "durable-nonce", failed="replay")
        if outcome == "late":
            raise late()
        if outcome == "taken":
            raise in_progress(0)
        trace.recorded = True

    async def _enter(
        self, call: Call, held: dict[type, Evidence], idempotent: Idempotent | None, enter: Enter, trace: Trace
    ) -> Reply | None:
        async def begin(status: int, headers: Headers) -> Reply:
            trace.status = status
            return await self._go_out(call, Reply(status, headers, b""))

        caller = call.get(Caller) if Caller in held and trace.decision == "entered" else None
        endpoint = self._endpoints.get(call.rule.template)
        try:
            reply = await (endpoint(call) if endpoint else self._run_app(call, caller, idempotent, enter, begin))
        except Refusal:
            # An endpoint of our own that did nothing, or an app that wants a person first: the key is free for the call
            # that is mended, or approved.
            await self._free(idempotent)
            raise
        except (ClientGone, Problem):
            raise
        except Exception as failure:  # noqa: BLE001  # whatever it was, the caller gets a problem document
            # What the app did before it failed is unknown, so an idempotency key stays without a recorded end.
            _LOG.error("the app failed on %s: %s", trace.request_id, place(failure))
            raise Fault("internal", "app") from None
        if reply is not None and idempotent is not None and idempotent.key:
            await self._finish(idempotent, reply, trace)
        return None if reply is None else await self._go_out(call, reply)

    async def _run_app(
        self, call: Call, caller: Caller | None, idempotent: Idempotent | None, enter: Enter, begin: Begin
    ) -> Reply | None:
        """Raises: approval-required where the app wanted a person first, whatever it answered or raised then."""
        assured = call.get(Assured) if Assured in call.held and caller is not None else None
        gate = None if assured is None else Gate(None if assured.shown is None else assured.shown.sentence)
        request, rule, content = call.request, call.rule, call.content()
        entry = Entry(request, rule, caller, content, call.request_id, _sealed_type(call), gate, call.outside)
        try:
            reply = await enter(entry, begin)
        except Exception:
            # A client that is gone too: its person is asked, and its idempotency key is free when it comes again.
            if gate is None or gate.wanted is None:
                raise
        if gate is None or gate.wanted is None:
            return reply
        terms = rule.approve or Approve()
        if terms.show is not None:
            # The rule's sentence is the one an approval is held against: no call could ever bring the other one.
            _LOG.error("misuse: the app of %s asks for another sentence than its rule shows", rule.template)
            raise Fault("internal", "misuse")
        if len(gate.wanted) > MAX_SHOWN:
            _LOG.error("misuse: the app of %s says a sentence of more than %s characters", rule.template, MAX_SHOWN)
            raise Fault("internal", "misuse")
        try:
            refusal = await self._desk.ask(call, Shown(gate.wanted), terms, "app")
        except Fault:
            await self._free(idempotent)
            raise
        raise refusal

    async def _free(self, idempotent: Idempotent | None) -> None:
        if idempotent is not None and idempotent.key:
            await self._ledger.release(idempotent.scope, idempotent.key)

    async def _finish(self, idempotent: Idempotent, reply: Reply, trace: Trace) -> None:
        try:
            wrapped = self._keyring.wrap(pack(reply), idempotent.scope.encode())
            await self._ledger.finish(idempotent.scope, idempotent.key, wrapped)
        except Fault as fault:
            # The answer is true and the caller gets it; a repeat will hear "outcome unknown" and will not be entered.
            _LOG.error("the answer to %s could not be kept for repeats: %s", trace.request_id, fault.code)

    async def _go_out(self, call: Call, reply: Reply) -> Reply:
        """10. return: the reply stages of the profile; a caller who proved nothing gets the open profile's."""
        if self._room.shared:
            await self._room.turn()
        profile = call.rule.profile
        unproven = profile in SIGNED and FirstSeen not in call.held
        for stage in self._pipeline.replies["open" if unproven else profile]:
            reply = await stage(call, reply)
        return reply

    async def _turn_away(self, problem: Problem, call: Call | None, trace: Trace) -> Reply:
        """A Problem at any step jumps here: counted, worded, recorded where the caller is proven, and out."""
        if call is not None and isinstance(problem, Refusal):
            problem = await self._counted(call, problem, trace) or problem
        trace.code, trace.claimed = problem.code, problem.claimed
        trace.decision = "failed" if isinstance(problem, Fault) else "refused"
        trace.recorded = False
        idempotent = call is not None and b"idempotency-key" in call.request.fields
        sealed = call is not None and InSession in call.held and problem.slug not in UNPROVEN
        if call is not None and problem.status == 401:
            challenge(problem, call, self._clock.now, self._issue_nonce)
        reply = Reply(*answer(problem, self._deployment.origin, trace.request_id, idempotent=idempotent, sealed=sealed))
        if call is None or (Body not in call.held and call.request.has_content()):
            # The rest of the body would be read and thrown away otherwise: nobody pours into a call that is over.
            reply = Reply(reply.status, (*reply.headers, (b"connection", b"close")), reply.body)
        if call is None:
            fields = (*reply.headers, *_UNRULED, (b"x-request-id", trace.request_id.encode()))
            return Reply(reply.status, fields, reply.body)
        hardened = _closing(await self._pipeline.replies["open"][0](call, reply), reply)
        proven = FirstSeen in call.held or Caller in call.held
        if not proven or problem.slug in UNPROVEN or problem.slug == "audit-unavailable":
            # A ledger that has just failed is not waited for once more: the tally takes it to the next that works.
            return hardened
        try:
            if problem.slug not in _COUNTED:
                await self._ledger.record(trace.decided(call, self._deployment.policy))
                trace.recorded = True
            return _closing(await self._go_out(call, reply), reply)
        except Fault as fault:
            _LOG.error("the refusal of %s could not be recorded or signed: %s", trace.request_id, fault.code)
            if not sealed:
                return hardened
            # What was meant to be sealed says what the content was like: in clear only the fault is told.
            told = Reply(*answer(fault, self._deployment.origin, trace.request_id))
            return await self._pipeline.replies["open"][0](call, told)

    async def _counted(self, call: Call, problem: Problem | None, trace: Trace) -> Problem | None:
        """Counts a call that goes no further. Past what may be its caller hears what this answers, and no more."""
        try:
            await self._pipeline.count_refused(call, problem)
        except Refusal as limited:
            return limited
        except Fault as fault:
            _LOG.error("the refusal of %s could not be counted: %s", trace.request_id, fault.code)
        return None

    def _tell(self, trace: Trace, status: int, started: float) -> None:
        self._observer.heard(trace.outcome(status, self._clock.monotonic() - started))


def _sealed_type(call: Call) -> bytes | None:
    return call.get(Plain).content_type if Plain in call.held else None


def _closing(reply: Reply, first: Reply) -> Reply:
    """`Connection` is dropped by harden as the app has no say in it; the guard has."""
    if (b"connection", b"close") in first.headers:
        return Reply(reply.status, (*reply.headers, (b"connection", b"close")), reply.body)
    return reply
