"""Real database servers for tests: each in a folder of its own, on a free port of the loopback, as a fitting account.

    with PostgreSql(folder) as server:      server.port, server.folder, server.run("CREATE TABLE ...")
        server.kill(); server.start()       as after a crash; the data stays
        server.pause(); server.go_on()      a server that does not answer

PostgreSql, MariaDb, OpenLdap, Memcached. `needs("pgsql")` is the mark that skips a test where the program is missing.
"""

import contextlib
import io
import logging
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from tests.support.suite import free_port, wait_for

PATH = os.pathsep.join(["/usr/lib/postgresql/17/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/15/bin",
                        os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin", "/usr/lib/postfix/sbin"])
PROGRAMS = {"pgsql": ("initdb", "postgresql"), "mysql": ("mariadbd", "mariadb-server"),
            "ldap": ("slapd", "slapd"), "memcache": ("memcached", "memcached")}
START_LIMIT_S = 60.0


def find(program: str) -> str | None:
    """Its path, also where an administrator's programs lie."""
    return shutil.which(program, path=PATH)


def needs(kind: str) -> pytest.MarkDecorator:
    """Skips a test where the server of this kind is not installed, and says so."""
    program, package = PROGRAMS[kind]
    return pytest.mark.skipif(find(program) is None, reason=f"{program} is missing (Debian package {package})")


def account(name: str) -> str | None:
    """The account to run a server as; None when this test is not root's, who may not choose."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        return "nobody"


def listens(path: Path) -> bool:
    """A Unix socket's name is there before somebody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class Server:
    """What all servers share: a folder, a port, a process."""

    account = "nobody"

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.user = account(self.account)
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if self.user:
            shutil.chown(folder, self.user)
        self.prepare()

    def prepare(self) -> None:
        """Make what the server finds at its first start."""

    def arguments(self) -> list[str]:
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers; by default: whether the port is open."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def call(self, *words: str, text: str = "", check: bool = True) -> str:
        """Run a program as the server's account; its standard output."""
        done = subprocess.run([find(words[0]) or words[0], *words[1:]], input=text, capture_output=True, text=True,
                              user=self.user, timeout=120, check=False, cwd=self.folder)
        assert done.returncode == 0 or not check, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> Self:
        words = self.arguments()
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen([find(words[0]) or words[0], *words[1:]], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, user=self.user, cwd=self.folder,
                                            start_new_session=True)

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "server.log").read_text(errors="replace")[-3000:]
            return self.ready()
        wait_for(up, START_LIMIT_S, f"{words[0]} does not answer")
        return self

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGCONT)
            self.process.send_signal(how)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(20)
        self.process = None

    stop_signal = signal.SIGTERM

    def stop(self) -> None:
        self._end(self.stop_signal)

    def kill(self) -> None:
        """At once, as a crash or a restart would: its connections break."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It goes on listening and says nothing."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)
        for child in self.children():
            os.kill(child, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self.process is not None
        for child in self.children():
            os.kill(child, signal.SIGCONT)
        os.killpg(self.process.pid, signal.SIGCONT)

    def children(self) -> list[int]:
        """Processes of the server that have left its process group."""
        assert self.process is not None
        try:
            words = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except OSError:
            return []
        return [int(word) for word in words]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        self.stop()


class PostgreSql(Server):
    """Database "mail", user "mail" with the password "se'cret" over TCP; user "owner" over the Unix socket."""

    account = "postgres"
    stop_signal = signal.SIGINT

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        self.call("initdb", "-D", str(self.data), "-U", "owner", "-A", "trust", "--no-sync", "--no-instructions",
                  "-E", "UTF8", "--locale=C")
        (self.data / "pg_hba.conf").write_text("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.start()
        self.run("CREATE ROLE mail LOGIN PASSWORD 'se''cret'", database="postgres")
        self.run("CREATE DATABASE mail OWNER mail", database="postgres")

    def arguments(self) -> list[str]:
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        return ["postgres", "-D", str(self.data), "-k", str(self.folder), "-p", str(self.port),
                "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=16MB",
                "-c", "max_connections=40", "-c", "wal_level=minimal", "-c", "max_wal_senders=0",
                "-c", "autovacuum=off"]

    def start(self) -> Self:
        return self if self.process is not None else super().start()

    def kill(self) -> None:
        """Its children end when they notice that their parent is gone, or when the next start tells them."""
        children = self.children()
        super().kill()
        for child in children:
            try:
                os.kill(child, signal.SIGKILL)
            except ProcessLookupError:
                pass

        def lives(child: int) -> bool:
            try:
                return " Z " not in Path(f"/proc/{child}/stat").read_text()
            except OSError:
                return False
        wait_for(lambda: not any(map(lives, children)), what="PostgreSQL's children stay")

    def ready(self) -> bool:
        return subprocess.run([find("pg_isready") or "pg_isready", "-q", "-h", str(self.folder), "-p", str(self.port)],
                              check=False, timeout=20).returncode == 0

    def run(self, sql: str, database: str = "mail") -> str:
        """Run statements; rows as psql prints them."""
        return self.call("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.folder),
                         "-p", str(self.port), "-U", "owner", "-f", "-", database, text=sql)


class MariaDb(Server):
    """Database "mail", user "mail" with the password "se'cret"; root over the Unix socket `self.socket`."""

    account = "mysql"

    @property
    def socket(self) -> Path:
        return self.folder / "mysql.sock"

    def prepare(self) -> None:
        data = self.folder / "data"
        # A server that starts clears its tmpdir of tables: in /tmp those may be another worker's server's.
        self.call("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--skip-test-db", "--skip-name-resolve",
                  "--auth-root-authentication-method=normal", "--innodb-log-file-size=4M",
                  "--innodb-flush-method=nosync", f"--tmpdir={self.folder}")
        self.start()
        self.run("CREATE DATABASE mail CHARACTER SET utf8mb4; CREATE USER mail IDENTIFIED BY 'se''cret'; "
                 "GRANT ALL ON mail.* TO mail", database="mysql")

    def arguments(self) -> list[str]:
        return ["mariadbd", "--no-defaults", f"--datadir={self.folder / 'data'}", f"--socket={self.socket}",
                f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-log-file-size=4M",
                "--innodb-buffer-pool-size=8M", "--innodb-flush-method=nosync", "--skip-log-bin",
                "--innodb-flush-log-at-trx-commit=0", f"--tmpdir={self.folder}",
                f"--pid-file={self.folder / 'mysql.pid'}", *self.extra]

    extra: tuple[str, ...] = ()

    def ready(self) -> bool:
        """It listens on the port first, then on the Unix socket."""
        return super().ready() and listens(self.socket)

    def start(self) -> Self:
        return self if self.process is not None else super().start()

    def run(self, sql: str, database: str = "mail") -> str:
        return self.call("mariadb", "--no-defaults", "-u", "root", f"--socket={self.socket}", "-N", "-B",
                         "--default-character-set=utf8mb4", database, text=sql)


LDAP_BASE = "dc=example,dc=test"
LDAP_ADMIN = f"cn=admin,{LDAP_BASE}"


class OpenLdap(Server):
    """dc=example,dc=test; cn=admin with the password "se(c*ret", who alone may read userPassword."""

    account = "openldap"

    def __init__(self, folder: Path, *, tls: tuple[Path, Path, Path] | None = None, more: str = "") -> None:
        self.tls, self.more = tls, more             # tls: authority, certificate, key
        self.tls_port = free_port() if tls else 0
        super().__init__(folder)

    @property
    def socket(self) -> Path:
        return self.folder / "ldapi"

    def prepare(self) -> None:
        (self.folder / "data").mkdir()
        if self.user:
            shutil.chown(self.folder / "data", self.user)
        tls = "" if self.tls is None else (
            f"TLSCACertificateFile {self.tls[0]}\nTLSCertificateFile {self.tls[1]}\n"
            f"TLSCertificateKeyFile {self.tls[2]}\n"
            "TLSVerifyClient try\n")
        (self.folder / "slapd.conf").write_text(
            "".join(f"include /etc/ldap/schema/{name}.schema\n" for name in ("core", "cosine", "inetorgperson", "nis"))
            + f"pidfile {self.folder}/pid\nmodulepath /usr/lib/ldap\nmoduleload back_mdb\nsizelimit 500\n"
            + tls + self.more +
            "attributetype ( 1.3.6.1.4.1.99999.1 NAME 'maildrop' EQUALITY caseIgnoreMatch SUBSTR "
            "caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
            "attributetype ( 1.3.6.1.4.1.99999.2 NAME 'memberurl' SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )\n"
            "objectclass ( 1.3.6.1.4.1.99999.3 NAME 'mailthing' SUP top AUXILIARY "
            "MAY ( mail $ maildrop $ memberurl $ member $ uid $ displayName ) )\n"
            f"database mdb\nmaxsize 16777216\ndbnosync\nsuffix \"{LDAP_BASE}\"\nrootdn \"{LDAP_ADMIN}\"\n"
            f"rootpw \"se(c*ret\"\ndirectory {self.folder}/data\nindex objectClass eq\n"
            "access to attrs=userPassword by anonymous auth by * none\naccess to * by * read\n")
        self.add(f"dn: {LDAP_BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: test\n")

    def add(self, ldif: str) -> None:
        """Add entries while the server is not running."""
        self.call("slapadd", "-q", "-f", str(self.folder / "slapd.conf"), text=ldif)

    def modify(self, ldif: str) -> None:
        """Add or change entries of the running server."""
        self.call("ldapmodify", "-a", "-x", "-H", self.url, "-D", LDAP_ADMIN, "-w", "se(c*ret", text=ldif)

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    def ready(self) -> bool:
        """It listens at its addresses one after the other."""
        with socket.socket() as probe:
            probe.settimeout(1)
            return super().ready() and listens(self.socket) and (
                not self.tls_port or probe.connect_ex(("127.0.0.1", self.tls_port)) == 0)

    def arguments(self) -> list[str]:
        urls = [self.url, "ldapi://" + str(self.socket).replace("/", "%2F")]
        if self.tls:
            urls.append(f"ldaps://127.0.0.1:{self.tls_port}")
        return ["slapd", "-f", str(self.folder / "slapd.conf"), "-h", " ".join(urls), "-d", "0"]


class Memcached(Server):
    """An empty cache."""

    account = "memcache"

    def arguments(self) -> list[str]:
        return ["memcached", "-l", "127.0.0.1", "-p", str(self.port), "-m", "8", "-t", "1"]

    def ask(self, command: bytes) -> bytes:
        """Send a command; the reply's first block."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as peer:
            peer.sendall(command)
            time.sleep(0)
            return peer.recv(65536)


