"""
What Sealwire takes of RFC 9421: the strict profile of a request's signature (docs/protocol.md, "The request
signature").

Owns: the reading of our own signature out of a message, its parameters and the components it may name, and the two
speeds of that reading. The quick reading takes only the form that ordinary signers write and says "not mine" (None) to
anything else, never "refused"; the general reading alone can refuse. A property test holds the two together.
Refuses to know: keys, clocks, nonces already seen.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from sealwire.errors import Refusal
from sealwire.protocol.digest import decode_base64
from sealwire.protocol.fields import FieldError, split_dictionary
from sealwire.protocol.message import Request
from sealwire.protocol.signature import Component, Signed, canonical, parse, value

TAG = "sealwire"
TAG_POSSESSION = "sealwire-possession"
TAG_INVITATION = "sealwire-invitation"
TAG_RESPONSE = "sealwire-response"

ALWAYS = (b"@method", b"@authority", b"@path", b"@query")
#: Derived components that may be covered beside the four.
ALSO_DERIVED = (b"@target-uri", b"@scheme", b"@request-target")
WITH_CONTENT = (b"content-type", b"content-digest")
_OF_ALL = frozenset(ALWAYS)
_OF_CONTENT = _OF_ALL.union(WITH_CONTENT)
WHEN_PRESENT = frozenset(
    b"authorization dpop idempotency-key sealwire-session sealwire-reply-key sealwire-approval".split()
)
#: Components of the request that its reply does not repeat with `;req`: credentials (docs/protocol.md, "Replies").
UNREPEATED = frozenset((b"authorization", b"dpop"))
#: The components whose line fingerprints a refusal may show; what a proxy injected stays unnamed.
NAMED_IN_REFUSALS = frozenset((*ALWAYS, *WITH_CONTENT)) | WHEN_PRESENT | {b"@signature-params"}

MAX_LABELS = 16
MAX_COMPONENTS = 32
MAX_LIFETIME_SECONDS = 300
MAX_NUMBER = 1 << 40

NONCE = re.compile(r"[A-Za-z0-9_-]{22,64}")
_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_ORDINARY_LIST = re.compile(rb'"@?[a-z0-9\-]+"(?: "@?[a-z0-9\-]+")*')
# No two of its alternatives begin alike: on that rests the possessive repetition (CPython issue 101955).
_ORDINARY_INPUT = re.compile(
    rb'([a-z*][a-z0-9_\-.*]*+)=(\(([a-z0-9@" \-]++)\)'
    rb"((?:;(?:created=(0|[1-9][0-9]{0,12})|expires=(0|[1-9][0-9]{0,12})"
    rb'|keyid="([ !#-:<-\[\]-~]++)"|nonce="([A-Za-z0-9_\-]{22,64}+)"'
    rb'|tag="([ !#-:<-\[\]-~]++)"|alg="([ !#-:<-\[\]-~]++)"))++))'
)


class Plan(NamedTuple):
    """
    How to build the base lines of one covered list: for each component its line's head and the name its value is found
    by, which is empty for a line that is whole already. `repeated` are those of a reply's `;req` lines, `said` their
    identifiers as a reply lists them.
    """

    names: frozenset[bytes]
    steps: tuple[tuple[bytes, bytes], ...]
    repeated: tuple[tuple[bytes, bytes], ...]
    said: bytes


class Claim(NamedTuple):
    """
    What a message's signature says of itself; nothing of it is proven. `listed` are the bytes between the parentheses.
    `repr` shows its times alone.
    """

    label: str
    listed: bytes
    plan: Plan
    created: int
    expires: int
    keyid: str
    nonce: str
    algorithm: str | None
    covered: bytes
    signature: bytes

    def __repr__(self) -> str:
        return f"Claim({self.created}, {self.expires})"


class Plans:
    """
    Plans by the bytes of their covered list, so that a list seen before is not read again.

    At most 256: a list is kept only after a signature under it held, and none is kept past the bound.
    """

    BOUND = 256

    def __init__(self) -> None:
        self._plans: dict[bytes, Plan] = {}
        #: The plan kept for this list, or None.
        self.find = self._plans.get

    def keep(self, claim: Claim) -> None:
        """Called once the claim's signature held."""
        if claim.listed and claim.listed not in self._plans and len(self._plans) < self.BOUND:
            self._plans[claim.listed] = claim.plan


