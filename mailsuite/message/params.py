"""Content-Type, Content-Disposition and their parameters: RFC 2045 section 5.1, RFC 2231.

    parse_content_type(value) -> ContentType(type, subtype, params)        in the spelling that was sent
    parse_disposition(value) -> (disposition | None, params)
    join_continuations(params) -> params        title*0="a", title*1="b" become title="ab"

params are (name, value) pairs in order. A parameter that can't be read is left out, the next one is tried.
Limits: MAX_PARAMS.
"""

import re
from typing import NamedTuple

MAX_PARAMS = 1000

_TOKEN = rb"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]"
_SPACE = re.compile(rb"(?:[ \t\r\n]|\([^()\\]*(?:\\.[^()\\]*)*\))*", re.S)
_TYPE = re.compile(rb"(%b+)" % _TOKEN)
_VALUE = re.compile(rb"([^\x00-\x20\x7f()<>@,;:\\\"/\[\]?]+)")
_QUOTED = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)
_CONTINUED = re.compile(rb"(.*?)\*(\d{1,9})(\*?)$", re.S)

Params = list[tuple[bytes, bytes]]


class ContentType(NamedTuple):
    """type and subtype as they were written; b"" for an unreadable one."""

    type: bytes
    subtype: bytes
    params: Params

    def param(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.params if key.lower() == name), None)


def _skip(text: bytes, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def parse_content_type(value: bytes) -> ContentType:
    at = _skip(value, 0)
    first = _TYPE.match(value, at)
    if first is None:
        return ContentType(b"", b"", [])
    at = _skip(value, first.end())
    subtype = b""
    if value[at: at + 1] == b"/":
        second = _TYPE.match(value, _skip(value, at + 1))
        if second is None:
            return ContentType(b"", b"", [])
        subtype, at = second[1], _skip(value, second.end())
    if at < len(value) and value[at: at + 1] != b";":
        return ContentType(b"", b"", [])
    return ContentType(first[1], subtype, parse_params(value, at))


def parse_disposition(value: bytes) -> tuple[bytes | None, Params]:
    match = _TYPE.match(value, _skip(value, 0))
    if match is None:
        return None, []
    return match[1], parse_params(value, _skip(value, match.end()))


def parse_params(value: bytes, at: int) -> Params:
    """From the first ";" on."""
    params: Params = []
    while len(params) < MAX_PARAMS:
        at = _skip(value, at)
        if value[at: at + 1] != b";":
            at = value.find(b";", at + 1)
            if at < 0:
                break
        pair, at = _one_param(value, _skip(value, at + 1))
        if pair is not None:
            params.append(pair)
        elif value[at: at + 1] == b";":
            at += 1             # what follows an unreadable parameter is lost with it
    return params


def _one_param(value: bytes, at: int) -> tuple[tuple[bytes, bytes] | None, int]:
    name = _TYPE.match(value, at)
    if name is None:
        return None, at
    at = _skip(value, name.end())
    if value[at: at + 1] != b"=":
        return None, at
    at = _skip(value, at + 1)
    if value[at: at + 1] == b'"':
        quoted = _QUOTED.match(value, at)
        if quoted is None:
            return None, len(value)
        return (name[1], _ESCAPE.sub(rb"\1", quoted[1])), quoted.end()
    plain = _VALUE.match(value, at)
    return (name[1], plain[1] if plain else b""), plain.end() if plain else at


def join_continuations(params: Params) -> Params:
    """RFC 2231 section 3: pieces joined in the order of their numbers, behind the other parameters."""
    if not any(b"*" in name for name, _ in params):
        return params
    plain: Params = []
    pieces: dict[bytes, list[tuple[int, bytes, bool]]] = {}
    for name, value in params:
        match = _CONTINUED.match(name)
        if match is None:
            plain.append((name, value))
        else:
            pieces.setdefault(match[1], []).append((int(match[2]), value, bool(match[3])))
    for name, parts in pieces.items():
        parts.sort(key=lambda part: part[0])
        if [number for number, _, _ in parts] != list(range(len(parts))):
            plain += [(b"%b*%d%b" % (name, number, b"*" if coded else b""), value) for number, value, coded in parts]
            continue
        coded = any(part[2] for part in parts)
        plain.append((name + (b"*" if coded else b""), b"".join(part[1] for part in parts)))
    return plain
