"""The format of segments: what is put in is found, and only that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.fulltext.segment import Section, build, encoded

WORDS = st.one_of(st.text("ABÄß\u0301\ud800", min_size=1, max_size=4),
                  st.text(st.characters(blacklist_characters="\n"), min_size=1, max_size=6))
MESSAGES = st.lists(st.frozensets(WORDS, max_size=12), max_size=40)


@given(MESSAGES, WORDS)
def test_finds_each_word_that_holds_the_needle(messages: list[frozenset[str]], needle: str) -> None:
    section = Section(build(messages))
    assert section.words() == messages
    assert section.find(encoded(needle)) == {
        number for number, words in enumerate(messages) if any(needle in word for word in words)}


def test_a_word_of_many_messages_and_of_few() -> None:
    messages = [{"EVERY", "FEW"} if number in (7, 801) else {"EVERY"} for number in range(1000)]
    section = Section(build(messages))
    assert section.find(b"VER") == set(range(1000))
    assert section.find(b"FEW") == {7, 801}
    assert section.find(b"Y") == set(range(1000)) and section.find(b"EVERYF") == set()


def test_needles_do_not_cross_words_or_messages() -> None:
    section = Section(build([{"AB", "CD"}, {"EF"}, {"AB", "EF"}]))
    for needle in (b"ABCD", b"BC", b"DE", b"BE", b"FA"):
        assert section.find(needle) == set()


def test_nothing_in_it() -> None:
    assert Section(build([])).words() == [] and Section(build([set(), set()])).find(b"A") == set()


@pytest.mark.parametrize("cut", [0, 3, 19, 25, -1])
def test_what_is_cut_off_is_refused(cut: int) -> None:
    octets = build([{"ONE", "TWO"}, {"TWO"}])
    with pytest.raises(ValueError):
        Section(octets[:cut])
