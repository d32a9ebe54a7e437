"""Content-Type, Content-Disposition and their parameters: RFC 2045 section 5.1, RFC 2231.

    parse_content_type(value) -> ContentType(type, subtype, params)        in the spelling that was sent
    parse_disposition(value) -> (disposition | None, params);  parse_encoding(value) -> token | None
    join_continuations(params) -> params        title*0="a", title*1="b" become title="ab"

params are (name, value) pairs in order. A parameter that can't be read is left out, the next one is tried.
Limits: MAX_PARAMS.
"""

import re
from contextlib import suppress
from typing import NamedTuple

MAX_PARAMS = 1000

_TOKEN = rb"[^\x00-\x20\x7f()<>@,;:\\\"/\[\]?=]"
_SPACE = re.compile(rb"[ \t\r\n]*")
_COMMENT_STEP = re.compile(rb"\\.|[()]", re.S)
_TAG = re.compile(rb"([^\x00-\x20\x7f()<>@,;:\\\".\[\]]+)")
_TYPE = re.compile(rb"(%b+)" % _TOKEN)
_VALUE = re.compile(rb"(=*%b*)" % _TOKEN)          # some mailers write boundary==_x
_QUOTED = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.S)
_ESCAPE = re.compile(rb"\\(.)", re.S)
# A token and comments, nothing else.
_ENCODING = re.compile(rb"[ \t]*([^\x00-\x20()<>@,;:\\\"/\[\]?=]+)(?:[ \t]|\([^()\\]*\))*$")
_CONTINUED = re.compile(rb"(.*?)\*(\d{1,9})(\*?)$", re.S)

Params = list[tuple[bytes, bytes]]


class ContentType(NamedTuple):
    """type and subtype as they were written; b"" for an unreadable one."""

    type: bytes
    subtype: bytes
    params: Params

    def param(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.params if key.lower() == name), None)


class _Open(Exception):
    """A comment is not closed: there is no more to read."""


def _skip(text: bytes, at: int) -> int:
    """Where something begins behind white space and comments, which may be nested. Raises _Open."""
    while True:
        match = _SPACE.match(text, at)
        assert match is not None
        at = match.end()
        if text[at: at + 1] != b"(":
            return at
        at = _comment_end(text, at)


def _comment_end(text: bytes, at: int) -> int:
    depth = 0
    for match in _COMMENT_STEP.finditer(text, at):
        depth += 1 if match[0] == b"(" else -1 if match[0] == b")" else 0
        if depth == 0:
            return match.end()
    raise _Open


def parse_content_type(value: bytes, *, bare: bool = False) -> ContentType:
    """bare: a type without subtype may have parameters, as Postfix reads it."""
    nothing = ContentType(b"", b"", [])
    try:
        first = _TYPE.match(value, _skip(value, 0))
    except _Open:
        return nothing
    if first is None:
        return nothing
    try:
        at = _skip(value, first.end())
    except _Open:
        at = len(value)
    if at == len(value):
        return ContentType(first[1], b"", [])
    try:
        second = _TYPE.match(value, _skip(value, at + 1)) if value[at: at + 1] == b"/" else None
        at = _skip(value, second.end()) if second else at
    except _Open:
        return nothing
    if second is None and not bare or at < len(value) and value[at: at + 1] != b";":
        return nothing
    return ContentType(first[1], second[1] if second else b"", parse_params(value, at))


def parse_encoding(value: bytes) -> bytes | None:
    """The token of a Content-Transfer-Encoding; None for what is none."""
    match = _ENCODING.match(value)
    return match[1] if match else None


def parse_languages(value: bytes) -> list[bytes]:
    """The tags of a Content-Language, up to the first that can't be read."""
    tags: list[bytes] = []
    with suppress(_Open):
        at = _skip(value, 0)
        while match := _TAG.match(value, at):
            tags.append(match[1])
            at = _skip(value, match.end())
            if value[at: at + 1] != b",":
                break
            at = _skip(value, at + 1)
    return tags


def parse_disposition(value: bytes) -> tuple[bytes | None, Params]:
    """None: a comment is not closed. The disposition may be empty."""
    try:
        at = _skip(value, 0)
        match = _TYPE.match(value, at)
        return match[1] if match else b"", parse_params(value, _skip(value, match.end() if match else at))
    except _Open:
        return None, []


def parse_params(value: bytes, at: int) -> Params:
    """From the first ";" on, up to a comment that is not closed."""
    params: Params = []
    with suppress(_Open):
        _add_params(params, value, at)
    return params


def _add_params(params: Params, value: bytes, at: int) -> None:
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


def _one_param(value: bytes, at: int) -> tuple[tuple[bytes, bytes] | None, int]:
    match = _TYPE.match(value, at)
    name = match[1] if match else b""
    at = _skip(value, match.end() if match else at)
    if value[at: at + 1] != b"=":
        return None, at
    at = _skip(value, at + 1)
    if value[at: at + 1] == b'"':
        quoted = _QUOTED.match(value, at)
        if quoted is None:
            return None, len(value)
        return (name, _ESCAPE.sub(rb"\1", quoted[1])), _skip(value, quoted.end())
    plain = _VALUE.match(value, at)
    assert plain is not None
    return (name, plain[1]), _skip(value, plain.end())


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
