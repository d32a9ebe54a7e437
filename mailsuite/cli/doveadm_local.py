"""doveadm exec and dump, and a command whose subject does not exist here: rebuild."""

import os
import sqlite3
from typing import NoReturn

from mailsuite.cli.doveadm import EX_DATAERR, EX_TEMPFAIL, Doveadm, Exit

_SQLITE = b"SQLite format 3\0"
INDEX_TYPE = "mailsuite-index"


def exec_(doveadm: Doveadm, arguments: list[str]) -> int:
    """Run a program below libexec_dir, with the configuration's path in its environment."""
    if not arguments:
        doveadm.usage()
    path = os.path.join(doveadm.settings.text("libexec_dir"), arguments[0])
    os.environ["CONFIG_FILE"] = doveadm.config
    try:
        os.execv(path, [path, *arguments[1:]])
    except OSError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: execv({path}) failed: {error.strerror}") from error


def dump(doveadm: Doveadm, arguments: list[str]) -> int:
    """Show an index of ours (dovecot.index.mailsuite) as text: mailboxes, and what is known of each message."""
    found, rest = doveadm.options(arguments, "t")
    if not rest:
        doveadm.usage()
    path = os.path.join(rest[0], "dovecot.index.mailsuite") if os.path.isdir(rest[0]) else rest[0]
    kind = found.get("t", [INDEX_TYPE if _is_sqlite(path) else ""])[-1]
    if not kind:
        raise Exit(EX_DATAERR, f"Fatal: Can't autodetect file type: {rest[0]}")
    if kind != INDEX_TYPE:
        raise Exit(EX_DATAERR, f"Fatal: Unknown type: {kind}")
    try:
        _dump_index(path)
    except sqlite3.Error as error:
        raise Exit(EX_DATAERR, f"Fatal: {path}: {error}") from error
    return 0


def _is_sqlite(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _dump_index(path: str) -> None:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        print(f"-- INDEX: {path} (version {db.execute('PRAGMA user_version').fetchone()[0]})")
        boxes = db.execute("SELECT id, name, uid_validity, highest_modseq, first_recent FROM mailbox ORDER BY name")
        for number, name, validity, modseq, recent in boxes.fetchall():
            print(f"\n-- MAILBOX: {name}\nuid_validity = {validity}\nhighest_modseq = {modseq}\n"
                  f"first_recent_uid = {recent}")
            rows = db.execute("SELECT m.uid, m.flags, m.modseq, c.size, c.date FROM message m "
                              "LEFT JOIN cache c ON c.mailbox = m.mailbox AND c.uid = m.uid "
                              "WHERE m.mailbox = ? ORDER BY m.uid", (number,))
            for uid, flags, changed, size, date in rows:
                bits = flags if isinstance(flags, int) else int(str(flags).lstrip("~"))
                print(f"RECORD: uid={uid} flags=0x{bits:x} modseq={changed} size={size or '-'} date={date or '-'}")


def rebuild(doveadm: Doveadm, arguments: list[str]) -> NoReturn:
    raise Exit(EX_DATAERR, "Fatal: rebuild attachments: attachments are not marked with keywords here")
