"""Pairing, planning, names, states: tables and properties over facts, without any mail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsuite.base.errors import PermanentError
from mailsuite.sync.identity import digest
from mailsuite.sync.model import Facts, Flags, FlagSets, Folder, Mark
from mailsuite.sync.names import chosen, keyed, map_special
from mailsuite.sync.options import Mode, Options
from mailsuite.sync.pairing import pair
from mailsuite.sync.plan import Keeps, make_plan, merged
from mailsuite.sync.state import FolderState, State

ALL = Keeps(lambda flag: True, lambda flag: True)


@pytest.mark.parametrize(("one", "other", "same"), [
    pytest.param(b"Message-ID: <1@x>\r\nDate: a\r\n", b"message-id:  <1@x>\nDate: a\nSubject: s\n", True, id="case"),
    pytest.param(b"Message-ID: <1@x>\r\n", b"Message-ID:\r\n <1@x>\r\n", True, id="folded"),
    pytest.param(b"Message-ID: <1@x>\r\n", b"Message-ID: <2@x>\r\n", False, id="another id"),
    pytest.param(b"Subject: a\r\nDate: x\r\n", b"Subject: b\r\nDate: x\r\n", False, id="no id: the subject counts"),
    pytest.param(b"Message-ID: <1@x>\nSubject: a\n", b"Message-ID: <1@x>\nSubject: b\n", True, id="id: it does not"),
    pytest.param(b"X: y\r\n\r\nDate: x\r\n", b"X: y\r\n\r\n", True, id="the body is not looked at"),
])
def test_identity(one: bytes, other: bytes, same: bool) -> None:
    assert (digest(one) == digest(other)) is same


def facts(*messages: tuple[int, bytes, frozenset[str]]) -> Facts:
    found = Facts()
    for uid, _, flags in messages:
        found.add(uid, 0, 10, flags)
    return found


MESSAGES = st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.frozensets(st.sampled_from(["a", "b"]))),
                    max_size=12).map(lambda found: [(uid, *rest) for uid, rest in enumerate(found, 1)])


@given(MESSAGES, MESSAGES)
def test_pairs_are_a_matching_as_large_as_can_be(left: list[tuple[int, bytes, Flags]],
                                                 right: list[tuple[int, bytes, Flags]]) -> None:
    names = [{uid: name for uid, name, _ in side} for side in (left, right)]
    found = pair(facts(*left), facts(*right), known=[], same_uids=False,
                 left_identities=lambda uids: iter([(uid, names[0][uid]) for uid in uids]),
                 right_identities=lambda uids: iter([(uid, names[1][uid]) for uid in uids]))
    assert len(set(found.values())) == len(found)
    assert all(left[here][1] == right[there][1] for here, there in found.items())
    for name in {name for _, name, _ in left}:
        have = [sum(1 for _, other, _ in side if other == name) for side in (left, right)]
        assert sum(1 for here in found if left[here][1] == name) == min(have)


@given(MESSAGES, MESSAGES, st.sampled_from(list(Mode)), st.booleans())
def test_one_way_never_touches_the_source(left: list[tuple[int, bytes, Flags]], right: list[tuple[int, bytes, Flags]],
                                          mode: Mode, reverse: bool) -> None:
    plan = make_plan(facts(*left), facts(*right), {}, {}, Options(mode=mode, reverse=reverse), ALL)
    if mode is not Mode.BOTH:
        untouched = (plan.to_right, plan.remove_right, plan.flags_right) if reverse else \
            (plan.to_left, plan.remove_left, plan.flags_left)
        assert not any(untouched)
    assert mode is Mode.MIRROR or not (plan.remove_left or plan.remove_right)


@pytest.mark.parametrize(("one", "other", "before", "want"), [
    ("", "a", None, "a"), ("a", "b", None, "ab"), ("a", "", "a", ""), ("a", "ab", "a", "ab"), ("b", "a", "a", "b"),
    ("", "", "a", ""), ("ab", "ab", "", "ab"),
])
def test_flags(one: str, other: str, before: str | None, want: str) -> None:
    assert merged(frozenset(one), frozenset(other), None if before is None else frozenset(before), ALL) == set(want)


def test_a_side_that_cannot_keep_a_keyword_does_not_take_it_away() -> None:
    keeps = Keeps(lambda flag: True, lambda flag: flag != "a")
    assert merged(frozenset("a"), frozenset(), frozenset("a"), keeps) == {"a"}


def test_flag_sets_have_one_spelling() -> None:
    sets = FlagSets()
    first = sets.of(["\\SEEN", "\\Recent", "Work", "\\Odd"])
    assert first == {"\\Seen", "Work"} and sets.of(["work", "\\Seen"]) is first


def folders(*names: str, special: dict[str, str] | None = None) -> list[Folder]:
    return [Folder(name, tuple(name.split("/")), special=((special or {}).get(name),) if special and name in special
                   else ()) for name in names]                                         # type: ignore[arg-type]


def test_keys_are_the_same_for_both_and_never_fall_together() -> None:
    left, right = keyed(folders("inbox", "a.b", "a_b", "x/y"), folders("INBOX", "a_b"), unusable=frozenset("./"),
                        alternative="_")
    assert left[("INBOX",)].name == "inbox" and left[("a_b",)].name == "a_b" and right[("a_b",)].name == "a_b"
    assert len(left) == 4 and [folder.name for folder in left.values()].count("a.b") == 1


def test_folders_of_one_use() -> None:
    left, right = keyed(folders("Sent Items", "x", special={"Sent Items": "\\Sent"}),
                        folders("Sent", special={"Sent": "\\Sent"}), unusable=frozenset("/"), alternative="_")
    assert {key: folder.name for key, folder in map_special(left, right).items()} == {
        ("Sent",): "Sent Items", ("x",): "x"}


@pytest.mark.parametrize(("mailboxes", "exclude", "want"), [
    ((), (), True), (("Work*",), (), True), (("Work",), (), False), ((), ("*2024",), False), ((), ("\\Sent",), False),
    (("\\sent",), (), True), (("INBOX",), (), False),
])
def test_masks(mailboxes: tuple[str, ...], exclude: tuple[str, ...], want: bool) -> None:
    one = Folder("Work/2024", ("Work", "2024"), special=("\\Sent",))
    assert chosen(one.parts, (one, None), Options(mailboxes=mailboxes, exclude=exclude), "/") is want


MARKS = st.builds(Mark, *[st.integers(0, 2**40)] * 4)
PAIRS = st.dictionaries(st.integers(1, 200), st.integers(1, 200), max_size=30)


@given(st.dictionaries(st.lists(st.text(min_size=1), min_size=1, max_size=3).map(tuple),
                       st.tuples(MARKS, MARKS, PAIRS, st.frozensets(st.text(min_size=1)))))
def test_states_come_back(content: dict[tuple[str, ...], tuple[Mark, Mark, dict[int, int], Flags]]) -> None:
    state = State({key: FolderState(left, right, sorted(pairs.items()), [flags] * len(pairs))
                   for key, (left, right, pairs, flags) in content.items()})
    assert State.decode(state.encode()) == state


def test_a_large_state_is_small() -> None:
    whole = FolderState(Mark(1, 2, 3, 4), Mark(1, 2, 3, 4), [(n, n + 7) for n in range(1, 100_001)],
                        [frozenset({"\\Seen"})] * 100_000)
    text = State({("INBOX",): whole}).encode()
    assert len(text) < 300 and State.decode(text).folders[("INBOX",)] == whole


@pytest.mark.parametrize("text", ["xx", "eJw=", "eJyrVipTsjLUUUrLz0lJLSpWsqoOjlby", "%%%"])
def test_no_state(text: str) -> None:
    with pytest.raises(PermanentError, match="Invalid sync state"):
        State.decode(text)
