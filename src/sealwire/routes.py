"""
The rule table: method and path to the one rule that decides; no match, no entry.

Owns: which rule is the nearest (a literal segment before a parameter before `**`, whatever the order in the file),
and the refusal of paths that a lax upstream would run under another rule. Refuses to know: what a rule demands.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from sealwire.call import Rule
from sealwire.errors import Misuse, Refusal
from sealwire.protocol.message import HELD_TARGET_BYTES, Target, percent_decode

_PARAMETER = re.compile(r"\{[a-z][a-z0-9_]*\}")
_REST = "**"
#: Paths whose rules are held ready, none of them longer than so many bytes.
HELD_PATHS, HELD_PATH_BYTES = 1024, HELD_TARGET_BYTES


class _Node:
    """One position in the tree of templates."""

    __slots__ = ("literals", "parameter", "rest", "rules")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.rules: list[Rule] = []
        self.rest: list[Rule] = []


class Routes:
    """
    The compiled table. Raises Misuse at construction for a template that is none, or two rules for one method and
    path.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        every = tuple(rules)
        self.rules = every
        self._exact, self._lax = _Node(), _Node()
        for rule in every:
            _insert(self._exact, rule, _segments_of(rule))
            _insert(self._lax, rule, [_lowered(segment) for segment in _segments_of(rule)])
        self._has_capitals = any(rule.template != rule.template.lower() for rule in every)
        # The same paths come again and again: most calls are to few of them.
        self._found = functools.lru_cache(maxsize=HELD_PATHS)(self._find)

    def match(self, method: str, target: Target) -> Rule:
        """
        The rule for this method and path.

        Raises: not-found, method-not-allowed (with Allow), target-not-canonical for an encoded slash where no rule's
        `slash_ok` allows it, or a path that lower-cased, without `;…` and one trailing slash, or with its encoded
        slashes decoded as the app sees it, falls under another rule.
        """
        find = self._found if len(target.path) <= HELD_PATH_BYTES else self._find
        return find(method, target.path, target.decoded, target.slashes)

    def _find(self, method: str, path: bytes, decoded_path: str, slashes: bool) -> Rule:
        segments = _split(path, decoded_path, slashes)
        found = _collect(self._exact, segments, 0, [])
        rule = next((rule for rule in found if method in rule.methods), None)
        if not (rule and rule.exact):
            self._judge_lax(segments, found)
            # The app sees the path decoded: more segments than the rule was found by, which may be another rule's.
            decoded = _collect(self._lax, _lax(decoded_path[1:].split("/")), 0, []) if slashes else []
            if decoded and decoded != found:
                raise _other_rule("With its encoded slashes decoded, this path would fall under another rule.")
        if not found:
            raise Refusal("not-found", "no-rule")
        if slashes:
            _judge_slashes(rule or found[0], segments)
        if rule is None:
            allow = ", ".join(sorted(set().union(*(rule.methods for rule in found))))
            raise Refusal("method-not-allowed", "method", fields=((b"allow", allow.encode("ascii")),))
        return rule

    def _judge_lax(self, segments: list[str], found: list[Rule]) -> None:
        lax = _lax(segments)
        if (lax == segments and not self._has_capitals) or _collect(self._lax, lax, 0, []) == found:
            return
        raise _other_rule("In lower case, without ;… and a trailing slash, this path would fall under another rule.")


def _lax(segments: list[str]) -> list[str]:
    """The segments as a lax upstream reads them."""
    lax = [segment.partition(";")[0].lower() for segment in segments]
    if len(lax) > 1 and not lax[-1]:
        lax.pop()
    return lax


def _other_rule(detail: str) -> Refusal:
    return Refusal("target-not-canonical", "other-rule", detail)


def _split(path: bytes, decoded: str, slashes: bool) -> list[str]:
    if not slashes:
        return decoded[1:].split("/")
    return [percent_decode(segment).decode("utf-8") for segment in path[1:].split(b"/")]


def _segments_of(rule: Rule) -> list[str]:
    template = rule.template
    segments = template[1:].split("/")
    if not template.startswith("/") or "//" in template or any(_REST in s and s != _REST for s in segments):
        raise Misuse(f'rules: path = "{template}" must start with /, have no empty segment, and ** only as its last')
    if _REST in segments[:-1]:
        raise Misuse(f'rules: path = "{template}" may have ** only as its last segment')
    for segment in segments:
        if ("{" in segment or "}" in segment) and not _PARAMETER.fullmatch(segment):
            raise Misuse(f'rules: path = "{template}": a parameter is a whole segment, as in /v1/orders/{{id}}')
    return segments


def _lowered(segment: str) -> str:
    return segment if _PARAMETER.fullmatch(segment) else segment.lower()


def _insert(root: _Node, rule: Rule, segments: list[str]) -> None:
    node = root
    for segment in segments:
        if segment == _REST:
            return _place(node.rest, rule)
        if _PARAMETER.fullmatch(segment):
            node.parameter = node.parameter or _Node()
            node = node.parameter
        else:
            node = node.literals.setdefault(segment, _Node())
    return _place(node.rules, rule)


def _place(rules: list[Rule], rule: Rule) -> None:
    for other in rules:
        if other.methods & rule.methods:
            raise Misuse(
                f'rules: "{other.template}" and "{rule.template}" both decide {min(other.methods & rule.methods)}'
            )
    rules.append(rule)


def _collect(node: _Node, segments: list[str], position: int, found: list[Rule]) -> list[Rule]:
    """Every rule for the path, nearest first."""
    if position == len(segments):
        found += node.rules
    else:
        segment = segments[position]
        literal = node.literals.get(segment)
        if literal is not None:
            _collect(literal, segments, position + 1, found)
        if node.parameter is not None and segment:
            _collect(node.parameter, segments, position + 1, found)
    found += node.rest
    return found


def _judge_slashes(rule: Rule, segments: list[str]) -> None:
    names = rule.template[1:].split("/")
    allowed = {i for i, name in enumerate(names) if rule.slash_ok and name == f"{{{rule.slash_ok}}}"}
    if any("/" in segment and i not in allowed for i, segment in enumerate(segments)):
        raise Refusal("target-not-canonical", "encoded", "The path holds an encoded slash where none is allowed.")
