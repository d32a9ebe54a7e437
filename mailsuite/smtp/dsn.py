"""Values of the ESMTP parameters of RFC 3461, as clients and milters give them, and of XVERP.

    read_notify("SUCCESS,DELAY") -> 10        read_orcpt("rfc822;a+2Bb@c.test") -> "rfc822;a+b@c.test"
"""

import re

from mailsuite.base.errors import PeerError
from mailsuite.smtp.syntax import read_xtext

_NOTIFY = {"NEVER": 1, "SUCCESS": 2, "FAILURE": 4, "DELAY": 8}
_ORCPT_TYPE = re.compile(r"[!-~]+")


def read_notify(value: str) -> int:
    """NOTIFY= as a mask of queue.envelope.Notify; 0 when it is wrong. RFC 3461 section 4.1."""
    mask = 0
    for word in value.upper().split(","):
        bit = _NOTIFY.get(word, 0)
        if not bit:
            return 0
        mask |= bit
    return 0 if mask & 1 and mask != 1 else mask        # NEVER stands alone


def unknown_notify(value: str) -> str:
    """The first word of NOTIFY= that RFC 3461 does not know, "" when there is none."""
    return next((word for word in value.split(",") if word and word.upper() not in _NOTIFY), "")


def read_orcpt(value: str) -> str:
    """ORCPT=type;xtext, decoded; "" when it is wrong. RFC 3461 section 4.2."""
    kind, _, address = value.partition(";")
    if not _ORCPT_TYPE.fullmatch(kind) or not address:
        return ""
    decoded = decoded_xtext(address)
    if not decoded or not decoded.isprintable():
        return ""
    return f"{kind};{decoded}"


def fits_verp(delimiters: str, allowed: str) -> bool:
    """Whether these are two characters of verp_delimiter_filter, as XVERP= and sendmail -XV need them."""
    return len(delimiters) == 2 and all(one in allowed for one in delimiters)


def decoded_xtext(text: str) -> str | None:
    """None when it is no xtext."""
    try:
        return read_xtext(text)
    except PeerError:
        return None
