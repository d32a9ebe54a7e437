"""Real content filters for tests: clamd with a signature of our own, amavisd-new in front of it, postgrey.

    with clamd(folder) as path, amavisd(folder, port, back, path): ...      mail to port comes back on port back
    with postgrey(folder, f"--inet=127.0.0.1:{port}") as process: ...

All run in the test's folder as their own accounts (Debian makes them), ask no DNS and load no signatures from outside;
so they need root. `missing("clamd", ...)` is the reason for a skip, "" when all is there.
"""

import hashlib
import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.suite import wait_for

# In two pieces, so that no scanner takes this file for the test virus (eicar.org).
EICAR = (b"X5O!P%@AP[4\\PZX54(P^)7CC)7}" b"$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*")
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
ACCOUNTS = {"clamd": "clamav", "amavisd": "amavis", "postgrey": "postgrey"}
START_S = 90.0          # Perl compiles amavisd and SpamAssassin for a while on a busy machine

CLAMD = """
LocalSocket {top}/clamd.sock
LocalSocketMode 666
PidFile {top}/clamd.pid
DatabaseDirectory {top}/signatures
LogFile {top}/clamd.log
TemporaryDirectory {top}
User clamav
Foreground yes
MaxThreads 2
Bytecode no
"""

AMAVISD = """\
use strict;
$max_servers = 2;
$daemon_user = 'amavis';
$daemon_group = 'amavis';
$mydomain = 'demo.test';
$myhostname = 'mx.demo.test';
$MYHOME = '{top}';
$TEMPBASE = "$MYHOME/tmp";
$ENV{{TMPDIR}} = $TEMPBASE;
$db_home = "$MYHOME/db";
$QUARANTINEDIR = "$MYHOME/quarantine";
$pid_file = "$MYHOME/amavisd.pid";
$lock_file = "$MYHOME/amavisd.lock";
$helpers_home = "$MYHOME";
$do_syslog = 0;
$logfile = "$MYHOME/amavisd.log";
$log_level = 1;
$enable_db = 0;
$enable_global_cache = 0;
$enable_zmq = 0;
$inet_socket_port = {port};
$inet_socket_bind = '127.0.0.1';
@inet_acl = qw( 127.0.0.1 );
@mynetworks = qw( 127.0.0.0/8 );
@local_domains_maps = ( [ 'demo.test' ] );
$forward_method = 'smtp:[127.0.0.1]:{back}';
$notify_method = $forward_method;
$X_HEADER_TAG = 'X-Virus-Scanned';
$X_HEADER_LINE = 'amavisd-new at demo.test';
$allowed_added_header_fields{{lc('X-Virus-Scanned')}} = 1;
$sa_local_tests_only = 1;
$sa_tag_level_deflt = -999;
$sa_tag2_level_deflt = 6.0;
$sa_kill_level_deflt = 9999;
$sa_spam_subject_tag = '***SPAM*** ';
$enable_dkim_verification = 0;
$enable_dkim_signing = 0;
$final_virus_destiny = {virus};
$final_spam_destiny = D_PASS;
$final_banned_destiny = D_PASS;
$final_bad_header_destiny = D_PASS;
$warnvirussender = 0;
$virus_admin = undef;
$mailfrom_notify_admin = $mailfrom_notify_recip = $mailfrom_notify_spamadmin = 'virusalert@demo.test';
$virus_quarantine_to = $spam_quarantine_to = undef;
@viruses_that_fake_sender_maps = (0);
$unfreeze = undef;
@decoders = ( ['mail', \\&do_mime_decode] );
@av_scanners = ( ['ClamAV-clamd-stream', \\&ask_daemon, ['*', 'clamd:{clamd}'],
  qr/\\bOK$/m, qr/\\bFOUND$/m, qr/^.*?: (?!Infected Archive)(.*) FOUND$/m ] );
@av_scanners_backup = ();
1;
"""


def missing(*programs: str) -> str:
    """Why these programs cannot run here: "clamd is not installed"; "" when they can."""
    for name in programs:
        if shutil.which(name, path=PATH) is None:
            return f"{name} is not installed"
        try:
            pwd.getpwnam(ACCOUNTS[name])
        except KeyError:
            return f"there is no account {ACCOUNTS[name]}"
    return "" if os.geteuid() == 0 else "needs root: the filters run as accounts of their own"


def eicar_signatures() -> dict[str, str]:
    """A ClamAV database that knows the EICAR test file only, by its hash (as a file) and its octets (in a file)."""
    return {"test.hdb": f"{hashlib.md5(EICAR).hexdigest()}:{len(EICAR)}:Mailsuite.Test.File\n",
            "test.ndb": f"Mailsuite.Test.EICAR:0:*:{EICAR.hex()}\n"}


@contextmanager
def clamd(folder: Path) -> Iterator[Path]:
    """The path of its socket."""
    top = _folder(folder / "clamav", "clamav")
    (top / "signatures").mkdir()
    for name, text in eicar_signatures().items():
        (top / "signatures" / name).write_text(text)
    (top / "clamd.conf").write_text(CLAMD.format(top=top))
    path = top / "clamd.sock"
    with _running(["clamd", f"--config-file={top / 'clamd.conf'}"], top, lambda: _answers(str(path))):
        yield path


@contextmanager
def amavisd(folder: Path, port: int, back: int, scanner: Path, *, virus: str = "D_DISCARD") -> Iterator[None]:
    """virus: what happens to infected mail, a D_ constant of amavisd."""
    top = _folder(folder / "amavis", "amavis")
    for name in ("tmp", "db", "quarantine", ".spamassassin"):
        _folder(top / name, "amavis")
    conf = folder / "amavisd.conf"              # must not belong to amavis
    conf.write_text(AMAVISD.format(top=top, port=port, back=back, clamd=scanner, virus=virus))
    with _running(["amavisd", "-c", str(conf), "foreground"], top, lambda: _answers(("127.0.0.1", port))):
        yield


@contextmanager
def postgrey(folder: Path, *options: str, listens: str | tuple[str, int]) -> Iterator[subprocess.Popen[bytes]]:
    top = _folder(folder / "postgrey", "postgrey")
    (folder / "whitelist").write_text("")
    whitelists = [f"--whitelist-{what}={folder / 'whitelist'}" for what in ("clients", "recipients")]
    with _running(["postgrey", "--user=postgrey", "--group=postgrey", f"--dbdir={top}", *whitelists, *options], top,
                  lambda: _answers(listens)) as process:
        yield process


def _folder(path: Path, account: str) -> Path:
    path.mkdir(exist_ok=True)
    shutil.chown(path, account, pwd.getpwnam(account).pw_gid)
    return path


def _answers(address: str | tuple[str, int]) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as probe:
        return probe.connect_ex(address) == 0


@contextmanager
def _running(command: list[str], top: Path, ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the foreground; what it says goes to top/output."""
    def up() -> bool:
        assert process.poll() is None, f"{command[0]} ended:\n{output.read_text(errors='replace')[-3000:]}"
        return ready()

    output = top / f"{command[0]}.output"
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                   env={**os.environ, "PATH": PATH}, cwd=top, start_new_session=True)
    try:
        wait_for(up, START_S, command[0])
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait(20)
