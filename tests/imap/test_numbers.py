"""imap/numbers.py: sequence sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.imap.numbers import STAR, format_list, format_set, parse_set, positions_of_numbers, positions_of_uids


@pytest.mark.parametrize(("text", "want"), [
    (b"1", [(1, 1)]),
    (b"2:4,7,9:*", [(2, 4), (7, 7), (9, STAR)]),
    (b"4,2:3", [(2, 4)]),
    (b"*:3", [(3, STAR)]),
    (b"*", [(STAR, STAR)]),
    (b"5:1", [(1, 5)]),
    (b"1,", [(1, 1)]),
    (b"1:4294967295", [(1, 2**32 - 1)]),
])
def test_parse(text: bytes, want: list[tuple[int, int]]) -> None:
    assert parse_set(text) == want


@pytest.mark.parametrize("text", [
    b"", b"0", b"1:0", b"x", b",", b"1,,", b",1", b"1:", b"1::2", b"4294967296", b"-1", b"1 2",
])
def test_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse_set(text)


@pytest.mark.parametrize(("text", "want"), [
    (b"1:3", [range(3)]),
    (b"*", [range(4, 5)]),
    (b"5:*", [range(4, 5)]),
    (b"*:2", [range(1, 5)]),
    (b"1,5", [range(1), range(4, 5)]),
    (b"6", None),
    (b"1:6", None),
])
def test_numbers_must_exist(text: bytes, want: list[range] | None) -> None:
    if want is None:
        with pytest.raises(ValueError):
            positions_of_numbers(parse_set(text), 5)
    else:
        assert positions_of_numbers(parse_set(text), 5) == want


def test_no_number_exists_in_an_empty_mailbox() -> None:
    with pytest.raises(ValueError):
        positions_of_numbers(parse_set(b"1:*"), 0)


@pytest.mark.parametrize(("text", "want"), [
    (b"1:*", [range(3)]),
    (b"10", [range(1)]),
    (b"11:19", []),
    (b"99:*", [range(2, 3)]),
    (b"99", []),
    (b"20,30:40", [range(1, 3)]),
])
def test_uids_need_not_exist(text: bytes, want: list[range]) -> None:
    assert positions_of_uids(parse_set(text), [10, 20, 30]) == want


@given(st.sets(st.integers(1, 300), min_size=1), st.lists(st.tuples(st.integers(1, 320), st.integers(1, 320)),
                                                           min_size=1, max_size=6))
def test_uid_positions_are_those_of_a_plain_search(uids: set[int], pairs: list[tuple[int, int]]) -> None:
    known = sorted(uids)
    text = ",".join(f"{low}:{high}" for low, high in pairs).encode()
    found = [known[at] for each in positions_of_uids(parse_set(text), known) for at in each]
    assert found == [uid for uid in known if any(min(pair) <= uid <= max(pair) for pair in pairs)]


@given(st.sets(st.integers(1, 500), min_size=1))
def test_format_is_the_reverse(numbers: set[int]) -> None:
    text = format_set(sorted(numbers))
    assert {each for low, high in parse_set(text) for each in range(low, high + 1)} == numbers


@given(st.integers(1, 5000), st.integers(0, 3000))
def test_a_stretch_is_listed_as_any_numbers(first: int, count: int) -> None:
    numbers = list(range(first, first + count))
    text = b"".join(b" %d" % number for number in numbers)
    assert format_list(numbers, ascending=True) == format_list(numbers, ascending=False) == text
    if count > 1:
        swapped = [numbers[1], numbers[0], *numbers[2:]]
        assert format_list(swapped, ascending=False).split() == [b"%d" % number for number in swapped]
        assert parse_set(format_set(numbers)) == [(first, first + count - 1)]
        assert format_set(swapped[:2]) == b"%d,%d" % (first + 1, first)
