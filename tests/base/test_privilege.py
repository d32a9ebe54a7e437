"""The group that is taken for moments."""

import os
import stat
from pathlib import Path

import pytest

from mailsuite.base import privilege
from mailsuite.net.privileges import Identity, drop_privileges


def test_nothing_without_leave(tmp_path: Path) -> None:
    with privilege.privileged_group():
        (tmp_path / "x").write_text("")
    assert (tmp_path / "x").stat().st_gid == os.getegid()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody")
@pytest.mark.parametrize("kept", [True, False])
def test_a_worker_with_the_group_as_its_saved_one(kept: bool) -> None:
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(dir="/var/tmp"))     # pytest's own is closed to other accounts
    os.chown(folder, 0, 4242)
    folder.chmod(0o770)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            drop_privileges(Identity(4243, 4243, privileged_gid=4242 if kept else -1))
            privilege.allow(4242)
            try:
                (folder / "without").write_text("")
                status = 2                              # the group is only there when it is asked for
            except PermissionError:
                pass
            with privilege.privileged_group():
                (folder / "with").write_text("")
            status = 0 if status == 1 else status
        finally:
            os._exit(status)
    _, result = os.waitpid(pid, 0)
    try:
        assert (os.waitstatus_to_exitcode(result) == 0) is kept
        if kept:
            assert (folder / "with").stat().st_gid in (4242, 4243)
            assert not (folder / "without").exists() and stat.S_ISREG((folder / "with").stat().st_mode)
    finally:
        shutil.rmtree(folder)
