"""Makes syncs, writes and the clock of a running suite misbehave (shim.c).

    with open_shim() as shim:                    skips the test where there is no C compiler
        with shim.loaded(): suite.start()        what is started in there obeys
        shim.fail_syncs(errno.EIO, "/spool/")    until shim.heal()

A rule concerns files whose path contains its text.
"""

import contextlib
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("shim.c")
_CLOCK = struct.Struct("q")
_COUNTS = struct.Struct("2i")


class Shim:
    """The control file, mapped here and in every process of the suite."""

    def __init__(self, library: Path, control: Path) -> None:
        self.library, self.control = library, control
        control.write_bytes(bytes(mmap.PAGESIZE))
        control.chmod(0o666)
        with open(control, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    @contextlib.contextmanager
    def loaded(self) -> Iterator[None]:
        """Programs started meanwhile load the shim."""
        before = {name: os.environ.get(name) for name in ("LD_PRELOAD", "MAILSUITE_SHIM")}
        os.environ.update(LD_PRELOAD=str(self.library), MAILSUITE_SHIM=str(self.control))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    def _set(self, path: str, *, sync: int = 0, folder: int = 0, write: int = 0, delay_ms: int = 0,
             change: int = 0) -> None:
        self._memory[:16], self._memory[24:28] = bytes(16), bytes(4)        # no rule while its text changes
        self._memory[32:40] = bytes(8)
        self._memory[40:296] = path.encode().ljust(256, b"\0")
        self._memory[:16] = struct.pack("4i", sync, folder, write, delay_ms)
        self._memory[24:28] = struct.pack("i", change)

    def fail_syncs(self, error: int, path: str, *, files: bool = True, folders: bool = True) -> None:
        self._set(path, sync=error if files else 0, folder=error if folders else 0)

    def fail_writes(self, error: int, path: str) -> None:
        self._set(path, write=error)

    def fail_changes(self, error: int, path: str) -> None:
        """Names cannot be made, moved or removed: as on a file system that is read-only or without inodes."""
        self._set(path, change=error)

    def slow_syncs(self, delay_ms: int, path: str) -> None:
        self._set(path, delay_ms=delay_ms)

    def heal(self) -> None:
        self._set("")

    def set_clock(self, offset_s: int) -> None:
        """Put the suite's clock so many seconds ahead of the machine's."""
        self._memory[16:24] = _CLOCK.pack(offset_s)

    @property
    def met(self) -> int:
        """How many calls the rule has met since it was set."""
        return sum(_COUNTS.unpack(self._memory[32:40]))


@contextlib.contextmanager
def open_shim() -> Iterator[Shim]:
    """Compile it into a temporary folder."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (gcc) to build the fault shim")
    folder = Path(tempfile.mkdtemp(prefix="mailsuite-shim.", dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        library = folder / "shim.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True,
                       timeout=60)
        library.chmod(0o755)
        yield Shim(library, folder / "control")
    finally:
        shutil.rmtree(folder, ignore_errors=True)

