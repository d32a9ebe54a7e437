"""What a recipient's worker does with files: deliver into a Maildir or an mbox, read .forward and :include: files.

Runs in a worker (net/workers.py) with the recipient's rights; `handle` is its function, the requests are what
the functions named ask_* make for the parent. Answers: {"ok": true} or {"ok": false, "status", "reason", "errno"}.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from mailsuite.store.delivery import (
    DeliveryFailed,
    MboxLocks,
    append_mbox,
    deliver_maildir,
    make_folders,
    read_blocks,
)

FORWARD_LIMIT = 1024 * 1024          # octets of a .forward or :include: file


def ask_maildir(folder: str, header: bytes, offset: int, size: int, *, host: str, limit: int,
                sync_directory: bool, default: str = "5.2.0") -> dict[str, Any]:
    """Deliver to a Maildir; the queue file is the descriptor. default: the status of failures that say nothing else."""
    return {"op": "maildir", "path": folder, "header": header.decode("utf-8", "surrogateescape"), "offset": offset,
            "size": size, "host": host, "limit": limit, "sync": sync_directory, "default": default}


def ask_mbox(path: str, sender: str, header: bytes, offset: int, size: int, *, locks: MboxLocks, limit: int,
             owner: int | None, regular: bool = True, make_parents: bool = False,
             default: str = "5.2.0") -> dict[str, Any]:
    """Append to an mbox file. owner: whose file it must be (None: anybody's). regular: refuse devices and pipes."""
    return {"op": "mbox", "path": path, "sender": sender, "header": header.decode("utf-8", "surrogateescape"),
            "offset": offset, "size": size, "limit": limit, "owner": owner, "regular": regular, "make": make_parents,
            "methods": list(locks.methods), "wait": locks.wait_s, "delay": locks.delay_s, "stale": locks.stale_s,
            "may_fail": locks.may_fail, "default": default}


def ask_read(paths: list[str], *, owners: list[int]) -> dict[str, Any]:
    """Read the first of some files that exists. owners: uids that may own it, empty: anybody."""
    return {"op": "read", "paths": paths, "owners": owners}


def handle(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
    """The worker's function for file requests."""
    warnings: list[str] = []
    try:
        match message["op"]:
            case "maildir":
                _maildir(message, fds[0])
            case "mbox":
                _mbox(message, fds[0], warnings.append)
            case "read":
                return _read(message)
    except DeliveryFailed as failure:
        status = message["default"] if failure.status == "5.2.0" else failure.status
        return {"ok": False, "status": status, "reason": failure.public, "errno": failure.error, "warnings": warnings}
    return {"ok": True, "warnings": warnings}


def _maildir(message: dict[str, Any], fd: int) -> None:
    header = message["header"].encode("utf-8", "surrogateescape")
    if message["limit"] and len(header) + message["size"] > message["limit"]:
        raise DeliveryFailed(f"error writing message: {os.strerror(errno.EFBIG)}", status="5.2.2", error=errno.EFBIG)
    deliver_maildir(message["path"], header, read_blocks(fd, message["offset"], message["size"]), host=message["host"],
                    sync_directory=message["sync"])


def _mbox(message: dict[str, Any], fd: int, warn: Callable[[str], None]) -> None:
    owner, regular = message["owner"], message["regular"]

    def check(found: os.stat_result) -> None:
        if regular and not stat.S_ISREG(found.st_mode):
            raise DeliveryFailed(f"destination {message['path']} is not a regular file", status="5.2.0")
        if owner is not None and found.st_uid != owner:
            raise DeliveryFailed(f"destination {message['path']} is not owned by recipient", status="4.2.0",
                                 error=errno.EPERM)
        if not regular and stat.S_ISREG(found.st_mode) and found.st_mode & 0o111:
            raise DeliveryFailed("file is executable", status="5.7.1")

    if message["make"]:
        try:
            make_folders(os.path.dirname(message["path"]))
        except OSError:
            pass                    # opening the file will say why
    append_mbox(message["path"], message["sender"], message["header"].encode("utf-8", "surrogateescape"),
                read_blocks(fd, message["offset"], message["size"]), limit=message["limit"], check=check, warn=warn,
                locks=MboxLocks(tuple(message["methods"]), message["wait"], message["delay"], message["stale"],
                                message["may_fail"]))


def _read(message: dict[str, Any]) -> dict[str, Any]:
    """{"path": "" , ...} when there is none; {"warning"} when one may not be used."""
    for path in message["paths"]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            return {"ok": True, "path": "", "warning": f"cannot open file {path}: {os.strerror(error.errno or 0)}",
                    "errno": error.errno}
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                return _refuse(f"file {path} is not a regular file")
            if message["owners"] and found.st_uid not in message["owners"]:
                return _refuse(f"file {path} has bad owner uid {found.st_uid}")
            if found.st_mode & 0o002:
                return _refuse(f"file {path} is world writable")
            text = b"".join(read_blocks(fd, 0, min(found.st_size, FORWARD_LIMIT))).decode("utf-8", "surrogateescape")
        finally:
            os.close(fd)
        return {"ok": True, "path": path, "text": text, "uid": found.st_uid}
    return {"ok": True, "path": ""}


def _refuse(warning: str) -> dict[str, Any]:
    return {"ok": True, "path": "", "warning": warning}
