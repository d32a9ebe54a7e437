"""doveadm's commands on mail, in the user's worker: where all that concerns one user meets.

    run(store, request, content, say)          blocks; say(dict) is one line for doveadm

A request is {"command": "mailbox list", "arguments": [...], "options": {"s": [""]}, "user": name}. What is said:
{"header": [titles]}, {"row": [values]}, {"error": text}, and {"status": n} as the last. Exit statuses are doveadm's: 65
exists or not allowed, 67 no such user, 68 not found, 75 anything else.
"""

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from mailsuite.access.doveadm_folders import COMMANDS as FOLDER_COMMANDS
from mailsuite.access.doveadm_messages import COMMANDS as MESSAGE_COMMANDS
from mailsuite.access.doveadm_run import EX_TEMPFAIL, Failed, Run
from mailsuite.base.errors import PeerError
from mailsuite.base.log import access_logger
from mailsuite.store.api import (
    BadEncoding,
    InvalidName,
    MailboxExists,
    MailError,
    MailStore,
    NoSuchMailbox,
    NotPossible,
    NotSelectable,
    Refused,
)

EX_DATAERR, EX_NOTFOUND = 65, 68
_STATUS: Mapping[type[MailError], int] = {
    NoSuchMailbox: EX_NOTFOUND, MailboxExists: EX_DATAERR, InvalidName: EX_DATAERR, NotPossible: EX_DATAERR,
    Refused: EX_DATAERR, BadEncoding: EX_DATAERR, NotSelectable: EX_DATAERR}

COMMANDS: Mapping[str, Callable[[Run], None]] = {**FOLDER_COMMANDS, **MESSAGE_COMMANDS}

log = access_logger("doveadm")


def status_of(error: MailError) -> int:
    return next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), EX_TEMPFAIL)


def run(store: MailStore, request: Mapping[str, Any], content: bytes, say: Callable[[dict[str, Any]], None]) -> None:
    """Carry out one command; never raises what concerns this command only."""
    job = Run(store, list(map(str, request["arguments"])), dict(request["options"]), content, say)
    status = 0
    try:
        COMMANDS[str(request["command"])](job)
        status = job.status
    except Failed as failed:
        say({"fatal": failed.text})
        status = failed.status
    except PeerError as error:
        say({"fatal": error.public})
        status = EX_TEMPFAIL
    except MailError as error:
        say({"error": error.public})
        status = status_of(error)
    except KeyError as error:
        say({"error": f"unknown command {error}"})
        status = 64
    except Exception:
        log.exception("unforeseen in a doveadm command")
        say({"error": "Internal error occurred. Refer to server log for more information."})
        status = EX_TEMPFAIL
    say({"status": status})


def serve(store: MailStore, request: Mapping[str, Any], content_fd: int, sock: socket.socket) -> None:
    """Run a command for the doveadm at the other end of sock. Blocks; raises OSError when it is gone."""
    content = b""
    if content_fd >= 0:
        with open(content_fd, "rb") as file:
            content = file.read()
    with sock.makefile("wb", buffering=65536) as out:
        run(store, request, content, lambda line: _write(out, line))


def _write(out: Any, line: dict[str, Any]) -> None:
    out.write(json.dumps(line).encode() + b"\n")
