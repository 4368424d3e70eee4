"""
Body: read whole, up to the rule's cap and not a byte before the checks on the head are done; hashed while it is read.

Under a signature its digests must hold before any later stage or the app sees it.
"""

from __future__ import annotations

from sealwire.call import Body, Call, Proof, Receive
from sealwire.errors import Fault, Refusal
from sealwire.protocol.digest import expect

BODY_TAKEN = "A middleware before the guard read the body; the guard must be outermost."


class ReadBody:
    """Reads the body. Refuses: body-too-large, digest-mismatch, components-insufficient, header-malformed."""

    async def __call__(self, call: Call) -> Body:
        signed = Proof in call.held
        fields = call.request.fields
        # A digest counts without an announced body too: someone on the way may have taken both body and length out.
        expected = expect(fields[b"content-digest"]) if signed and b"content-digest" in fields else None
        chunks: list[bytes] = []
        size, more = 0, True
        while more:
            chunk, more = await call.receive()
            size += len(chunk)
            if size > call.rule.max_body_bytes:
                detail = f"This route takes at most {call.rule.max_body_bytes} bytes."
                raise Refusal("body-too-large", "read", detail)
            if chunk:
                chunks.append(chunk)
                if expected is not None:
                    expected.update(chunk)
        content = b"".join(chunks)
        _judge_length(content, fields.get(b"content-length"))
        if signed and content and not call.request.has_content():
            # The head announced no body, so none was signed; some servers hand one on all the same.
            raise Refusal("components-insufficient", "body-not-covered", failed="components")
        if expected is not None:
            expected.judge()
        return Body(content)


def _judge_length(content: bytes, declared: bytes | None) -> None:
    if declared is None or len(content) == int(declared):
        return
    if len(content) < int(declared):
        # A client that goes away ends the call; a body that is simply not there was read by a middleware before us.
        raise Fault("internal", "body-taken", BODY_TAKEN)
    raise Refusal("header-malformed", "length-differs", "The body is longer than Content-Length says.")


class Kept:
    """The body of an observed call: what a stage has read and then refused is not gone, since the app is entered."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunks: list[bytes] = []
        self._size = 0
        self._more = True

    async def __call__(self) -> tuple[bytes, bool]:
        chunk, self._more = await self._receive()
        self._chunks.append(chunk)
        self._size += len(chunk)
        return chunk, self._more

    async def whole(self, max_bytes: int) -> bytes:
        """All that was read, and the rest. Raises: body-too-large."""
        while self._more:
            await self()
            if self._size > max_bytes:
                raise Refusal("body-too-large", "read")
        return b"".join(self._chunks)
