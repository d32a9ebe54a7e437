"""What is hashed of a message: canonical headers and bodies. Source: RFC 6376 section 3.4.

    relaxed_header(b"SUBJect", b" a \\n\\tb ") -> b"subject:a b\\r\\n"
    hashes = body_hashes(message.body, {BodyForm(relaxed=True), BodyForm(relaxed=False, length=100)})
    hashes[form] -> BodyHash(digest, whole)         whole: octets of the canonical body, hashed or not

Content comes with LF line ends, as the queue has it; what is hashed has CRLF, as the wire has it. Bodies pass in
blocks, with methods of bytes only: linear time, no copy of the whole.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Set
from typing import NamedTuple, Protocol

_EMPTY_LINES = b"\r\n" * 4096


class HeaderField(Protocol):
    """A field as queue/inspection.py has it: value is all that follows the colon, folds are LF."""

    @property
    def name(self) -> bytes: ...
    @property
    def value(self) -> bytes: ...


class BodyForm(NamedTuple):
    """length: only so many octets count (l=); -1 for all."""

    relaxed: bool
    length: int = -1


class BodyHash(NamedTuple):
    """SHA-256 of the canonical body, cut at the form's length, and the length of all of it."""

    digest: bytes
    whole: int


def relaxed_header(name: bytes, value: bytes) -> bytes:
    """RFC 6376 section 3.4.2, with the line end."""
    return name.lower().rstrip(b" \t") + b":" + _single_blanks(value.replace(b"\n", b"")).strip(b" ") + b"\r\n"


def simple_header(name: bytes, value: bytes) -> bytes:
    """RFC 6376 section 3.4.1: as it is, with the line end."""
    return name + b":" + value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"


def canonical_header(field: HeaderField, *, relaxed: bool) -> bytes:
    """One field."""
    return relaxed_header(field.name, field.value) if relaxed else simple_header(field.name, field.value)


def _single_blanks(text: bytes) -> bytes:
    """Runs of blanks and tabs become one blank. Each round halves the longest run, so the cost is linear but for a
    logarithm of that run."""
    text = text.translate(_TABS)
    while b"  " in text:
        text = text.replace(b"    ", b" ").replace(b"  ", b" ")
    return text


_TABS = bytes.maketrans(b"\t", b" ")


def _relaxed_lines(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Blanks reduced, none before a line end; still LF."""
    blank = b""
    for block in blocks:
        block = _single_blanks(blank + block)
        blank = b" " if block.endswith(b" ") else b""
        yield (block[:-1] if blank else block).replace(b" \n", b"\n")


def canonical_body(blocks: Iterable[bytes], *, relaxed: bool) -> Iterator[bytes]:
    """Blocks of LF lines to blocks of the canonical body: CRLF, no empty lines at the end (sections 3.4.3, 3.4.4)."""
    waiting = 0             # line ends that count only if something follows them
    empty = True
    for block in _relaxed_lines(blocks) if relaxed else blocks:
        content = block.rstrip(b"\n")
        if content:
            yield from _line_ends(waiting)
            yield content.replace(b"\n", b"\r\n")
            empty, waiting = False, 0
        waiting += len(block) - len(content)
    if not (relaxed and empty):
        yield b"\r\n"


def _line_ends(count: int) -> Iterator[bytes]:
    while count > 4096:
        yield _EMPTY_LINES
        count -= 4096
    yield _EMPTY_LINES[:2 * count]


def body_hashes(body: Callable[[], Iterable[bytes]], forms: Set[BodyForm]) -> dict[BodyForm, BodyHash]:
    """Hash a body in several forms; it is read once for each canonicalization in use."""
    found: dict[BodyForm, BodyHash] = {}
    for relaxed in sorted({form.relaxed for form in forms}):
        found |= _hash_kind(body(), relaxed, [form for form in forms if form.relaxed is relaxed])
    return found


def _hash_kind(blocks: Iterable[bytes], relaxed: bool, forms: list[BodyForm]) -> dict[BodyForm, BodyHash]:
    running = [(form, hashlib.sha256()) for form in forms]
    whole = 0
    for block in canonical_body(blocks, relaxed=relaxed):
        for form, state in running:
            if form.length < 0 or whole + len(block) <= form.length:
                state.update(block)
            elif whole < form.length:
                state.update(block[:form.length - whole])
        whole += len(block)
    return {form: BodyHash(state.digest(), whole) for form, state in running}
