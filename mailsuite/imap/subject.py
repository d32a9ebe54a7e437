"""Base subjects: what threads of one subject have in common.

    base_subject("Re: [list] Fwd: x") -> ("X", True)         folded; True: it was a reply or a forward

Source: RFC 5256 section 2.1.
"""

import re

from mailsuite.imap.text import fold

_BLANKS = re.compile(r"[ \t\r\n]+")
_TRAILER = re.compile(r"(?: |\(fwd\))+\Z", re.I)
_BLOB = re.compile(r"\[[^\[\]]*\] ?")
_LEADER = re.compile(r"(?:\[[^\[\]]*\] ?)*(?:re|fwd?) ?(?:\[[^\[\]]*\] ?)?:", re.I)


def base_subject(subject: str) -> tuple[str, bool]:
    """RFC 5256 section 2.1: the subject without what replies and forwards add, folded."""
    text = _BLANKS.sub(" ", subject)
    reply = False
    while True:
        trailer = _TRAILER.search(text)
        if trailer is not None:
            reply = reply or "(" in trailer[0]
            text = text[:trailer.start()]
        text, more = _without_leaders(text)
        reply = reply or more
        if text[:5].lower() == "[fwd:" and text.endswith("]"):
            text, reply = text[5:-1], True
            continue
        return fold(text), reply


def _without_leaders(text: str) -> tuple[str, bool]:
    reply = False
    while True:
        stripped = text.lstrip(" ")
        leader = _LEADER.match(stripped)
        if leader is not None:
            text, reply = stripped[leader.end():], True
            continue
        blob = _BLOB.match(stripped)
        if blob is not None and blob.end() < len(stripped):
            text = stripped[blob.end():]
            continue
        return stripped, reply
