"""BODY and BODYSTRUCTURE of a tree of parts: RFC 3501 section 7.4.2.

    render_body(part, octets, extended=True) -> b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 12 1 ...)'

As Dovecot does: without a Content-Type a part is text/plain and nothing else is told of it; text without a charset
is us-ascii; a multipart without parts holds one empty text.
"""

from mailsuite.message.envelope import render_envelope
from mailsuite.message.mime import Part
from mailsuite.message.params import Params, join_continuations, parse_disposition, parse_encoding, parse_languages
from mailsuite.message.quote import nstring

_PLAIN = b'"text" "plain" ("charset" "us-ascii") NIL NIL "7bit"'
_EMPTY = b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0%b)'
_NO_EXTENSION = b" NIL NIL NIL NIL"


def render_body(part: Part, octets: bytes, *, extended: bool) -> bytes:
    if part.is_multipart:
        return _multipart(part, octets, extended)
    size = part.end - part.body_start
    lines = octets.count(b"\n", part.body_start, part.end)
    if not part.is_mime:
        return b"(%b %d %d%b)" % (_PLAIN, size, lines, _NO_EXTENSION if extended else b"")
    pieces = [_single_head(part), b"%d" % size]
    if part.is_message:
        child = part.children[0]
        pieces += [render_envelope(octets[child.header_start: child.body_start]),
                   render_body(child, octets, extended=extended), b"%d" % lines]
    elif part.content_type is None or part.content_type.type.lower() == b"text":
        pieces.append(b"%d" % lines)
    if extended:
        pieces.append(nstring(part.field(b"content-md5")) + _disposition(part))
    return b"(" + b" ".join(pieces) + b")"


def _multipart(part: Part, octets: bytes, extended: bool) -> bytes:
    assert part.content_type is not None
    children = b"".join([render_body(child, octets, extended=extended) for child in part.children])
    if not part.children:
        children = _EMPTY % (_NO_EXTENSION if extended else b"")
    text = children + b" " + nstring(part.content_type.subtype)
    if extended:
        text += b" " + _params(join_continuations(part.content_type.params)) + _disposition(part)
    return b"(" + text + b")"


def _single_head(part: Part) -> bytes:
    """type subtype params id description encoding."""
    kind = part.content_type
    params = join_continuations(kind.params) if kind else []
    names = b'"text" "plain"'
    if part.is_message:
        names = b'"message" "rfc822"'
    elif kind is not None:
        # A multipart that is none, for want of a subtype or nested too deep, says nothing of what it is.
        odd = kind.type.lower() == b"multipart"
        names = b'"application" "octet-stream"' if odd else nstring(kind.type) + b" " + nstring(kind.subtype)
    if not part.is_message and (kind is None or (kind.type.lower() == b"text" and kind.param(b"charset") is None)):
        params = [*params, (b"charset", b"us-ascii")]
    encoding = part.field(b"content-transfer-encoding")
    token = parse_encoding(encoding) if encoding else None
    return b"%b %b %b %b %b" % (
        names, _params(params), nstring(part.field(b"content-id")),
        nstring(part.field(b"content-description")), nstring(token or b"7bit"))


def _params(params: Params) -> bytes:
    if not params:
        return b"NIL"
    return b"(" + b" ".join([nstring(name) + b" " + nstring(value) for name, value in params]) + b")"


def _disposition(part: Part) -> bytes:
    """disposition language location, a blank in front of each."""
    disposition, language = part.field(b"content-disposition"), part.field(b"content-language")
    shown = b"NIL"
    if disposition is not None:
        name, params = parse_disposition(disposition)
        if name is not None:
            shown = b"(" + nstring(name) + b" " + _params(join_continuations(params)) + b")"
    tags = parse_languages(language) if language else []
    spoken = b"(" + b" ".join([nstring(tag) for tag in tags]) + b")" if tags else b"NIL"
    return b" %b %b %b" % (shown, spoken, nstring(part.field(b"content-location")))
