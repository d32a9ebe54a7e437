"""COPY between two Maildirs: a second name for the same file where the file system can, else a copy.

The copy keeps its base name when the target has none like it; otherwise it gets a new one and remembers the old in the
uidlist's G field, so that it counts as the same message for who wants to know. Dates stay: they are the file's.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from mailsuite.base.files import give_group
from mailsuite.store.api import CopyResult, MessageGone, NoPermission, StoreError
from mailsuite.store.flags import SEEN
from mailsuite.store.maildir.append import sync_folders
from mailsuite.store.maildir.filename import base_of, sizes_of

if TYPE_CHECKING:
    from mailsuite.store.maildir.mailbox import MaildirMailbox


def copy_messages(source: "MaildirMailbox", uids: Sequence[int], target: "MaildirMailbox") -> CopyResult:
    """Both locks are held. All or nothing. Raises MessageGone, NoPermission, StoreError."""
    target.look()
    files: list[tuple[int, bytes, bytes, bytes]] = []          # source uid, base, fields, target path
    taken: set[bytes] = set()
    seen: list[bool] = []
    for uid in uids:
        at = source.rows.position(uid)
        if at is None:
            raise MessageGone
        bits = target.flag_bits(source.table.names(source.rows.flags[at]))
        base, fields = _name(source, uid, at, target, taken)
        taken.add(base)
        files.append((uid, base, fields, target.new_path(base, bits)))
        seen.append(bool(bits & SEEN))
    made: list[bytes] = []
    try:
        with target.uidlist.locked():
            for uid, _, _, path in files:
                _second_name(source, uid, target, path)
                made.append(path)
            sync_folders(target, made)
            new = target.assign_new([(base, fields) for _, base, fields, _ in files])
            target.keep_private([uid for uid, was_seen in zip(new, seen, strict=True) if was_seen], on=True)
            target.add_rows(new, made)
            target.own_change()
    except BaseException as error:
        for path in made:
            with suppress(OSError):
                os.unlink(target.path(path))
        if isinstance(error, PermissionError):
            raise NoPermission(str(error)) from error
        if isinstance(error, OSError):
            raise StoreError(str(error)) from error
        raise
    return CopyResult(target.uid_validity, list(uids), new)


def _name(source: "MaildirMailbox", uid: int, at: int, target: "MaildirMailbox",
          taken: set[bytes]) -> tuple[bytes, bytes]:
    """Base name and uidlist fields of the copy."""
    base = base_of(source.rows.keys[at][4:])
    entry = source.uidlist.entry(base)
    guid = entry.guid() if entry else base
    if not target.has_base(base) and base not in taken:
        return base, b"" if guid == base else b"G" + guid
    sizes = sizes_of(base)
    if b",W=" not in sizes and (size := source.index.sizes([uid]).get(uid)) is not None:
        sizes += b",W=%d" % size
    return target.names.next() + sizes, b"G" + guid


def _second_name(source: "MaildirMailbox", uid: int, target: "MaildirMailbox", path: bytes) -> None:
    for again in (True, False):
        at = source.rows.position(uid)
        if at is None:
            raise MessageGone
        old = source.path(source.rows.keys[at])
        try:
            if (source.mode, source.group) != (target.mode, target.group):
                _copy_file(old, target, path)       # a second name would keep out who may read the target
                return
            os.link(old, target.path(path), follow_symlinks=False)
            return
        except FileNotFoundError:
            if not again:
                raise MessageGone from None
            source.rescan()
        except FileExistsError:
            raise
        except OSError:
            _copy_file(old, target, path)
            return


def _copy_file(old: bytes, target: "MaildirMailbox", path: bytes) -> None:
    """Where links can't be made: another file system, too many of them."""
    temp = target.path(b"tmp/" + target.names.next())
    source_fd = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(source_fd, "rb") as source, open(temp, "xb") as copy:
        shutil.copyfileobj(source, copy, 1 << 20)
        copy.flush()
        os.fchmod(copy.fileno(), target.mode)
        give_group(copy.fileno(), target.gid)
        info = os.fstat(source_fd)
        os.utime(copy.fileno(), ns=(info.st_atime_ns, info.st_mtime_ns))
        if target.sync_files:
            os.fsync(copy.fileno())
    os.rename(temp, target.path(path))
