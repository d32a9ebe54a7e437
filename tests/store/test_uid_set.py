"""UidSet is a set."""

from hypothesis import given, settings
from hypothesis import strategies as st

from mailsuite.store.uid_set import UidSet

UIDS = st.lists(st.integers(1, 300), max_size=150)
STEPS = st.lists(st.tuples(st.sampled_from(["update", "difference_update", "behind"]), UIDS), max_size=8)


@settings(max_examples=50, deadline=None)
@given(STEPS, UIDS)
def test_it_holds_what_a_set_would_hold(steps: list[tuple[str, list[int]]], asked: list[int]) -> None:
    mine, known = UidSet(), set[int]()
    for what, uids in steps:
        if what == "behind":
            last = max(known, default=0)
            more = range(last + 1, last + 1 + len(uids))
            mine.update(more)
            known.update(more)
        else:
            getattr(mine, what)(uids)
            getattr(known, what)(uids)
    assert mine == known and list(mine) == sorted(known) and len(mine) == len(known)
    assert mine.first == min(known, default=None)
    assert mine.intersection(asked) == known.intersection(asked)
    assert all((uid in mine) == (uid in known) for uid in asked)
    ascending = sorted(set(asked))
    stretch = [uid for uid in sorted(known) if ascending and ascending[0] <= uid <= ascending[-1]]
    assert mine.covers(ascending) == (not ascending or stretch == ascending)


def test_of_another_set() -> None:
    first = UidSet(range(1, 4))
    first.update(UidSet(range(3, 9)))
    first.add(20)
    assert first == {1, 2, 3, 4, 5, 6, 7, 8, 20} and bool(first) and not UidSet()
