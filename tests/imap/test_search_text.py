"""Searching for texts: with full text, without, and by reading everything, the answer is the same."""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.base.errors import MailError
from mailsuite.fulltext.params import FullTextOptions
from mailsuite.imap.facts import facts_of
from mailsuite.imap.search import Search
from mailsuite.imap.search_keys import And, Header, Key, Not, Numbers, Or, Text
from mailsuite.imap.search_text import Remembered, Stopped
from mailsuite.imap.search_words import looked_at
from mailsuite.imap.sieve import Sieve
from mailsuite.imap.text import fold, texts_of
from mailsuite.imap.view import Selected
from mailsuite.message.message import Message
from mailsuite.store.api import Mailbox
from tests.imap.awkward_mail import PHRASES, message
from tests.store.support import append, store_at

COUNT = 200
OFF = FullTextOptions(enabled=False)


@cache
def texts(seed: int, *, headers: bool) -> tuple[str, ...]:
    return tuple(texts_of(Message.from_stored(message(seed)), headers=headers))


@cache
def octets(seed: int) -> bytes:
    return message(seed)


@st.composite
def needles(draw: st.DrawFn) -> str:
    """Stretches of what is there, phrases, and what is like them."""
    if draw(st.booleans()):
        inside = draw(st.sampled_from(texts(draw(st.integers(0, COUNT - 1)), headers=True)))
        if inside:
            start = draw(st.integers(0, len(inside) - 1))
            return inside[start:start + draw(st.integers(1, 12))]
    phrase = draw(st.sampled_from(PHRASES))
    start = draw(st.integers(0, len(phrase) - 1))
    return phrase[start:start + draw(st.integers(1, 15))]


@given(st.integers(0, 5000), st.sampled_from(PHRASES), st.integers(0, 10), st.integers(1, 10))
@settings(max_examples=400)
def test_the_sieve_loses_nothing(seed: int, phrase: str, start: int, length: int) -> None:
    stored = message(seed)
    texts = list(texts_of(Message.from_stored(stored), headers=True))
    for needle in {fold(phrase[start:start + length]), *(text[start * 7:start * 7 + length] for text in texts)} - {""}:
        if any(needle in text for text in texts):
            assert Sieve(needle).passes(stored) and Sieve(needle).passes(stored.replace(b"\r\n", b"\n"))


class Ways:
    """The same messages in mailboxes with and without full text."""

    def __init__(self, home: Path) -> None:
        self.stores = [store_at(home / kind, kind, fulltext=options) for kind, options in
                       (("maildir", OFF), ("fs", FullTextOptions()), ("mbox", FullTextOptions()))]
        self.opened = []
        for store in self.stores:
            mailbox = store.open("INBOX")
            append(mailbox, *(octets(seed) or b"\r\n" for seed in range(COUNT)))
            view = mailbox.open_view(read_only=True)
            self.opened.append(Selected(mailbox, view, name="INBOX"))
        # What is stored is not always what was appended (an mbox closes the last line): read what is there.
        self.texts = [{(uid, headers): list(texts_of(selected.mailbox.message(uid), headers=headers))
                       for uid in selected.view.uids for headers in (True, False)} for selected in self.opened]

    def read(self, number: int, text: str, headers: bool) -> list[int]:
        """By reading everything."""
        return [uid for uid in self.opened[number].view.uids
                if any(text in each for each in self.texts[number][uid, headers])]

    def find(self, key: Key) -> list[list[int]]:
        for selected in self.opened:
            facts_of(selected.mailbox).note("texts", Remembered).clear()
        return [Search(selected, 0).find(key) for selected in self.opened]


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ways]:
    home = tmp_path_factory.mktemp("ways")
    for kind in ("maildir", "fs", "mbox"):
        (home / kind).mkdir()
    ways = Ways(home)
    for selected in ways.opened[1:]:
        for _ in looked_at(selected.mailbox):
            pass
        text = selected.mailbox.fulltext
        assert text is not None and len(text.known) == COUNT
    yield ways
    for selected in ways.opened:
        selected.close()
    for store in ways.stores:
        store.close()


@given(needles(), st.booleans())
@settings(max_examples=int(os.environ.get("SEARCHES", "60")), deadline=None)
def test_all_ways_find_the_same(ways: Ways, needle: str, headers: bool) -> None:
    folded = fold(needle)
    without, maildir, mbox = ways.find(Text(needle, headers))
    assert without == maildir == ways.read(0, folded, headers)
    assert mbox == ways.read(2, folded, headers)


@pytest.mark.parametrize("key", [
    Or(Text("needle", True), Text("caf", False)), Not(Text("needle", True)),
    And((Text("needle", True), Not(Text("\u0440", False)))), And((Header(b"SUBJECT", "e"), Text("e", True))),
    And((Numbers(((3, 50),), uid=True), Text("a", True))), Or(Not(Text("a b", False)), Header(b"FROM", "j\u00fcrgen")),
    Text(" ", True), Text("needle in hay", True), Text("", True),
], ids=repr)
def test_combined_with_other_keys(ways: Ways, key: Key) -> None:
    without, maildir, _ = ways.find(key)
    assert without == maildir


