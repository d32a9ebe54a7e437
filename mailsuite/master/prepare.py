"""What must be there before the first service runs: folders, their owners, the pid file."""

import errno
import fcntl
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.base.log import logger
from mailsuite.master.accounts import Accounts
from mailsuite.net.privileges import Identity, drop_privileges
from mailsuite.queue.store import open_store
from mailsuite.queue.tidy import fix_structure, purge

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

TAKE_ATTEMPTS = 10

# name -> (mode, group): "owner" is mail_owner's own group, "setgid" setgid_group, "root" the master's.
QUEUE_FOLDERS: dict[str, tuple[int, str]] = {
    **dict.fromkeys(("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "journal",
                     "private", "saved", "trace"), (0o700, "root")),
    "maildrop": (0o1730, "setgid"),
    "public": (0o2711, "setgid"),
}


def prepare_queue(settings: "Settings", accounts: Accounts) -> None:
    """Make the queue's folders and data_directory. Raises ConfigErrors: each names the folder and the reason."""
    top = Path(settings.text("queue_directory"))
    data = Path(settings.text("data_directory"))
    errors: list[ConfigError] = []

    def make(path: Path, mode: int, owner: tuple[int, int] | None) -> None:
        try:
            path.mkdir(parents=True, exist_ok=True)
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
            if owner is not None and (found.st_uid, found.st_gid) != owner:
                os.chown(path, *owner)
            if stat.S_IMODE(found.st_mode) != mode:
                os.chmod(path, mode)
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, "Permission denied")
        except OSError as error:
            errors.append(ConfigError(f"cannot use the folder {path}: {error.strerror}"))

    mail_owner = accounts.mail_owner
    make(top, 0o755, (0, 0) if mail_owner else None)
    if not errors:
        make(top / "pid", 0o755, (0, 0) if mail_owner else None)
        for name, (mode, group) in QUEUE_FOLDERS.items():
            gid = {"root": 0, "setgid": accounts.setgid_group}[group]
            make(top / name, mode, (mail_owner[1], gid) if mail_owner else None)
    make(data, 0o700, (mail_owner[1], mail_owner[2]) if mail_owner else None)
    if mail_owner:
        errors += _unreachable(top, mail_owner)
    if errors:
        raise ConfigErrors(errors)


def _unreachable(path: Path, user: tuple[str, int, int]) -> list[ConfigError]:
    """A folder above the queue that mail_owner may not pass stops all mail, with confusing errors later."""
    for folder in [path.resolve(), *path.resolve().parents]:
        status = folder.stat()
        bits = stat.S_IMODE(status.st_mode)
        mine = (bits >> 6 if status.st_uid == user[1] else bits >> 3 if status.st_gid == user[2] else bits) & 1
        if not mine:
            return [ConfigError(f"the account {user[0]} cannot reach {path}: {folder} is closed to it "
                                f"(chmod o+x {folder}, or another queue_directory)")]
    return []


def tidy_queue(settings: "Settings", accounts: Accounts) -> None:
    """What `postsuper` does before Postfix starts, with mail_owner's rights: root does not move what others may have
    put there. What is wrong is logged; mail is served all the same. Nothing may run on this queue yet."""
    if accounts.mail_owner is None:
        _tidy(settings)
        return
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _, uid, gid = accounts.mail_owner
            drop_privileges(Identity(uid, gid))
            _tidy(settings)
            status = 0
        finally:
            os._exit(status)
    os.waitpid(pid, 0)


def _tidy(settings: "Settings") -> None:
    log = logger("postsuper")
    try:
        store = open_store(settings)
        renamed = fix_structure(store, lambda text: log.warning("%s", text))
        purge(store, time.time())
    except OSError as error:
        log.error("cannot put the queue in order: %s", error)
        return
    if renamed:
        log.info("Renamed to match inode number: %d message%s", renamed, "" if renamed == 1 else "s")
        log.warning("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS")


def prepare_access(dovecot: "DovecotSettings", accounts: Accounts) -> None:
    """base_dir and state_dir. Raises ConfigErrors."""
    errors = []
    for name, mode in (("base_dir", 0o755), ("state_dir", 0o755)):
        path = Path(dovecot.text(name))
        try:
            path.mkdir(parents=True, exist_ok=True)
            if accounts.privileged:
                os.chmod(path, mode)
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, "Permission denied")
        except OSError as error:
            errors.append(ConfigError(f"cannot use the folder {path} ({name}): {error.strerror}"))
    if errors:
        raise ConfigErrors(errors)


class PidFile:
    """queue_directory/pid/master.pid: one master for each queue, as Postfix's is locked while it runs."""

    def __init__(self, queue_directory: str) -> None:
        self.path = Path(queue_directory, "pid", "master.pid")
        self._fd = -1

    def running(self) -> int:
        """The pid of the master that holds the file; 0 when none does."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            return self._pid_if_alive()
        except OSError:
            return 0
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return 0
        except OSError:
            return int((os.read(fd, 32) or b"0").split()[0])
        finally:
            os.close(fd)

    def _pid_if_alive(self) -> int:
        try:
            pid = int(self.path.read_text().split()[0])
            os.kill(pid, 0)
        except PermissionError:
            return pid
        except (OSError, ValueError, IndexError):
            return 0
        return pid

    def take(self) -> None:
        """Hold it for this process. Raises ConfigError when another master runs."""
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        for attempt in range(TAKE_ATTEMPTS):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                # `status` holds the lock for an instant while it looks.
                if attempt + 1 < TAKE_ATTEMPTS:
                    time.sleep(0.02)
            else:
                self.write()
                return
        os.close(self._fd)
        self._fd = -1
        raise ConfigError("the mail system is already running")

    def write(self) -> None:
        """Put this process's id into it (again after a fork: the lock belongs to the open file)."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, b"%10d\n" % os.getpid(), 0)

    def close_in_child(self) -> None:
        """A child must not keep the lock when the master is gone."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def release(self) -> None:
        if self._fd >= 0:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = -1
