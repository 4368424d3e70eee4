"""
The judge of sessions: what was opened, and what went under it, held against how long a session lives.

Pure, as `history` is, and its findings carry the number that they have there. A session belongs to the client that
opened it and to the start of the server in which it was opened. Whatever dies while that start goes on, the session is
there, and its client needs no other; when the server starts anew it is gone, and nothing enters under it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

#: What a server answers that does not have the session; `clock-skew` is judged before it is looked for.
_GONE = frozenset(("session-unknown", "key-unknown"))
_NOT_LOOKED_FOR = frozenset(("clock-skew",))


class Opening(NamedTuple):
    """An answered opening: which client's, and in which start of the server."""

    client: int
    session: str
    start: int


class Under(NamedTuple):
    """
    How one message was sealed: whose it was, under which session, sent to which start. `code` is what a refusal of it
    said in clear; `answered` is False where none came; `entered`, whether the app saw it.
    """

    client: int
    session: str
    start: int
    answered: bool = True
    code: str = ""
    entered: bool = False


def judge_sessions(openings: Sequence[Opening], sealed: Sequence[Under]) -> Iterator[str]:
    """What is wrong; nothing where each session lived as long as its start."""
    opened = {one.session: one for one in openings}
    yield from _opened_once(openings)
    for under in sealed:
        opening = opened.get(under.session)
        if opening is None:
            yield f"5: a message was sealed under {under.session}, which nobody opened"
        elif opening.client != under.client:
            yield f"5: {under.session} was used by client {under.client}, and {opening.client} opened it"
        elif opening.start != under.start:
            if under.entered or (under.answered and under.code not in _GONE | _NOT_LOOKED_FOR):
                yield f"5: {under.session} outlived the start that it was opened in"
        elif under.code in _GONE:
            yield f"5: {under.session} was lost in the start that it was opened in"


def _opened_once(openings: Sequence[Opening]) -> Iterator[str]:
    for session, times in Counter(one.session for one in openings).items():
        if times > 1:
            yield f"5: {session} was opened {times} times"
    for (client, start), times in Counter((one.client, one.start) for one in openings).items():
        if times > 1:
            yield f"5: client {client} opened {times} sessions in start {start}"
