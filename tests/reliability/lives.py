"""
The judge of credentials that come and go: what callers heard, held against when each secret and key was good.

Pure: what was heard in, what is wrong with it out, in words. A secret is good from when it was handed out until its
end is asked for, and opens nothing in a call that began when its end had been told; in between either may be. That
holds at every worker, and a call in the wrong time is no excuse for no answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

#: What a call hears by a secret that is none, and by a key that is none.
_DEAD = frozenset(("token-invalid", "key-unknown"))


class Life(NamedTuple):
    """When a secret is good, and from when on it opens nothing; Unix seconds."""

    good_from: float
    good_until: float
    dead_from: float


class Heard(NamedTuple):
    """One call, as its caller saw it: by which secret, when, and what came back; status 0 for nothing."""

    secret: str
    began: float
    ended: float
    status: int
    code: str = ""
    request: str = ""

    def is_due(self, life: Life) -> bool:
        """Whether it has to be taken."""
        return life.good_from <= self.began and self.ended <= life.good_until

    def is_late(self, life: Life) -> bool:
        """Whether it has to be refused."""
        return self.began >= life.dead_from


def judge(
    heard: Sequence[Heard], lives: Mapping[str, Life], judges: Mapping[str, int], workers: Collection[int]
) -> list[str]:
    """What is wrong; nothing where every secret was good in its time, and nowhere after it."""
    return [*_each(heard, lives, judges), *_everywhere(heard, lives, judges, workers)]


def _each(heard: Sequence[Heard], lives: Mapping[str, Life], judges: Mapping[str, int]) -> Iterator[str]:
    for one in heard:
        life = lives[one.secret]
        refused = one.status == 401 and one.code in _DEAD
        if one.status != 200 and not refused:
            yield f"a call by {one.secret} got {one.status} {one.code}"
        elif refused and one.is_due(life):
            yield f"a call by {one.secret} was refused in its time"
        elif not refused and one.is_late(life):
            yield f"a call by {one.secret} was taken after its end"
        if one.status and one.request not in judges:
            yield f"a call by {one.secret} is in no log"


def _everywhere(
    heard: Sequence[Heard], lives: Mapping[str, Life], judges: Mapping[str, int], workers: Collection[int]
) -> Iterator[str]:
    for secret, life in lives.items():
        own = [one for one in heard if one.secret == secret]
        taken = {judges.get(one.request) for one in own if one.is_due(life)}
        refused = {judges.get(one.request) for one in own if one.is_late(life)}
        for worker in workers:
            if worker not in taken:
                yield f"{secret} was not shown to {worker} in its time"
            if worker not in refused:
                yield f"{secret} was not shown to {worker} after its end"
