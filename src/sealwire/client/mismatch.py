"""
Which line of a signature base was changed on the way, and what usually changes it (docs/protocol.md, "Saying no").

Owns: the comparison of a refusal's `base_lines` with one's own base, and the words for it.
Refuses to know: whether the refusal is genuine. What it says is shown to people and changes nothing that is signed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sealwire.protocol.profile import Claim, fingerprints

#: Components whose values are credentials: named in an error, never shown.
SECRET = frozenset((b'"authorization"', b'"dpop"'))
_FINGERPRINT = re.compile(r"[0-9a-f]{8}")

_USUAL = {
    '"@path"': "a proxy strips or adds a prefix. Ask the API's owner to set external_prefix to that prefix.",
    '"@query"': "a proxy or a library writes the query anew: order, %20 and +, parameters added or dropped.",
    '"@authority"': "a proxy rewrites Host. Ask the API's owner to have it passed on unchanged.",
    '"@method"': "something on the way changes the method, as a method override does.",
    '"content-digest"': "the body and its digest were made anew on the way: look for compression or re-encoding.",
    '"content-type"': "a proxy or a library adds a charset or rewrites the media type.",
    '"authorization"': "a proxy or a library replaces Authorization with credentials of its own.",
    '"idempotency-key"': "a library on the way sets an Idempotency-Key of its own.",
    '"@signature-params"': "Signature-Input was parsed and written anew on the way.",
}
_SAME = "every line is the same: the signature itself was changed on the way, or made by another key."


class Difference(NamedTuple):
    """One line that the server built otherwise: component, and the value that was signed (empty for a credential)."""

    component: str
    signed: str


def compare(base_lines: object, claim: Claim, base: bytes) -> tuple[tuple[Difference, ...], int] | None:
    """
    The lines that differ and the number of those that do not; None if the server gave no fingerprints.

    `base` is the base that was signed. A component that was not signed is not shown: the words are a stranger's.
    """
    if not isinstance(base_lines, list) or not base_lines:
        return None
    theirs: dict[str, str] = {}
    for entry in base_lines[:64]:
        component, digest = (entry.get("component"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if isinstance(component, str) and isinstance(digest, str) and _FINGERPRINT.fullmatch(digest):
            theirs[component] = digest
    ours = {line["component"]: line["sha256"] for line in fingerprints(claim, base)}
    differ = [name for name, digest in ours.items() if theirs.get(name, digest) != digest]
    same = sum(1 for name in ours if name in theirs) - len(differ)
    return tuple(Difference(name, _value(name, base)) for name in differ), same


def _value(component: str, base: bytes) -> str:
    head = component.encode("ascii")
    if head in SECRET:
        return ""
    for line in base.split(b"\n"):
        if line.startswith(head + b": "):
            return line[len(head) + 2 :].decode("latin-1")
    return ""


def words(differences: tuple[Difference, ...], same: int) -> list[str]:
    """Sentences for people: what was signed, what differs, the usual cause."""
    if not differences:
        return [f"all {same} lines the server shows are the same as yours", f"usual cause: {_SAME}"]
    said = []
    for component, signed in differences:
        said.append(f"you signed    {component}: {signed or '(not shown)'}")
    names = " and ".join(difference.component for difference in differences)
    said.append(f"the server received something else for {names}; the other {same} lines are the same")
    for component, _ in differences:
        cause = _USUAL.get(component, "something on the way changes this field.")
        said.append(f"usual cause: {cause}")
    return said
