"""What LIST and UIDL say of all messages, when it is remembered and when not."""

from array import array
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mailsuite.pop3 import listings
from mailsuite.pop3.commands import Context, run, waits
from mailsuite.pop3.listings import known_already, known_of, numbered
from mailsuite.pop3.maildrop import Maildrop
from mailsuite.pop3.params import Params
from mailsuite.pop3.session import Command
from mailsuite.store.api import MailStore
from tests.store.support import append, store_at
from tests.store.support import numbered as messages


class Sizes:
    """A mailbox that tells sizes, and notes who asks."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def sizes(self, uids: Sequence[int]) -> list[int | None]:
        self.asked.append(list(uids))
        return [None if uid == 13 else 10 * uid for uid in uids]


@pytest.mark.parametrize(("before", "after", "asked"), [
    ([1, 2], [1, 2], []), ([1, 2], [1, 2, 5], [[5]]), ([], [4], [[4]]), ([1, 2, 3], [1, 3], [[]]),
    ([1, 2, 3], [2, 3, 7, 13], [[7, 13]])])
def test_only_sizes_not_known_are_asked_for(before: list[int], after: list[int], asked: list[list[int]]) -> None:
    mailbox = Sizes()
    known_of(mailbox, array("I", before))  # type: ignore[arg-type]
    mailbox.asked.clear()
    known = known_of(mailbox, array("I", after))  # type: ignore[arg-type]
    assert mailbox.asked == asked
    assert known.sizes.tolist() == [0 if uid == 13 else 10 * uid for uid in after] and known.total == sum(known.sizes)
    assert known_already(mailbox, array("I", after)) is known  # type: ignore[arg-type]
    assert known_already(mailbox, array("I", [*after, 99])) is None  # type: ignore[arg-type]


def test_a_listing_of_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "BLOCK", 3)
    lines = numbered(b"%d %d\r\n", [range(1, 9), array("Q", range(100, 108))])
    assert lines == b"".join(b"%d %d\r\n" % (number, number + 99) for number in range(1, 9))
    assert numbered(b"%d %d\r\n", [range(0), array("Q")]) == b""


def test_a_long_listing_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listings, "KEPT_OCTETS", 5)
    known = known_of(Sizes(), array("I", [1]))  # type: ignore[arg-type]
    assert known.keep("a", b"123456") == b"123456" and known.keep("b", b"12345") == b"12345"
    assert list(known.replies) == ["b"]


@pytest.fixture
def store(tmp_path: Path) -> MailStore:
    store = store_at(tmp_path, "maildir")
    append(store.open("INBOX"), *messages(3))
    return store


def said(context: Context, name: str, arguments: str = "") -> list[bytes]:
    steps, out = run(context, Command(name, arguments)), b""
    while True:
        try:
            out += next(steps)
        except StopIteration as end:
            return (out + end.value.octets).splitlines()


def session(store: MailStore, params: Params | None = None) -> Context:
    params = params or Params()
    return Context(Maildrop(store, params), params)


def test_sessions_share_what_was_found_out(store: MailStore) -> None:
    first = session(store)
    assert waits(first, Command("LIST", "")) and waits(first, Command("STAT", ""))
    listed, uidls = said(first, "LIST"), said(first, "UIDL")
    assert listed == [b"+OK 3 messages:", b"1 22", b"2 22", b"3 22", b"."]
    assert uidls[0] == b"+OK" and [line[:10] for line in uidls[1:-1]] == [b"1 00000001", b"2 00000002", b"3 00000003"]
    second = session(store)
    assert not waits(second, Command("LIST", "")) and not waits(second, Command("STAT", ""))
    assert (said(second, "LIST"), said(second, "UIDL")) == (listed, uidls)
    said(second, "DELE", "2")
    assert waits(second, Command("LIST", "")) and said(second, "LIST") == [b"+OK 2 messages:", b"1 22", b"3 22", b"."]
    assert said(second, "UIDL") == [uidls[0], uidls[1], uidls[3], b"."] and said(second, "STAT") == [b"+OK 2 44"]
    said(second, "RSET")
    assert said(second, "LIST") == listed
    append(store.open("INBOX"), b"Subject: a longer one\n\n-\n")
    assert said(first, "LIST") == listed                # it stays what it was at the login
    third = session(store)
    assert waits(third, Command("LIST", "")) and said(third, "LIST")[-2] == b"4 28" and len(said(third, "UIDL")) == 6
    assert said(first, "UIDL") == uidls
    for each in (first, second, third):
        each.maildrop.close()


@pytest.mark.parametrize("text", ["%u.%v", "%08Xu%08Xv", "%v-%u", "a%%%u", "fixed", "é%u"])
def test_a_listing_of_numbers_is_what_uidl_says_of_each(store: MailStore, text: str) -> None:
    params = replace(Params(), uidl_format=text)
    context = session(store, params)
    for _ in range(2):
        uidls = said(context, "UIDL")
        assert uidls[1:-1] == [said(context, "UIDL", str(number))[0].removeprefix(b"+OK ") for number in (1, 2, 3)]
        said(context, "LIST")
    context.maildrop.close()


def test_names_that_were_saved_count(store: MailStore) -> None:
    store.open("INBOX").save_uidls({2: "old-name"})
    context = session(store)
    said(context, "LIST")
    assert said(context, "UIDL")[2] == b"2 old-name" and said(context, "UIDL")[1].startswith(b"1 0000")
    context.maildrop.close()
