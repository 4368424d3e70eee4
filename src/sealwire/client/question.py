"""
What a refusal asks a person, read strictly: a link is opened by somebody, a sentence is shown to them.

Owns: the form of both. Refuses to know: what is done with them.
"""

from __future__ import annotations

import re

from sealwire.client.errors import ApprovalRequired
from sealwire.client.exchange import Proven
from sealwire.client.origin import read_origin
from sealwire.client.problems import plain, read_refusal, refusal
from sealwire.protocol.profile import MAX_NUMBER

_ID = re.compile(r"apr_[0-9A-HJKMNP-TV-Z]{26}")
# RFC 3986 section 3, without user, and of characters that mean nothing to a terminal.
_LINK = re.compile(r"(https?://[^/?#@\\\s]+)(?:[/?#][A-Za-z0-9/?#:@!$&'()*+,;=._~%-]*)?")
_LINK_MOST, _SENTENCE_SHOWN = 2048, 300


def read(proven: Proven, origin: str) -> ApprovalRequired | None:
    """What a proven answer asks a person, or None if it asks nobody, or not in the form that it has."""
    document = read_refusal(proven, origin)
    if document is None or proven.status != 403:
        return None
    match document.get("approval"):
        case {"id": str(approval), "url": str(link), "sentence": str(sentence), "expires_at": int(expires_at)}:
            pass
        case _:
            return None
    fits = _ID.fullmatch(approval) and _is_link(link) and _is_text(sentence)
    if not fits or isinstance(expires_at, bool) or not 0 < expires_at <= MAX_NUMBER:
        return None
    asked = refusal(proven.status, proven.headers, document, proven=True)
    if not isinstance(asked, ApprovalRequired):
        return None
    asked.approval, asked.link, asked.sentence, asked.expires_at = approval, link, sentence, expires_at
    asked.detail = f'"{plain(sentence, _SENTENCE_SHOWN)}{"…" * (len(sentence) > _SENTENCE_SHOWN)}"'
    asked.outcome = proven.outcome
    return asked


def _is_link(text: str) -> bool:
    found = _LINK.fullmatch(text)
    if found is None or len(text) > _LINK_MOST:
        return False
    try:
        read_origin(found[1])
    except ValueError:
        return False
    return True


def _is_text(sentence: str) -> bool:
    try:
        return bool(sentence.encode("utf-8").strip())
    except UnicodeEncodeError:
        return False
