"""
One-time codes (HOTP: RFC 4226, TOTP: RFC 6238): what a code is, and at which counter a given one stands.

Owns: the windows. A code counts once: only counters past the last one that was used are looked at. Refuses to know:
clocks, secrets at rest, how often anybody may guess.
"""

from __future__ import annotations

import hmac
import re

from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

STEP_SECONDS = 30
#: Codes of a token that may have been shown and not used (RFC 4226 section 7.4).
LOOK_AHEAD = 10
#: RFC 4226 section 4, R6.
SECRET_BYTES = 20
DIGITS = (6, 7, 8)
ALGORITHMS: dict[str, type[SHA1 | SHA256 | SHA512]] = {"SHA1": SHA1, "SHA256": SHA256, "SHA512": SHA512}
# As people type them: in groups. ASCII alone, since other digits are other characters.
_CODE = re.compile(r"[0-9]{6,8}")


class Seed:
    """
    The secret of a factor with its parameters. `repr` shows no secret. Raises: ValueError for parameters outside
    ALGORITHMS and DIGITS, or a secret under 128 bits (RFC 4226 section 4, R6).
    """

    __slots__ = ("_hotp", "digits")

    def __init__(self, secret: bytes, algorithm: str = "SHA1", digits: int = 6) -> None:
        if algorithm not in ALGORITHMS or digits not in DIGITS or len(secret) < 16:
            raise ValueError("a one-time code is of SHA1, SHA256 or SHA512, 6 to 8 digits, and at least 128 bits")
        self._hotp = HOTP(secret, digits, ALGORITHMS[algorithm]())
        self.digits = digits

    def code(self, counter: int) -> str:
        """The code at this counter (RFC 4226 section 5.3)."""
        return self._hotp.generate(counter).decode("ascii")

    def find(self, given: str, first: int, last: int) -> int | None:
        """The counter from `first` to `last` at which the code is `given`, or None. Every one of them is compared."""
        wanted = plain(given).encode("ascii")
        found = None
        for counter in range(max(first, 0), last + 1):
            if hmac.compare_digest(self._hotp.generate(counter), wanted) and found is None:
                found = counter
        return found


def plain(given: str) -> str:
    """The digits of a code as it was typed, without spaces and dashes; empty if it is none."""
    code = given.replace(" ", "").replace("-", "")
    return code if _CODE.fullmatch(code) else ""


def steps(now: float, grace_seconds: int) -> tuple[int, int]:
    """The first and the last TOTP step that count at Unix second `now`: the current one, the previous for a grace."""
    current = int(now // STEP_SECONDS)
    return (current - 1 if now % STEP_SECONDS < grace_seconds else current), current
