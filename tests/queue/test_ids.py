"""Queue ids and where their files lie."""

import pytest

from mailsuite.queue.ids import hashed, is_id, is_long, new_id, with_inode


@pytest.mark.parametrize(("seconds", "inode", "long", "want"), [
    pytest.param(1.0, 0x1C83D, False, "000001C83D", id="short: microseconds, inode"),
    pytest.param(7.5, 1, False, "7A1201", id="six digits at least"),
    pytest.param(1312737121.0, 9, True, "2PcbBF0000z9", id="long: seconds, microseconds, z, inode"),
])
def test_new_id(seconds: float, inode: int, long: bool, want: str) -> None:
    made = new_id(seconds, inode, long_ids=long)
    assert is_id(made)
    assert made == want or (long and made.endswith("z9") and len(made) == len(want))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "A", "4F3", "x" * 41, "4F3A-1", ".new-1-2"])
def test_what_is_no_id(name: str) -> None:
    assert not is_id(name)
    with pytest.raises(ValueError, match="not a queue id"):
        hashed("deferred", name, 1)


@pytest.mark.parametrize(("queue_id", "depth", "want"), [
    ("4A2F1C83D", 0, "deferred/4A2F1C83D"), ("4A2F1C83D", 1, "deferred/4/4A2F1C83D"),
    ("4A2F1C83D", 2, "deferred/4/A/4A2F1C83D")])
def test_hashed(queue_id: str, depth: int, want: str) -> None:
    assert hashed("deferred", queue_id, depth) == want


def test_long_ids_are_hashed_by_microseconds() -> None:
    folders = {hashed("deferred", new_id(1e9 + micro / 1e6, 5, long_ids=True), 1).split("/")[1]
               for micro in range(0, 1_000_000, 40_000)}
    assert len(folders) > 10


def test_with_inode() -> None:
    assert with_inode("4A2F1C83D", 123456) == with_inode("4A2F1C83D", 123456, long_ids=True) == "4A2F11E240"
    assert not is_long(with_inode("4Fz1Qx3c9Tz7W", 123456))


def test_a_long_id_keeps_its_time() -> None:
    first = new_id(1e9 + 0.25, 77, long_ids=True)
    assert with_inode(first, 78, long_ids=True) == new_id(1e9 + 0.25, 78, long_ids=True)
    assert with_inode(first, 78) == new_id(1e9 + 0.25, 78)