def claim(request: Request, tag: str, plans: Plans, *, possession: str = "") -> Claim:
    """
    The one signature with `tag` (docs/protocol.md, "The request signature"), read and held against the profile.

    `possession` is the label of a possession signature that this one must bind (`"signature";key=…`), at enrolment.

    Raises: signature-missing, signature-malformed, components-insufficient, media-type.
    """
    signature_input, signature = request.fields.get(b"signature-input"), request.fields.get(b"signature")
    if not signature or not signature_input:
        cause = "absent" if not signature and not signature_input else "input-absent"
        raise Refusal("signature-missing", cause, failed="parse")
    found = None if possession else quick(signature_input, signature, tag, plans)
    if found is None:
        found = general(signature_input, signature, tag, request, possession)
    judge_components(found.plan.names, request)
    return found


def quick(signature_input: bytes, signature: bytes, tag: str, plans: Plans) -> Claim | None:
    """The ordinary form read by one regular expression, or None for any other form or any doubt."""
    found = _ORDINARY_INPUT.fullmatch(signature_input)
    if found is None:
        return None
    label, covered, listed, tail, created, expires, keyid, nonce, tagged, algorithm = found.groups()
    # No string holds a semicolon here, so these are as many as there are parameters: none is missing, or there twice.
    if not (created and expires and keyid and nonce and tagged) or tail.count(b";") != (6 if algorithm else 5):
        return None
    if tagged != tag.encode("ascii") or not (signature.startswith(label + b"=:") and signature.endswith(b":")):
        return None
    octets = decode_base64(signature[len(label) + 2 : -1])
    plan = plans.find(listed) or read_list(listed)
    if not octets or plan is None:
        return None
    first, last = int(created), int(expires)
    if last <= first or last - first > MAX_LIFETIME_SECONDS or last >= MAX_NUMBER:
        return None
    named = None if algorithm is None else algorithm.decode("ascii")
    return Claim(
        label.decode("ascii"),
        listed,
        plan,
        first,
        last,
        keyid.decode("ascii"),
        nonce.decode("ascii"),
        named,
        covered,
        octets,
    )


def read_list(listed: bytes) -> Plan | None:
    """The plan of an ordinary list of components (what stands between the parentheses), or None for any other."""
    if not _ORDINARY_LIST.fullmatch(listed):
        return None
    names = [name.strip(b'"') for name in listed.split(b" ")]
    unique = frozenset(names)
    if len(unique) != len(names) or len(names) > MAX_COMPONENTS:
        return None
    if any(name.startswith(b"@") and name not in (*ALWAYS, *ALSO_DERIVED) for name in unique):
        return None
    return _plan(names, _steps(names))


def _plan(names: list[bytes], steps: tuple[tuple[bytes, bytes], ...]) -> Plan:
    repeated = tuple((b'"' + name + b'";req: ', name) for name in names if name not in UNREPEATED)
    return Plan(frozenset(names), steps, repeated, identifiers(repeated))


