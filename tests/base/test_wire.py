"""JSON between our processes: typed, and with texts that are no UTF-8."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from mailsuite.base import wire


class Letter(Struct, omit_defaults=True):
    to: str
    copies: int = 1


read_letter = wire.Reader(Letter)
# What a name may be made of: characters, and octets in the clothes of surrogateescape.
NAMES = st.text(st.one_of(st.characters(exclude_categories=("Cs",)), st.integers(0xDC80, 0xDCFF).map(chr)), max_size=8)


@given(NAMES, st.integers(0, 1 << 40))
def test_what_is_written_is_read(name: str, copies: int) -> None:
    letter = Letter(name, copies)
    line = wire.encode(letter)
    assert b"\n" not in line and read_letter(line) == letter
    assert wire.decode(line) == json.loads(line)


@pytest.mark.parametrize("value", [{"a\udcff": ["\ud83d\ude00"]}, [1, 2.5, None, True], "\U0001f600\udc80", {}])
def test_values_without_a_type(value: object) -> None:
    assert wire.decode(wire.encode(value)) == json.loads(wire.encode(value))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"to": 1}', b'{"copies": 1}', b'{"to": "a", "copies": "b"}',
                                  b'{"to": "\xff"}', b'{"to": "\\udc80", "copies": "b"}', b'{"to": "\\udc80"'])
def test_nonsense(line: bytes) -> None:
    with pytest.raises(ValueError):
        read_letter(line)


def test_what_has_no_json() -> None:
    with pytest.raises(TypeError):
        wire.encode({"what": object()})
