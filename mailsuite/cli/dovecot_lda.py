"""dovecot-lda: put the message on standard input into a user's mailbox, as Dovecot's delivery agent does.

    dovecot-lda [-c FILE] [-d USER] [-m MAILBOX] [-f SENDER] [-a ADDRESS] [-r ADDRESS] [-p FILE] [-e] [-k]

For Postfix's mailbox_command (as the recipient, without -d: $USER and $HOME) and for pipe services (as the one owner of
all mail, with -d: the auth service's userdb says where the mail is; as root with the rights that it names).
A mailbox that does not exist is made with lda_mailbox_autocreate; else the mail goes to INBOX. No header is added.
Exit status: 0 stored, 64 a wrong command line, 67 no such user, 75 not now, 77 refused for good (over quota), with the
reason on standard error, which Postfix puts into the bounce.
Differs: no Sieve; what is refused is never bounced by ourselves (Dovecot does so without -e); -a, -r, -e, -k change
nothing.
"""

import asyncio
import contextlib
import getopt
import os
import pwd
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from mailsuite.access.lmtp_spool import Spool
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.sasl.user import UserInfo

DEFAULT_CONFIG = "/etc/dovecot/dovecot.conf"
EX_USAGE, EX_NOUSER, EX_TEMPFAIL, EX_NOPERM = 64, 67, 75, 77
BLOCK = 256 * 1024
USAGE = """\
Usage: dovecot-lda [-c <config file>] [-d <username>] [-p <path>]
                   [-m <mailbox>] [-e] [-k] [-f <envelope sender>]
                   [-a <original envelope recipient>]
                   [-r <final envelope recipient>] """


def _end(status: int, text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(status)


def main() -> int:
    try:
        pairs, rest = getopt.getopt(sys.argv[1:], "a:c:d:ef:km:p:r:")
    except getopt.GetoptError as error:
        print(USAGE)
        _end(EX_USAGE, f"{sys.argv[0]}: {error.msg}")
    if rest:
        print(USAGE)
        _end(EX_USAGE, f"lda: Fatal: Unknown argument: {rest[0]}")
    options = dict(pairs)
    settings = _settings(options.get("-c") or os.environ.get("CONFIG_FILE") or DEFAULT_CONFIG)
    _open_log(settings)
    user = _user(options["-d"], settings) if "-d" in options else _myself()
    try:
        return _deliver(user, settings, options)
    except Exception as error:              # mail is kept by whoever called, whatever went wrong here
        _end(EX_TEMPFAIL, f"lda({user.user}): Fatal: {getattr(error, 'detail', '') or error}")


def _settings(path: str) -> "DovecotSettings":
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.dovecot import DovecotSettings

    try:
        return DovecotSettings.load(path).for_protocol("lda")
    except ConfigError as error:
        _end(EX_TEMPFAIL, f"lda: Fatal: {error.public}")


def _open_log(settings: "DovecotSettings") -> None:
    """To log_path of the configuration, and errors to standard error as well where that is not the log."""
    from mailsuite.base import log

    path = settings.text("info_log_path") or settings.text("log_path")
    log.setup_stderr("lda")
    with contextlib.suppress(OSError):
        target = log.SyslogTarget(log.DovecotFormat()) if path in ("", "syslog") else \
            log.FileTarget(log.DovecotFormat(), 2 if path == "/dev/stderr" else log.open_log_file(path))
        log.setup(target, target)


def _myself() -> "UserInfo":
    from mailsuite.sasl.user import UserInfo

    uid, gid = (os.getuid(), os.getgid()) if os.geteuid() != 0 else (None, None)
    name = os.environ.get("USER") or pwd.getpwuid(os.getuid()).pw_name
    return UserInfo(name, uid, gid, os.environ.get("HOME", ""))


def _user(name: str, settings: "DovecotSettings") -> "UserInfo":
    """What the auth service's user database says."""
    from mailsuite.base.errors import TemporaryError
    from mailsuite.sasl.master_client import AuthMaster

    async def ask() -> "UserInfo | None":
        master = AuthMaster(os.path.join(settings.text("base_dir"), settings.text("auth_socket_path")))
        try:
            return await master.userdb(name, service="lda")
        finally:
            master.close()

    try:
        found = asyncio.run(ask())
    except TemporaryError as error:
        _end(EX_TEMPFAIL, f"lda({name}): Error: {error.detail or error.public}")
    if found is None:
        _end(EX_NOUSER, f"lda({name}): Fatal: User doesn't exist")
    if os.geteuid() not in (0, os.getuid() if found.uid is None else found.uid):
        _end(EX_TEMPFAIL, f"lda({name}): Fatal: the userdb says uid {found.uid}, and uid {os.geteuid()} may not become "
                          "that: let the delivery run as that user")
    return found


def _deliver(user: "UserInfo", settings: "DovecotSettings", options: dict[str, str]) -> int:
    from mailsuite.access.doveadm import open_user
    from mailsuite.access.identity import identity_of
    from mailsuite.access.lmtp_delivery import deliver
    from mailsuite.access.lmtp_spool import Spool
    from mailsuite.base import privilege
    from mailsuite.net.privileges import drop_privileges

    spool = Spool(settings.text("mail_temp_dir"))
    _read(spool, options.get("-p", ""))
    if os.geteuid() == 0:
        identity = identity_of(user, settings)
        drop_privileges(identity)
        privilege.allow(identity.privileged_gid)
    os.umask(0o077)
    job = {"sender": options.get("-f", ""), "header": "", "detail": options.get("-m", ""), "address": user.user,
           "session": os.urandom(12).hex(), "program": "lda"}
    store = open_user(user, settings)
    try:
        outcome = deliver(store, job, spool.fd, settings)
    finally:
        store.close()
    if outcome.code == 250:
        return 0
    _end(EX_NOPERM if outcome.code >= 500 else EX_TEMPFAIL, f"lda({user.user}): {outcome.text}")


def _read(spool: "Spool", path: str) -> None:
    """Standard input, or a file; without the "From " line that Postfix puts before it on request. Raises OSError."""
    with open(path, "rb") if path else sys.stdin.buffer as source:
        block = source.read(BLOCK)
        if block.startswith((b"From ", b">From ")):
            block = block.partition(b"\n")[2]
        while block:
            spool.write(block)
            block = source.read(BLOCK)
    if spool.failed is not None:
        raise spool.failed


if __name__ == "__main__":
    sys.exit(main())
