"""What is kept about mailboxes beside their mail: METADATA's entries and URLAUTH's keys. Shared with Dovecot.

    attributes = open_attributes("file:%h/dovecot-attributes", "alice", home)     None: there is no such dictionary
    attributes.entries(guid) -> {"/private/comment": b"My own"}         names in lower case
    attributes.change(guid, {"/private/comment": None})                 None takes an entry away
    attributes.forget(guid)                                             the mailbox was deleted

The file is that of Dovecot's dictionary driver "file": a line "priv/GUID/comment" or "shared/GUID/comment", then a line
with the value, in which NUL, SOH, tab, CR and LF are written as SOH and a letter. It is replaced as a whole under
FILE.lock and read again when it changed. Names below vendor/vendor.dovecot/pvt/ and URLAUTH's key are no client's.
Raises: StoreError, MailboxInUse, NoPermission. Limits: MAX_SIZE; callers limit the rest (imap/params.py).
"""

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from mailsuite.base.files import write_whole
from mailsuite.config.variables import expand_common, user_names, user_variables
from mailsuite.store.api import MailboxInUse, NoPermission, StoreError
from mailsuite.store.locks import LockBusy, MailboxLock

MAX_SIZE = 64 * 1024 * 1024     # octets of a file that are read
WAIT_S = 30.0                   # for another program that writes; Dovecot's number
SERVER = "vendor/vendor.dovecot/pvt/server/"        # server entries are INBOX's below this name
URLAUTH = "/private/vendor/vendor.dovecot/imap-urlauth"

_SCOPES = {"priv": "/private/", "shared": "/shared/"}
_ESCAPES = {b"0": b"\0", b"1": b"\x01", b"t": b"\t", b"r": b"\r", b"n": b"\n"}

Entries = dict[str, bytes]


def _unescape(octets: bytes) -> bytes:
    if b"\x01" not in octets:
        return octets
    first, *rest = octets.split(b"\x01")
    return first + b"".join(_ESCAPES.get(piece[:1], piece[:1]) + piece[1:] for piece in rest)


def _escape(octets: bytes) -> bytes:
    for letter, octet in ((b"1", b"\x01"), (b"0", b"\0"), (b"t", b"\t"), (b"r", b"\r"), (b"n", b"\n")):
        octets = octets.replace(octet, b"\x01" + letter)
    return octets


def open_attributes(dictionary: str, user: str, home: str) -> "Attributes | None":
    """The user's dictionary, from mail_attribute_dict; None: not set, or of a driver that we have not."""
    driver, _, path = dictionary.partition(":")
    if driver != "file" or not path:
        return None
    path = expand_common(path, user_names(user), lambda: user_variables(user, home=home))
    if path.startswith("~/"):
        path = home + path[1:]
    return Attributes(path) if os.path.isabs(path) else None


