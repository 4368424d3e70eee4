"""
What a person says yes to: the sentence that is shown, and the parts of a call that the yes is bound to
(docs/protocol.md, "Approvals").

Owns: the sentence's template, which members of a body can stand in it, and the order of what is bound. Refuses to know:
who approves, with what, and where approvals are kept.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from sealwire.errors import Refusal
from sealwire.protocol import strictjson
from sealwire.protocol.message import Request

PREFIX = "apr"
#: What an approval is bound to beside its principal and key, each as a keyed digest, in this order.
PARTS = ("authority", "method", "path", "query", "content type", "body", "sentence")
#: States of an approval. One past its time counts as expired, whatever stands in the store.
STATES = ("pending", "approved", "denied", "expired", "used")
ID = re.compile(rb"apr_[0-9A-Z]{26}")
#: Characters of one member, and of a sentence that an app says: nobody reads more, and it is kept for months.
MAX_SHOWN = 16_384
_SLOT = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Shown(NamedTuple):
    """The whole sentence, and its values by member, as they stand in the body. `repr` shows neither."""

    sentence: str
    values: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Shown({len(self.values)} values)"

    def pack(self) -> bytes:
        """As bytes for keeping."""
        return json.dumps([self.sentence, self.values]).encode("ascii")

    @classmethod
    def unpack(cls, packed: bytes) -> Shown:
        """What was packed."""
        sentence, values = json.loads(packed)
        return cls(sentence, tuple((name, value) for name, value in values))

    def differing(self, other: Shown) -> str:
        """The first value that `other` has otherwise, as `name: value` of this one; empty if none has."""
        theirs = dict(other.values)
        return next((f"{name} {value}" for name, value in self.values if theirs.get(name) != value), "")


class Sentence(NamedTuple):
    """A template as in `Send {amount} {asset} to {address}`: text, and the members of the body that stand in it."""

    template: str
    names: tuple[str, ...]

    @classmethod
    def read(cls, template: str) -> Sentence:
        """Raises: ValueError for a template without a slot, with a stray brace, or not of one printable line."""
        names = tuple(_SLOT.findall(template))
        rest = _SLOT.sub("", template)
        if not names or "{" in rest or "}" in rest or not template.isprintable():
            raise ValueError("a sentence is one line that names members of the body, as in Send {amount} to {address}")
        return cls(template, names)

    def show(self, content: bytes) -> Shown:
        """
        The sentence for this body, a JSON object whose members of these names are strings or integers.

        Raises: request-invalid, pointing at the member that is not.
        """
        try:
            members = strictjson.read(content)
        except strictjson.NotStrict:
            members = None
        if not isinstance(members, dict):
            raise _unfit("", "The body is an object with the members that a person is shown.")
        values = {name: _text(name, members.get(name)) for name in self.names}
        return Shown(_SLOT.sub(lambda slot: values[slot[1]], self.template), tuple(values.items()))


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        if len(value) > MAX_SHOWN:
            raise _unfit(f"/{name}", f"The member is shown to a person, and is longer than {MAX_SHOWN} characters.")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    # A fraction is read as a double and would be shown otherwise than it was written.
    raise _unfit(f"/{name}", "The member is shown to a person, and must be a string or an integer.")


def _unfit(pointer: str, detail: str) -> Refusal:
    errors = [{"pointer": pointer, "detail": detail}]
    return Refusal("request-invalid", "shown", failed="policy", members={"errors": errors})


def bound(request: Request, content_type: bytes, content: bytes, sentence: str) -> tuple[bytes, ...]:
    """The parts of a call in the order of PARTS, each told apart from the others by its name."""
    values = (
        request.authority.encode("ascii"),
        request.method.encode("ascii"),
        request.path,
        request.query,
        content_type,
        content,
        sentence.encode("utf-8"),
    )
    return tuple(b"approval " + name.encode("ascii") + b"\0" + value for name, value in zip(PARTS, values, strict=True))