class PostfixPostmap:
    """Debian's Postfix, asked about tables with a configuration folder of its own."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mx.example.test\n" + settings)
        for name in ("dynamicmaps.cf", "dynamicmaps.cf.d", "postfix-files", "postfix-files.d"):
            if (Path("/etc/postfix") / name).exists() and not (folder / name).exists():
                (folder / name).symlink_to(Path("/etc/postfix") / name)

    @staticmethod
    def missing(type: str) -> bool:
        """Whether Postfix or its table type is not installed."""
        program = "/usr/sbin/postconf"
        if not os.access(program, os.X_OK):
            return True
        return type not in subprocess.run([program, "-m"], capture_output=True, text=True, check=False).stdout.split()

    def run(self, *words: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        """postmap's exit status, output and complaints without "postmap: "."""
        done = subprocess.run(["/usr/sbin/postmap", "-c", str(self.folder), *words], input=stdin, capture_output=True,
                              timeout=60, check=False)
        lines = done.stderr.decode(errors="replace").splitlines()
        return done.returncode, done.stdout, "\n".join(line.removeprefix("postmap: ") for line in lines)


def our_postmap(folder: Path, *words: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    """The same of our postmap, in this process: a hundred starts of an interpreter would be slow."""
    from mailsuite.cli import postmap

    output, said = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    log = logging.getLogger("mailsuite.postmap")
    handlers, propagate = list(log.handlers), log.propagate
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(said):
            status = postmap.command("postmap", postmap.FLAGS, postmap.USAGE, ["-c", str(folder), *words])
            output.flush()
    finally:
        sys.stdin = before
        log.handlers[:], log.propagate = handlers, propagate
    lines = said.getvalue().splitlines()
    return status, output.buffer.getvalue(), "\n".join(line.removeprefix("postmap: ") for line in lines)   # type: ignore[attr-defined]
