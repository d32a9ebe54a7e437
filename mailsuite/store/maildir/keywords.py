"""dovecot-keywords: the names behind the letters a to z in the file names of a Maildir.

    read_keywords(folder) -> ["$Key", "Work"]       by number; a number that is missing is called unknown-N
    write_keywords(folder, names)                   the first 26, atomically (the uidlist's lock is held)

Lines are "NUMBER NAME"; a name that IMAP cannot say, or that another number has, is as if it were missing. Only the
first 26 keywords fit into file names; more are kept in the index.
"""

import os
from pathlib import Path

from mailsuite.base.files import write_whole
from mailsuite.store.flags import is_keyword
from mailsuite.store.maildir.filename import KEYWORD_LETTERS

NAME = "dovecot-keywords"
MAX_SIZE = 65536


def read_keywords(folder: str) -> list[str]:
    """[] when there is no file."""
    try:
        fd = os.open(os.path.join(folder, NAME), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    with open(fd, "rb") as file:
        lines = file.read(MAX_SIZE).decode("utf-8", "surrogateescape").split("\n")
    names: dict[int, str] = {}
    known: set[str] = set()
    for line in lines:
        number, _, name = line.partition(" ")
        if not (number.isascii() and number.isdecimal() and int(number) < KEYWORD_LETTERS):
            continue
        if is_keyword(name) and name.lower() not in known and int(number) not in names:
            names[int(number)] = name
            known.add(name.lower())
    return [names.get(number, f"unknown-{number}") for number in range(max(names, default=-1) + 1)]


def write_keywords(folder: str, names: list[str], mode: int, gid: int = -1) -> None:
    lines = [f"{number} {name}\n" for number, name in enumerate(names[:KEYWORD_LETTERS])]
    write_whole(Path(folder, NAME), "".join(lines).encode("utf-8", "surrogateescape"), mode=mode,
                owner=(-1, gid) if gid >= 0 else None)