def test_what_was_found_is_remembered_only_of_what_was_asked(ways: Ways) -> None:
    selected = ways.opened[0]
    key = Text("needle", True)
    some = Search(selected, 0).find(And((Numbers(((1, 40),), uid=True), key)))
    assert some == [uid for uid in Search(selected, 0).find(key) if uid <= 40]


@pytest.fixture(params=["maildir", "mbox"])
def mailbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mailbox]:
    store = store_at(tmp_path, request.param, fulltext=FullTextOptions(least_messages=10))
    yield store.open("INBOX")
    store.close()


def mail(*words: str) -> list[bytes]:
    return [f"Subject: {word}\r\n\r\nbody of {word}\r\n".encode() for word in words]


def search(mailbox: Mailbox, needle: str) -> list[int]:
    selected = Selected(mailbox, mailbox.open_view(read_only=True), name="INBOX")
    try:
        return Search(selected, 0).find(Text(needle, headers=True))
    finally:
        selected.close()


def test_new_messages_are_found_before_they_are_looked_at(mailbox: Mailbox) -> None:
    append(mailbox, *mail("apple", "pear"))
    assert search(mailbox, "pear") == [2]
    for _ in looked_at(mailbox):
        pass
    append(mailbox, *mail("pear"))
    assert search(mailbox, "pear") == [2, 3] and search(mailbox, "pea") == [2, 3]


def test_expunged_messages_are_not_found_and_leave(mailbox: Mailbox) -> None:
    append(mailbox, *mail("apple", "pear", "plum"))
    for _ in looked_at(mailbox):
        pass
    mailbox.remove([2, 3])
    assert search(mailbox, "body") == [1]
    for _ in looked_at(mailbox):
        pass
    assert mailbox.fulltext is not None and mailbox.fulltext.known == {1}


def test_forgetting_what_was_read_out_of_messages(mailbox: Mailbox) -> None:
    append(mailbox, *mail("apple", "pear"))
    for _ in looked_at(mailbox):
        pass
    assert search(mailbox, "apple") == [1]
    mailbox.forget_cached([1])
    text = mailbox.fulltext
    assert text is not None and text.known == {2} and search(mailbox, "apple") == [1]
    mailbox.resync()
    assert text.known == set()


def test_it_is_wanted_after_a_search_in_a_mailbox_that_is_not_tiny(tmp_path: Path) -> None:
    wanted: list[str] = []
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions(least_messages=100))
    store.text_wanted = wanted.append
    inbox = store.open("INBOX")
    append(inbox, *mail(*(f"n{number}" for number in range(60))))
    assert search(inbox, "n7") == [8] and wanted == []
    append(inbox, *mail(*(f"n{number}" for number in range(60))))
    assert search(inbox, "of n7") == [8, 68] and wanted == ["INBOX"]
    for _ in looked_at(inbox):
        pass
    assert search(inbox, "of n8") == [9, 69] and wanted == ["INBOX"]
    store.close()


def test_wanted_at_once_with_fts_autoindex(tmp_path: Path) -> None:
    wanted: list[str] = []
    options = FullTextOptions.of({"fts_autoindex": "yes", "fts_autoindex_exclude": "Trash*"})
    store = store_at(tmp_path, "maildir", fulltext=options)
    store.text_wanted = wanted.append
    store.create("Trash")
    for name in ("INBOX", "Trash"):
        store.open(name).open_view(read_only=True).close()
    assert wanted == ["INBOX"]
    view = store.open("INBOX").open_view(read_only=True)
    append(store.open("INBOX"), *mail("new"))
    view.sync(expunges=True)
    assert wanted == ["INBOX"] * 3 and store.fulltext is not None
    store.close()


def test_enforced_means_first_all_is_looked_at(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions.of({"fts_enforced": "yes"}))
    inbox = store.open("INBOX")
    append(inbox, *mail("apple", "pear"))
    assert search(inbox, "pear") == [2]
    assert inbox.fulltext is not None and inbox.fulltext.known == {1, 2}
    store.close()


def test_large_texts_are_left_out_but_found(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions(message_size=2000))
    inbox = store.open("INBOX")
    attachment = (b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nsmall text\r\n"
                  b"--x\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
                  + b"QUJDREVG\r\n" * 1000 + b"--x--\r\n")
    append(inbox, b"Subject: large\r\n\r\n" + b"many words here\r\n" * 500, attachment)
    for _ in looked_at(inbox):
        pass
    text = inbox.fulltext
    assert text is not None and text.left_out == {1} and text.known == {1, 2}
    assert search(inbox, "many") == [1] and search(inbox, "small") == [2]
    store.close()


