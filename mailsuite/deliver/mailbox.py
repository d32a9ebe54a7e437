"""What a recipient's worker does with files: deliver into a Maildir or an mbox, read .forward and :include: files.

Runs in a worker (net/workers.py) with the recipient's rights; `handle_batch` is its function, the requests are what
the functions named ask_* make for the parent. Deliveries to Maildirs that come together are synced together; what may
wait for a lock, or is large (`goes_alone`), should come alone. Answers: {"ok": true} or {"ok": false, "status",
"reason", "errno"}.
"""

import errno
import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mailsuite.store.delivery import (
    DeliveryFailed,
    MboxLocks,
    append_mbox,
    make_folders,
    read_blocks,
)
from mailsuite.store.maildir_delivery import Delivery, deliver_maildirs

FORWARD_LIMIT = 1024 * 1024          # octets of a .forward or :include: file
TOGETHER = 16                        # deliveries that are synced and answered together, at most
TOGETHER_LIMIT = 256 * 1024          # octets of a message that others may wait for

log = logging.getLogger("mailsuite.deliver")
# A file server that is away: whether there is such a file cannot be told.
_UNSURE = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EMFILE,
           errno.ENFILE, errno.ENOMEM}


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


def ask_read(paths: list[str], *, owners: list[int], links: bool = False) -> dict[str, Any]:
    """Read the first of some files that exists. owners: uids that may own it, empty: anybody. links: follow them."""
    return {"op": "read", "paths": paths, "owners": owners, "links": links}


def ask_home(path: str) -> dict[str, Any]:
    """Is this folder there? {"reason"}: why not."""
    return {"op": "home", "path": path}


def full_status(status: str, full_tempfail: bool) -> str:
    """The status of a delivery's failure, with mailbox_full_tempfail."""
    return "4.2.2" if full_tempfail and status == "5.2.2" else status


def limit_problem(limit: int, name: str, message_limit: int) -> str:
    """What is wrong with a mailbox limit: a message that was accepted must fit into an empty mailbox."""
    if not limit:
        return ""
    if not message_limit:
        return f"configuration error: {name} is set but message_size_limit is not"
    return f"configuration error: {name} is smaller than message_size_limit" if limit < message_limit else ""


def goes_alone(question: Mapping[str, Any]) -> bool:
    """Whether others should not have to wait for the answer to this request."""
    return bool(question["op"] != "maildir" or question["size"] > TOGETHER_LIMIT)


def handle_batch(requests: Sequence[tuple[dict[str, Any], list[int]]]) -> list[Mapping[str, Any] | BaseException]:
    """The worker's function for file requests."""
    answers: list[Mapping[str, Any] | BaseException] = [{}] * len(requests)
    deliveries: list[tuple[int, Delivery]] = []
    for place, (message, fds) in enumerate(requests):
        if message["op"] == "maildir":
            header = message["header"].encode("utf-8", "surrogateescape")
            if message["limit"] and len(header) + message["size"] > message["limit"]:
                answers[place] = _failed(message, DeliveryFailed(
                    f"error writing message: {os.strerror(errno.EFBIG)}", status="5.2.2", error=errno.EFBIG))
                continue
            blocks = read_blocks(fds[0], message["offset"], message["size"])
            deliveries.append((place, Delivery(message["path"], header, blocks, message["host"],
                                               sync_directory=message["sync"])))
        else:
            answers[place] = _handle_other(message, fds)
    for (place, _), end in zip(deliveries, deliver_maildirs([delivery for _, delivery in deliveries]), strict=True):
        answers[place] = _OK if isinstance(end, str) else _failed(requests[place][0], end)
    return answers


def handle(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any]:
    """One request alone. Raises what nobody foresaw."""
    (answer,) = handle_batch([(message, fds)])
    if isinstance(answer, BaseException):
        raise answer
    return answer


_OK: Mapping[str, Any] = {"ok": True, "warnings": []}


def _failed(message: Mapping[str, Any], failure: DeliveryFailed, warnings: Sequence[str] = ()) -> dict[str, Any]:
    status = message.get("default", "4.3.0") if failure.status == "5.2.0" else failure.status
    return {"ok": False, "status": status, "reason": failure.public, "errno": failure.error, "warnings": warnings}


def _handle_other(message: dict[str, Any], fds: list[int]) -> Mapping[str, Any] | BaseException:
    warnings: list[str] = []
    try:
        match message["op"]:
            case "read":
                return _read(message)
            case "home":
                return _home(message["path"])
        _mbox(message, fds[0], warnings.append)
    except DeliveryFailed as failure:
        return _failed(message, failure, warnings)
    except Exception as error:
        log.exception("unforeseen in a delivery")
        return error
    return {"ok": True, "warnings": warnings}


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
            if not message["links"] and stat.S_ISLNK(os.lstat(path).st_mode):
                return _refuse(f"file {path} is not a regular file")
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            if error.errno in _UNSURE:
                raise DeliveryFailed.of(f"cannot open file {path}", error, default="4.3.0") from error
            if not _is_there(path):
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


def _home(path: str) -> dict[str, Any]:
    try:
        os.stat(path)
    except OSError as error:
        return {"ok": True, "reason": f"cannot access home directory {path}: {os.strerror(error.errno or 0)}"}
    return {"ok": True, "reason": ""}


def _is_there(path: str) -> bool:
    """Whether there is a file of that name, as far as may be seen: in a folder that is closed to its owner, no."""
    try:
        os.lstat(path)
    except OSError:
        return False
    return True


def _refuse(warning: str) -> dict[str, Any]:
    return {"ok": True, "path": "", "warning": warning}
