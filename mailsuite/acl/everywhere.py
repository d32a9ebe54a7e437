"""The administrator's ACLs, which stand above those of the mailboxes: acl = vfile:PATH.

    acls = Everywhere("/etc/dovecot/acls");  acls.entries("Public/Board") -> [Entry]

PATH is a folder with a file for each mailbox, named as the mailbox is (a mailbox with children: MAILBOX/.DEFAULT), or a
file with lines PATTERN ENTRY, where * stands for anything and ? for one character:

    Public/*  anyone lr
    "My Folder"  user=bob lrw

Raises StoreError for what cannot be read: then nobody has any rights.
"""

import fnmatch
import os
import re
from collections.abc import Callable

from mailsuite.acl.entries import BadAcl, Entry, merged, parse_line
from mailsuite.acl.file import MAX_SIZE, AclFile
from mailsuite.store.errors import StoreError

DEFAULT = ".DEFAULT"
MAX_FILES = 1000                # of a folder's files that are kept in memory


class Everywhere:
    """One for all of a user's namespaces. Mailboxes are named as users see them, in UTF-8."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._files: dict[str, AclFile] = {}
        self._stamp: object = None
        self._lines: list[tuple[Callable[[str], object], Entry]] = []
        self._damage = ""

    def entries(self, mailbox: str) -> list[Entry]:
        """Sorted. Raises StoreError."""
        if os.path.isdir(self.path):
            return self._of_folder(mailbox)
        self._look()
        return merged(entry for matches, entry in self._lines if matches(mailbox))

    # --- a folder ---------------------------------------------------------------------------------------------------

    def _of_folder(self, mailbox: str) -> list[Entry]:
        if any(part in ("", ".", "..") for part in mailbox.split("/")):
            return []
        path = os.path.join(self.path, mailbox)
        if os.path.isdir(path):
            path = os.path.join(path, DEFAULT)
        file = self._files.get(path)
        if file is None:
            if len(self._files) >= MAX_FILES:
                self._files.clear()
            file = self._files[path] = AclFile(path, everywhere=True)
        return file.entries()

    # --- a file -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read the file again when it has changed."""
        try:
            info = os.stat(self.path)
            stamp = (info.st_ino, info.st_mtime_ns, info.st_size)
            if stamp != self._stamp:
                with open(self.path, "rb") as file:
                    octets = file.read(MAX_SIZE + 1)
                self._lines, self._damage = [], ""
                self._parse(octets)
                self._stamp = stamp
        except OSError as error:
            raise StoreError(f"global ACLs {self.path}: {error.strerror}") from error
        if self._damage:
            raise StoreError(self._damage)

    def _parse(self, octets: bytes) -> None:
        if len(octets) > MAX_SIZE:
            self._damage = f"global ACLs {self.path}: more than {MAX_SIZE} octets"
            return
        for number, line in enumerate(octets.decode("utf-8", "surrogateescape").split("\n"), 1):
            line = line.rstrip("\r")
            if not line or line.startswith("#"):
                continue
            try:
                pattern, rest = _pattern(line)
                self._lines.append((matcher(pattern), parse_line(rest, everywhere=True)))
            except BadAcl as error:
                self._damage = f"global ACLs {self.path}: line {number}: {error}"
                return


def _pattern(line: str) -> tuple[str, str]:
    if line.startswith('"'):
        end = line.find('"', 1)
        if end < 0:
            raise BadAcl("Missing '\"'")
        return line[1:end], line[end + 1:].lstrip(" ")
    pattern, blank, rest = line.partition(" ")
    if not blank:
        raise BadAcl("Missing ACL ID")
    return pattern, rest.lstrip(" ")


def matcher(pattern: str) -> Callable[[str], object]:
    """* and ? are the only ones that stand for others. Linear in the name's length for any number of stars."""
    return re.compile(fnmatch.translate(pattern.replace("[", "[[]"))).match