class Attributes:
    """One file. mode: of a new one."""

    def __init__(self, path: str, *, mode: int = 0o600) -> None:
        self.path, self._mode = path, mode
        self._lock = threading.Lock()
        self._stamp: object = None
        self._read: dict[str, Entries] = {}

    def entries(self, guid: str) -> Entries:
        """All entries of a mailbox by name."""
        with self._lock:
            return dict(self._all().get(guid, {}))

    def everything(self) -> dict[str, Entries]:
        """All entries of all mailboxes, by GUID."""
        with self._lock:
            return {guid: dict(entries) for guid, entries in self._all().items()}

    def change(self, guid: str, changes: Mapping[str, bytes | None]) -> None:
        """Set or take away entries of a mailbox, all or none. Names: "/private/..." or "/shared/...", in lower case."""
        def edit(found: dict[str, Entries]) -> None:
            entries = found.setdefault(guid, {})
            for name, value in changes.items():
                if value is None:
                    entries.pop(name, None)
                else:
                    entries[name] = value

        self._edit(edit)

    def add(self, guid: str, name: str, value: bytes) -> None:
        """Set an entry, unless there is one of the name."""
        self._edit(lambda found: found.setdefault(guid, {}).setdefault(name, value))

    def forget(self, guid: str) -> None:
        """All entries of a mailbox go."""
        self._edit(lambda found: found.pop(guid, None))

    def move(self, guid: str, other: str, *, keep: bool = False) -> None:
        """The mailbox has another GUID now. keep: the old one stays as well (RENAME of INBOX)."""
        def edit(found: dict[str, Entries]) -> None:
            if guid in found:
                found[other] = dict(found[guid]) if keep else found.pop(guid)

        self._edit(edit)

    # --- the file ---------------------------------------------------------------------------------------------------

    def _all(self) -> dict[str, Entries]:
        """What the file holds; read when it is another than before."""
        try:
            with open(os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
                status = os.fstat(file.fileno())
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                if stamp != self._stamp:
                    self._read = _parse(file.read(MAX_SIZE))
                    self._stamp = stamp
        except FileNotFoundError:
            self._stamp, self._read = None, {}
        except PermissionError as error:
            raise NoPermission(str(error)) from error
        except OSError as error:
            raise StoreError(str(error)) from error
        return self._read

    def _edit(self, edit: "Edit") -> None:
        lock = MailboxLock(self.path, ("dotlock",), wait_s=WAIT_S, delay_s=0.02, stale_s=60)
        try:
            with self._lock, lock.dotlock():
                before = self._all()
                found = {guid: dict(entries) for guid, entries in before.items()}
                edit(found)
                if found == before:
                    return
                content = _render(found)
                if len(content) > MAX_SIZE:
                    raise StoreError(f"{self.path}: too large")
                mode = self._mode
                with suppress(OSError):
                    mode = os.stat(self.path).st_mode & 0o777
                write_whole(Path(self.path), content, mode=mode)
                self._stamp = None
        except LockBusy as error:
            raise MailboxInUse(error.detail) from error
        except PermissionError as error:
            raise NoPermission(str(error)) from error
        except OSError as error:
            raise StoreError(str(error)) from error


class MailboxEntries:
    """Of one mailbox. Private entries are the user's own, shared ones its owner's: they may lie in two files."""

    def __init__(self, guid: str, private: Attributes, shared: Attributes) -> None:
        self.guid, self.private, self.shared = guid, private, shared

    def read(self) -> Entries:
        if self.shared is self.private:
            return self.private.entries(self.guid)
        own, others = self.private.entries(self.guid), self.shared.entries(self.guid)
        return {**{name: value for name, value in own.items() if name.startswith("/private/")},
                **{name: value for name, value in others.items() if name.startswith("/shared/")}}

    def add(self, name: str, value: bytes) -> None:
        """Set a private entry, unless there is one."""
        self.private.add(self.guid, name, value)

    def forget(self) -> None:
        """The mailbox is no more."""
        self.private.forget(self.guid)
        if self.shared is not self.private:
            self.shared.forget(self.guid)

    def change(self, changes: Mapping[str, bytes | None]) -> None:
        """All or none, where they lie in one file."""
        if self.shared is self.private:
            self.private.change(self.guid, changes)
            return
        for attributes, scope in ((self.shared, "/shared/"), (self.private, "/private/")):
            part = {name: value for name, value in changes.items() if name.startswith(scope)}
            if part:
                attributes.change(self.guid, part)


class Edit(Protocol):
    """A change of what was read; a type only."""

    def __call__(self, found: dict[str, Entries]) -> object: ...


def _parse(content: bytes) -> dict[str, Entries]:
    """Lines in pairs. What is no mailbox's is kept under the GUID ""; a last line alone is dropped."""
    found: dict[str, Entries] = {}
    lines = iter(content.split(b"\n"))
    for key, value in zip(lines, lines, strict=False):
        whole = _unescape(key).decode("utf-8", "surrogateescape")
        scope, _, rest = whole.partition("/")
        guid, _, name = rest.partition("/")
        if scope in _SCOPES and guid and name:
            found.setdefault(guid, {})[_SCOPES[scope] + name] = _unescape(value)
        else:
            found.setdefault("", {})[whole] = _unescape(value)
    return found


def _render(found: dict[str, Entries]) -> bytes:
    lines = []
    for guid, entries in found.items():
        for name, value in entries.items():
            key = name
            if guid:
                scope, _, rest = name[1:].partition("/")
                key = f"{'priv' if scope == 'private' else 'shared'}/{guid}/{rest}"
            lines.append(b"%b\n%b\n" % (_escape(key.encode("utf-8", "surrogateescape")), _escape(value)))
    return b"".join(lines)