def test_a_full_file_takes_no_more(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions(index_size=1))
    inbox = store.open("INBOX")
    append(inbox, *mail("apple", "pear"))
    for _ in looked_at(inbox):
        pass
    assert inbox.fulltext is not None and inbox.fulltext.known == set() and search(inbox, "pear") == [2]
    store.close()


def test_a_full_file_is_tidied_all_the_same(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir")
    append(store.open("INBOX"), *mail("apple", "pear", "plum"))
    for _ in looked_at(store.open("INBOX")):
        pass
    store.close()
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions(index_size=1))
    inbox = store.open("INBOX")
    inbox.remove([1, 2])
    for _ in looked_at(inbox):
        pass
    assert inbox.fulltext is not None and inbox.fulltext.known == {3}
    store.close()


def test_switched_off(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir", fulltext=FullTextOptions.of({"fts": "no"}))
    inbox = store.open("INBOX")
    append(inbox, *mail("apple"))
    assert inbox.fulltext is None and search(inbox, "apple") == [1] and list(looked_at(inbox)) == []
    assert not list(tmp_path.rglob("*fulltext*"))
    store.close()


def test_a_client_that_left_is_not_searched_for(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir", fulltext=OFF)
    inbox = store.open("INBOX")
    append(inbox, *mail(*(f"n{number}" for number in range(200))))
    selected = Selected(inbox, inbox.open_view(read_only=True), name="INBOX")
    asked: list[int] = []

    def gone() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Stopped):
        Search(selected, 0, gone).find(Text("never", headers=True))
    assert len(asked) == 2
    selected.close()
    store.close()


def test_work_that_is_cut_short_is_kept(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir")
    inbox = store.open("INBOX")
    append(inbox, *mail(*(f"n{number}" for number in range(50))))
    steps = looked_at(inbox)
    for _ in range(20):
        next(steps)
    steps.close()
    text = inbox.fulltext
    assert text is not None and text.known == set(range(1, 21))
    store.close()


def test_noise_is_looked_at(tmp_path: Path) -> None:
    store = store_at(tmp_path, "maildir")
    inbox = store.open("INBOX")
    append(inbox, *(Random(seed).randbytes(3000) for seed in range(20)))
    for _ in looked_at(inbox):
        pass
    assert inbox.fulltext is not None and len(inbox.fulltext.known) == 20
    store.close()


@pytest.mark.parametrize("renamed", [True, False])
def test_a_mailbox_that_goes_while_it_is_looked_at_leaves_nothing(tmp_path: Path, renamed: bool) -> None:
    store = store_at(tmp_path, "maildir")
    store.create("A")
    append(store.open("A"), *mail(*(f"n{number}" for number in range(50))))
    steps = looked_at(store.open("A"))
    for _ in range(20):
        next(steps)
    if renamed:
        store.rename("A", "B")
    else:
        store.delete("A")
    with suppress(MailError):
        for _ in steps:
            pass
    steps.close()
    assert store.fulltext is not None and store.fulltext.names() == []
    store.close()


@pytest.mark.parametrize("renamed", [True, False])
def test_mailboxes_that_are_renamed_or_deleted(tmp_path: Path, renamed: bool) -> None:
    store = store_at(tmp_path, "maildir")
    store.create("A")
    append(store.open("A"), *mail("apple"))
    for _ in looked_at(store.open("A")):
        pass
    if renamed:
        store.rename("A", "B")
        text = store.open("B").fulltext
        assert text is not None and text.known == {1} and search(store.open("B"), "apple") == [1]
    else:
        store.delete("A")
        store.create("A")
        text = store.open("A").fulltext
        assert text is not None and text.known == set()
    assert store.fulltext is not None and store.fulltext.names() == (["B"] if renamed else [])
    store.close()


LETTERS = ("Subject: x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
           "café naïve ＡＢＣ ﬁne straße ㎏ İstanbul foo\r\nbar two  blanks\r\n").encode()


@pytest.mark.parametrize("looked", [False, True], ids=["read", "full text"])
def test_letters_as_dovecot_finds_them(mailbox: Mailbox, looked: bool) -> None:
    """Recorded from Dovecot 2.3.19 without fts."""
    append(mailbox, LETTERS)
    for _ in looked_at(mailbox) if looked else ():
        pass
    there = ("cafe", "café", "CAFÉ", "ABC", "ﬁne", "straße", "㎏", "İstanbul", "two  blanks", " ")
    missing = ("naive", "fine", "strasse", "STRASSE", "kg", "istanbul", "foo bar", "two blanks")
    assert [needle for needle in (*there, *missing) if search(mailbox, needle)] == list(there)


def test_text_that_is_not_the_ascii_it_says(mailbox: Mailbox) -> None:
    append(mailbox, "Subject: x\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\nraw é octets\r\n".encode())
    assert search(mailbox, "raw é") and search(mailbox, "É OCT")
