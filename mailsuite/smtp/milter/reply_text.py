"""A milter's own reply ("550 5.7.1 text") as a reply of ours.

    read_reply_text("550-5.7.1 a\\r\\n550 5.7.1 b%%") -> "550 5.7.1 a\\n550 5.7.1 b%"
    logged("550 5.7.1 a\\n550 5.7.1 b%") -> "550-5.7.1 a??550 5.7.1 b%"     as Postfix logs what it got

Each line is a code of 4xx or 5xx, the same in all; perhaps an enhanced status of the same class; and text. A percent
sign comes doubled (libmilter's smfi_setreply). What the client must not get from a milter, line ends of its own and
control characters, does not pass.
Raises MalformedReply: no reply that could be given.
"""

import re

from mailsuite.base.errors import PeerError

_LINE = re.compile(r"([45])(\d\d)[ -](?:(\d)\.\d{1,3}\.\d{1,3}(?: |$))?.*", re.S)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
LINES = 50


class MalformedReply(PeerError):
    """The milter said something that cannot be passed on; its operator has to act."""


def read_reply_text(text: str) -> str:
    """Lines separated by LF, each "550 5.7.1 text"."""
    lines = text.replace("%%", "%").removesuffix("\n").removesuffix("\r").split("\n")
    out = []
    for line in lines:
        line = line.removesuffix("\r")
        match = _LINE.fullmatch(line)
        if match is None or len(lines) > LINES or line[:3] != lines[0][:3] or (match[3] and match[3] != match[1]):
            raise MalformedReply(f"malformed reply: {text[:200]}")
        out.append(f"{line[:3]} {_CONTROL.sub('?', line[4:])}")
    return "\n".join(out)


def logged(reply: str) -> str:
    """A reply on one line of the log."""
    *lines, last = reply.split("\n")
    return "".join(f"{line[:3]}-{line[4:]}??" for line in lines) + last
