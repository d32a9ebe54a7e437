"""Look-up keys from a message on standard input, as postmap's -h, -b and -m take them.

    list(message_keys(text, header=True, body=False, mime=True))

header: each logical header field (with the newlines inside). body: each line after the header, the empty one between
included. mime: the headers of
parts and of attached messages count as headers too; without it everything after the first header is body.
"""

import re
from collections.abc import Iterator

_FIELD = re.compile(r"[!-9;-~]+[ \t]*:")
_TYPE = re.compile(r"content-type[ \t]*:\s*([a-z0-9.+-]+)/([a-z0-9.+-]+)", re.IGNORECASE)
_BOUNDARY = re.compile(r"boundary\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;]+))", re.IGNORECASE)
NESTING_LIMIT = 100


def message_keys(text: str, *, header: bool, body: bool, mime: bool) -> Iterator[str]:
    """Keys in the message's order."""
    boundaries: list[str] = []
    in_header = True
    attached = False        # the part is a message: its text begins with another header
    field = ""
    for line in text.removesuffix("\n").split("\n"):
        if in_header:
            if field and line[:1] in (" ", "\t"):
                field += "\n" + line
                continue
            if field:
                attached = _look_into(field, boundaries) or attached
                if header:
                    yield field
            field = line if _FIELD.match(line) else ""
            if field:
                continue
            if body:
                yield ""        # the empty line that ends a header, there or not
            in_header, attached = mime and attached and not line, False
            if not line:
                continue
        if mime and line.startswith("--") and line[2:].rstrip() in boundaries:
            in_header = True
        if body:
            yield line
    if field and header:
        yield field


def _look_into(field: str, boundaries: list[str]) -> bool:
    """Remember a multipart's boundary; whether the field says that the content is a message."""
    kind = _TYPE.match(field)
    if kind is None:
        return False
    if kind[1].lower() == "multipart" and len(boundaries) < NESTING_LIMIT:
        found = _BOUNDARY.search(field)
        if found is not None:
            boundaries.append(found[1] or found[2] or "")
    return kind[1].lower() == "message" and kind[2].lower() in ("rfc822", "global")
