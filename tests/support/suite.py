"""A whole mailsuite for a test: a site as `mailsuite setup` makes it, on free ports, in a folder of its own."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mailsuite.cli import setup, site_files

BIN = Path(sys.executable).parent
DOMAIN = site_files.DOMAIN
LOW, HIGH = 15000, 32000        # below the ports that clients' sockets use


def free_port() -> int:
    """A port nobody listens on now; workers of a parallel run look in ranges of their own."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "gw0")) or 0)
    start = LOW + worker * 2000 + os.getpid() % 1000
    for port in range(start, HIGH):
        if port in _used:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _used.add(port)
        return port
    raise RuntimeError("no free port")


_used: set[int] = set()


WAIT_S = 60.0                   # what takes a moment takes seconds where many share a processor


def wait_for(condition: Callable[[], object], limit_s: float = WAIT_S, what: str = "") -> object:
    """What condition returns once it is true. Raises TimeoutError."""
    end = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise TimeoutError(what or f"not true within {limit_s} s")
        time.sleep(0.02)
    return found


@contextmanager
def open_folder(prefix: str = "mailsuite-test.") -> Iterator[Path]:
    """A temporary folder that other accounts may pass; pytest's own is closed to them."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def messages_in(maildir: Path) -> Iterator[tuple[float, bytes]]:
    """Time and content of what lies in new/ and cur/, each message once, though it may move to cur/ meanwhile."""
    seen: set[str] = set()
    for folder in (maildir / "new", maildir / "cur"):
        with suppress(FileNotFoundError):
            for path in sorted(folder.iterdir()):
                name = path.name.partition(":")[0]
                with suppress(FileNotFoundError):
                    if name not in seen:
                        yield path.stat().st_mtime, path.read_bytes()
                        seen.add(name)


class Suite:
    """One running mailsuite. users: address -> password."""

    def __init__(self, folder: Path) -> None:
        self.top = folder / "site"
        self.ports = {name: free_port() for name in site_files.PORTS}
        assert setup.make_site(str(self.top), self.ports) == 0
        self.users = dict(line.split() for line in (self.top / setup.PASSWORDS).read_text().splitlines())
        self.authority = self.top / "certs/ca.crt"
        if os.geteuid() == 0:
            self.command("accounts")

    @property
    def first(self) -> str:
        return next(iter(self.users))

    @property
    def second(self) -> str:
        return list(self.users)[1]

    def program(self, name: str, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run one of our commands with -c (or -C) for this site."""
        flag = "-C" if name == "sendmail" else "-c"
        where = str(self.top / "dovecot.conf") if name in ("doveadm", "doveconf") else str(self.top)
        return subprocess.run([str(BIN / name), flag, where, *words], text=True, check=False, timeout=120,
                              **{"capture_output": True, **options})

    def command(self, verb: str, *, through: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """mailsuite -c DIR verb, which must succeed. through: a command that runs it, e.g. prlimit."""
        with tempfile.TemporaryFile("w+") as output:       # a pipe would stay open in the daemons
            done = subprocess.run([*through, str(BIN / "mailsuite"), "-c", str(self.top), verb],
                                  stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True,
                                  check=False, timeout=120)
            output.seek(0)
            assert done.returncode == 0, f"{verb}: {output.read()}\n{self.log()[-3000:]}"
        return done

    def start(self) -> "Suite":
        self.command("start")
        return self

    def stop(self) -> None:
        self.command("stop")

    def postconf(self, *settings: str) -> None:
        done = self.program("postconf", "-e", *settings)
        assert done.returncode == 0, done.stderr

    def log(self) -> str:
        found = [self.top / "log" / name for name in ("mail.log", "dovecot.log")]
        return "".join(path.read_text(errors="replace") for path in found if path.exists())

    def pid(self) -> int:
        return int((self.top / "spool/pid/master.pid").read_text().split()[0])

    def tls(self) -> ssl.SSLContext:
        """A client's context that trusts the site's authority."""
        return ssl.create_default_context(cafile=str(self.authority))

    def maildir(self, user: str) -> Path:
        name, _, domain = user.partition("@")
        return self.top / "vmail" / domain / name

    def messages(self, user: str) -> list[bytes]:
        """What lies in a user's INBOX."""
        return [content for _, content in messages_in(self.maildir(user))]

    def wait_messages(self, user: str, count: int, limit_s: float = WAIT_S) -> list[bytes]:
        def there() -> list[bytes]:
            found = self.messages(user)
            return found if len(found) >= count else []
        try:
            return wait_for(there, limit_s)     # type: ignore[return-value]
        except TimeoutError:
            raise AssertionError(f"{len(self.messages(user))} of {count} messages\n{self.log()[-4000:]}") from None


@contextmanager
def running_suite(*settings: str) -> Iterator[Suite]:
    """A started suite with some main.cf parameters changed; stopped and removed afterwards."""
    with open_folder() as folder:
        suite = Suite(folder)
        if settings:
            suite.postconf(*settings)
        suite.start()
        try:
            yield suite
        finally:
            suite.stop()
