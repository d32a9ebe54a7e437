"""Messages in memory, sought by their flags."""

from hypothesis import given
from hypothesis import strategies as st

from mailsuite.store.rows import Rows

FLAGS = st.sampled_from([0, 1, 4, 8, 12, 40])


def rows_of(flags: list[int]) -> Rows:
    rows = Rows()
    rows.extend(range(1, len(flags) + 1), flags, [1] * len(flags), [b"k"] * len(flags))
    return rows


def check(rows: Rows) -> None:
    """What is kept of the combinations agrees with the flags."""
    for bit in (1, 4, 8, 32, 64):
        expected = [uid for uid, flags in zip(rows.uids, rows.flags, strict=True) if flags & bit]
        assert rows.count(bit.__and__) == len(expected)
        assert rows.uids_where(bit.__and__).tolist() == expected
        first = next((at for at, flags in enumerate(rows.flags) if flags & bit), len(rows))
        assert rows.first_where(bit.__and__) == first


@given(st.lists(FLAGS, max_size=200), st.lists(st.tuples(st.integers(0, 300), FLAGS, st.booleans()), max_size=120),
       st.integers(1, 80))
def test_flags_are_counted_through_all_changes(flags: list[int], changes: list[tuple[int, int, bool]],
                                               together: int) -> None:
    rows = rows_of(flags)
    check(rows)
    next_uid = len(flags) + 1
    for start in range(0, len(changes), together):
        some = changes[start:start + together]
        rows.set_flags([(at % len(rows), bits) for at, bits, _ in some if len(rows)], 2)
        check(rows)
        before = rows.membership
        gone = rows.remove([rows.uids[at % len(rows)] for at, _, leaves in some if leaves and len(rows)])
        assert (rows.membership != before) == bool(gone)
        for at, bits, leaves in some:
            if not leaves and at > 200:
                rows.append(next_uid, bits, 1, b"k")
                next_uid += 1
        check(rows)


def test_one_among_many() -> None:
    rows = rows_of([0] * 5000)
    check(rows)
    rows.set_flags([(17, 8), (4999, 8), (3000, 12)], 2)
    assert rows.uids_where((8).__and__).tolist() == [18, 3001, 5000]
    rows.set_flags([(at, 1 << at) for at in range(20)], 2)           # more combinations than are looked for one by one
    assert rows.uids_where(lambda flags: flags).tolist() == [*range(1, 21), 3001, 5000]
    rows.set_flags([(at, 8) for at in range(5000)], 2)
    assert rows.count((8).__and__) == 5000 and rows.uids_where((8).__and__) == rows.uids
    assert rows.uids_where(lambda flags: not flags).tolist() == [] and rows.first_where((1).__and__) == 5000
