"""maps/cache.py: what outlives its process."""

import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from mailsuite.maps.cache import STEP, Cache, CacheError
from mailsuite.maps.indexed import open_index


def test_entries_outlive_the_process(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "c"))
    long = "k" * 3000
    for key in ("a", "ü\udcff", long):
        cache.put(key, f"value of {key}")
        assert cache.get(key) == f"value of {key}"
    cache.delete("a")
    cache.close()
    again = Cache(str(tmp_path / "c"))
    assert again.get("a") is None
    assert again.get(long) == f"value of {long}"
    assert again.sweep(lambda key, value: key != long) == (1, 1)
    assert again.get(long) is None


def test_postmap_can_show_them(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "c"))
    cache.put("a@b.test", "0:0:1:x")
    cache.close()
    assert list(open_index(str(tmp_path / "c.db")).items()) == [(b"a@b.test", b"0:0:1:x")]


def test_a_sweep_goes_in_parts(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "c"))
    for number in range(3 * STEP):
        cache.put(f"{number:05}", "x")
    after, kept, gone = cache.sweep_some(lambda key, value: key.endswith("0"))
    assert (kept + gone, after is None) == (STEP, False)
    assert cache.sweep(lambda key, value: key.endswith("0")) == (3 * STEP // 10, 3 * STEP - 3 * STEP // 10 - gone)


def _count(path: str, times: int) -> None:
    cache = Cache(path)
    for _ in range(times):
        cache.change("n", lambda old: str(int(old or 0) + 1))


def test_two_processes_do_not_lose_a_change(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count, args=(str(tmp_path / "c"), 300)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert Cache(str(tmp_path / "c")).get("n") == "900"


def _count_until_killed(path: str) -> None:
    _count(path, 10**9)


def test_a_killed_process_leaves_it_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "c")
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_count_until_killed, args=(path,))
    worker.start()
    while not os.path.exists(path + ".db") or (Cache(path)).get("n") is None:
        assert worker.is_alive()
        worker.join(0.05)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(60)
    _count(path, 1)
    assert int(Cache(path).get("n") or 0) > 1


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "c.db").write_bytes(b"not a database" * 1000)
    cache = Cache(str(tmp_path / "c"))
    cache.put("a", "b")
    assert cache.get("a") == "b"
    assert (tmp_path / "c.db.bad").exists()


def test_a_full_cache_forgets_the_new(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "c"), limit_octets=256 * 1024)
    for number in range(10_000):
        cache.put(f"key{number}", "x" * 100)
    assert cache.get("key0") == "x" * 100
    assert cache.get("key9999") is None
    cache.sweep(lambda key, value: False)
    cache.put("new", "y")
    assert cache.get("new") == "y"


def test_no_folder_no_cache(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="No such file or directory"):
        Cache(str(tmp_path / "none" / "c"))
