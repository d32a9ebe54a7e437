"""Replies to octets.

    encode("250 2.1.0 Ok") -> b"250 2.1.0 Ok\\r\\n"
    encode_lines("250", ["mx.test", "PIPELINING"]) -> b"250-mx.test\\r\\n250 PIPELINING\\r\\n"
    with_footer("550 5.1.1 no", "\\\\c. See $x") -> what smtpd_reject_footer makes of it

A reply is a str "CODE text" of one line, or of several with "\\n" between; never with a CR.
"""

import re
from functools import lru_cache

_STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3}) ")


@lru_cache(256)
def encode(reply: str) -> bytes:
    """CRLF-ended octets; all lines but the last get their "-"."""
    if "\n" not in reply:
        return reply.encode("utf-8", "surrogateescape") + b"\r\n"
    lines = reply.split("\n")
    code = lines[0][:3]
    out = [f"{code}-{line[4:]}" for line in lines[:-1]] + [f"{code} {lines[-1][4:]}"]
    return ("\r\n".join(out) + "\r\n").encode("utf-8", "surrogateescape")


def encode_lines(code: str, texts: list[str]) -> bytes:
    """A reply of several lines."""
    last = len(texts) - 1
    return "".join(f"{code}{' ' if number == last else '-'}{text}\r\n"
                   for number, text in enumerate(texts)).encode("utf-8", "surrogateescape")


def with_footer(reply: str, footer: str) -> str:
    """Put an expanded footer behind a reply: "\\c" at its start continues the last line, "\\n" in it begins a new
    one. New lines carry the code and status of the reply's last line."""
    if not footer:
        return reply
    if footer.startswith("\\c"):
        here, *more = footer[2:].split("\\n")
        reply += here
    else:
        more = footer.split("\\n")
    last = reply.rpartition("\n")[2]
    status = _STATUS.match(last[4:])
    head = last[:4] + (status[0] if status else "")
    return "\n".join([reply, *(head + line for line in more)])


_ESCAPED = re.compile(r"\\([0-7]{1,3}|.)", re.DOTALL)
_CONTROLS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def unescape(text: str) -> str:
    """C's escapes, as smtpd_expansion_filter has them: "\\t", octal "\\40", "\\\\"."""
    def one(match: re.Match[str]) -> str:
        said = match[1]
        return chr(int(said, 8) & 255) if said[0] in "01234567" else _CONTROLS.get(said, said)
    return _ESCAPED.sub(one, text)


def split_status(text: str, default: str) -> tuple[str, str]:
    """"5.7.9 with a code" -> ("5.7.9", "with a code"); without one, default and the whole text."""
    match = re.match(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)", text)
    if match is None:
        return default, text
    return match[1], text[match.end():]


def soften(reply: str) -> str:
    """soft_bounce: "550 5.7.1 no" -> "450 4.7.1 no", each line."""
    return re.sub(r"^5(\d\d[ -])(?:5(\.\d))?", lambda match: f"4{match[1]}" + (f"4{match[2]}" if match[2] else ""),
                  reply, flags=re.M)


def consistent(reply: str) -> str:
    """Make the status' class agree with the code: "450 5.1.1 x" -> "450 4.1.1 x"; the code comes first."""
    if len(reply) > 5 and reply[4].isdigit() and reply[5] == "." and reply[0] != reply[4]:
        return reply[:4] + reply[0] + reply[5:]
    return reply