def identifiers(lines: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The identifiers of lines, each given by its head and its name, with spaces between them."""
    return b" ".join([head.removesuffix(b": ") for head, _ in lines])


def _steps(names: list[bytes]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((b'"' + name + b'": ', name) for name in names)


def general(signature_input: bytes, signature: bytes, tag: str, request: Request, possession: str = "") -> Claim:
    """The reading that takes every form the profile allows, and alone refuses. Raises: as `claim`."""
    signed, octets = _ours(signature_input, signature, tag)
    if not canonical(signed, octets):
        raise _malformed("not-canonical", "A member is not written in its canonical RFC 9651 form.")
    plan = _components(signed, request, possession)
    created, expires = _number(signed, "created"), _number(signed, "expires")
    keyid, nonce, _ = _string(signed, "keyid"), _string(signed, "nonce"), _string(signed, "tag")
    algorithm = _string(signed, "alg") if "alg" in signed.params else None
    unknown = set(signed.params) - {"created", "expires", "keyid", "nonce", "tag", "alg"}
    if unknown:
        raise _malformed("parameter-unknown", "Parameters are created, expires, keyid, nonce, tag and alg only.")
    if not NONCE.fullmatch(nonce):
        raise _malformed("nonce-form", "A nonce is 22 to 64 characters of base64url.")
    if expires <= created:
        raise _malformed("expires-order", "expires must be later than created.")
    if expires - created > MAX_LIFETIME_SECONDS:
        raise _malformed("lifetime", f"expires is at most {MAX_LIFETIME_SECONDS} s after created.")
    listed = b"" if possession else signed.covered.partition(b")")[0][1:]
    covered, octets = signed.covered, signed.signature
    return Claim(signed.label, listed, plan, created, expires, keyid, nonce, algorithm, covered, octets)


def has_tag(request: Request, tag: str) -> bool:
    """True if some signature of the message has `tag`. Raises: signature-malformed."""
    try:
        return bool(find_label(request, tag))
    except Refusal as refusal:
        if refusal.slug == "signature-missing":
            return False
        raise


def find_label(request: Request, tag: str) -> str:
    """The label of the one signature with `tag`. Raises: signature-missing, signature-malformed."""
    signature_input, signature = request.fields.get(b"signature-input"), request.fields.get(b"signature")
    if not signature or not signature_input:
        raise Refusal("signature-missing", "absent", failed="parse")
    return _ours(signature_input, signature, tag)[0].label


def _ours(signature_input: bytes, signature: bytes, tag: str) -> tuple[Signed, bytes]:
    """
    Our signature among all, with its bytes as received. Of the others only this: they parse, no label stands twice.
    """
    try:
        labels = [label for label, _ in split_dictionary(signature_input)]
        values = split_dictionary(signature)
        if len(labels) > MAX_LABELS or len(values) > MAX_LABELS:
            raise _malformed("too-many", f"There are more than {MAX_LABELS} labels.")
        if len(set(labels)) != len(labels) or len(dict(values)) != len(values):
            raise _malformed("label-twice", "A label stands twice.")
        if set(labels) != set(dict(values)):
            raise _malformed("labels-differ", "Signature and Signature-Input do not have the same labels.")
        every = parse(signature_input, signature)
    except FieldError:
        raise _malformed("fields", "Signature or Signature-Input is not a structured field of its kind.") from None
    ours = [signed for signed in every if signed.params.get("tag") == tag]
    if not ours:
        raise Refusal("signature-missing", "no-tag", failed="parse")
    if len(ours) > 1:
        raise _malformed("too-many", f'More than one signature has the tag "{tag}".')
    return ours[0], dict(values)[ours[0].label]


def _malformed(cause: str, detail: str) -> Refusal:
    return Refusal("signature-malformed", cause, detail, failed="parse")


def _components(signed: Signed, request: Request, possession: str) -> Plan:
    """The plan of what is covered; the lines that bind a possession signature stand in it whole."""
    if len(signed.components) > MAX_COMPONENTS:
        raise _malformed("too-many-components", f"More than {MAX_COMPONENTS} components are covered.")
    names: list[bytes] = []
    steps: list[tuple[bytes, bytes]] = []
    bound: set[str] = set()
    for component in signed.components:
        name = component.name.encode("ascii")
        if component.params:
            if not possession or component.name not in ("signature", "signature-input"):
                raise _malformed("component-parameter", "Components take no parameters here.")
            if component.params != {"key": possession} or component.name in bound:
                raise _malformed("component-parameter", "The binding names the possession signature's label, once.")
            bound.add(component.name)
            steps.append((component.identifier() + b": " + value(component, request), b""))
        elif name in names:
            raise _malformed("component-twice", "A component is covered twice.")
        elif name not in (*ALWAYS, *ALSO_DERIVED) and not _FIELD_NAME.fullmatch(name):
            raise _malformed("component-unknown", "A component is no field name in lower case and not derived here.")
        else:
            names.append(name)
            steps += _steps([name])
    if possession and len(bound) != 2:
        raise Refusal("components-insufficient", "binding-missing", failed="components")
    return _plan(names, tuple(steps))


def _number(signed: Signed, name: str) -> int:
    number = signed.params.get(name)
    if number is None:
        raise _malformed("parameter-missing", f"The parameter {name} is missing.")
    if type(number) is not int:
        raise _malformed("parameter-type", f"The parameter {name} is an integer.")
    if not 0 <= number < MAX_NUMBER:
        raise _malformed("number-range", f"The parameter {name} is out of range.")
    return number


def _string(signed: Signed, name: str) -> str:
    text = signed.params.get(name)
    if text is None:
        raise _malformed("parameter-missing", f"The parameter {name} is missing.")
    if type(text) is not str:
        raise _malformed("parameter-type", f"The parameter {name} is a string.")
    return text


def judge_components(names: frozenset[bytes], request: Request) -> None:
    """
    Every component that must be covered is, and what Connection names does not count as covered.

    Raises: components-insufficient, naming what is missing; media-type for a Content-Encoding.
    """
    fields = request.fields
    if b"content-encoding" in fields:
        raise Refusal(
            "media-type", "content-encoding", "A signed body is sent without Content-Encoding.", failed="components"
        )
    required = (_OF_CONTENT if request.has_content() else _OF_ALL) | (WHEN_PRESENT & fields.keys())
    if not required <= names:
        raise _insufficient("not-covered", "Not covered", required - names)
    if b"connection" in fields:
        hop = {option.strip(b" \t").lower() for option in fields[b"connection"].split(b",")}
        named = names & hop & {*WITH_CONTENT, *WHEN_PRESENT}
        if named:
            raise _insufficient("named-by-connection", "Not covered, since Connection names it", named)


def _insufficient(cause: str, said: str, names: Collection[bytes]) -> Refusal:
    listed = " ".join(f'"{name.decode("ascii")}"' for name in sorted(names))
    return Refusal("components-insufficient", cause, f"{said}: {listed}.", failed="components")


def build_base(found: Claim, request: Request) -> bytes:
    """
    The signature base of a claim, from slices of the bytes received (RFC 9421 section 2.5).

    Raises: components-insufficient/field-absent.
    """
    lines = build_lines(found.plan.steps, request)
    lines.append(b'"@signature-params": ' + found.covered)
    return b"\n".join(lines)


def build_lines(steps: Iterable[tuple[bytes, bytes]], request: Request) -> list[bytes]:
    """The lines of components, each by its head and its name. Raises: components-insufficient/field-absent."""
    find = request.components().get
    return [head + (find(name) or component_value(name, request)) for head, name in steps]


def component_value(name: bytes, request: Request) -> bytes:
    """
    The value of one component that a plan names; empty for a line that stands in the plan whole.

    Raises: components-insufficient/field-absent.
    """
    content = request.components().get(name)
    if content is not None:
        return content
    if not name:
        return b""
    if name in ALSO_DERIVED:
        return value(Component(name.decode("ascii"), {}), request)
    shown = name.decode("ascii")
    raise Refusal("components-insufficient", "field-absent", f'"{shown}" is covered and not sent.', failed="components")


def fingerprints(found: Claim, base: bytes) -> list[dict[str, str]]:
    """
    For each line of the base that may be named: its component and the first 8 hex digits of SHA-256(signature ‖ line)
    (docs/protocol.md, "Saying no"). The client compares with its own and names the one that differs.
    """
    shown = []
    for line in base.split(b"\n"):
        component = line.partition(b": ")[0]
        if component.split(b";")[0].strip(b'"') in NAMED_IN_REFUSALS:
            digest = hashlib.sha256(found.signature + line).hexdigest()[:8]
            shown.append({"component": component.decode("ascii"), "sha256": digest})
    return shown
