"""doveadm's commands on mail, where all that concerns one user meets: in the user's worker, or in doveadm itself.

    run(Job(store, user, settings, request), content, say)          blocks; say(dict) is one line for doveadm

A request is {"command": "mailbox list", "arguments": [...], "options": {"s": [""]}, "user": name}. What is said:
{"header": [titles], "hidden": [...], "streams": [...]}, {"rows": [[values], ...]}, {"info": text} of the mail_log
plugin, {"error": text}, {"fatal": text}, and {"status": n} as the last.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from mailsuite.access.doveadm_acl import COMMANDS as ACL_COMMANDS
from mailsuite.access.doveadm_folders import COMMANDS as FOLDER_COMMANDS
from mailsuite.access.doveadm_fulltext import COMMANDS as FULLTEXT_COMMANDS
from mailsuite.access.doveadm_import import COMMANDS as IMPORT_COMMANDS
from mailsuite.access.doveadm_maintain import COMMANDS as MAINTENANCE_COMMANDS
from mailsuite.access.doveadm_messages import COMMANDS as MESSAGE_COMMANDS
from mailsuite.access.doveadm_quota import COMMANDS as QUOTA_COMMANDS
from mailsuite.access.doveadm_run import EX_TEMPFAIL, EX_USAGE, Failed, Run, reason, status_of
from mailsuite.access.last_login import noting
from mailsuite.access.mail_log import mail_log
from mailsuite.base.errors import ConfigError, PeerError
from mailsuite.base.log import access_logger
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import MailError, MailStore
from mailsuite.store.events import telling

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

COMMANDS: Mapping[str, Callable[[Run], None]] = {
    **FOLDER_COMMANDS, **MESSAGE_COMMANDS, **MAINTENANCE_COMMANDS, **IMPORT_COMMANDS,
    **FULLTEXT_COMMANDS, **QUOTA_COMMANDS, **ACL_COMMANDS}

log = access_logger("doveadm")


class Job(NamedTuple):
    """One command for one user. request: what doveadm sent; its "source" is the user whose mail copy and move take."""

    store: MailStore
    user: UserInfo
    settings: "DovecotSettings"
    request: Mapping[str, Any]


def run(job: Job, content: BinaryIO | None, say: Callable[[dict[str, Any]], None]) -> None:
    """Carry out one command; never raises what concerns this command only."""
    request = job.request
    task = Run(job.store, list(map(str, request["arguments"])), dict(request["options"]), say, content, job.user,
               open_location=lambda location, how: _open_location(job, location, how))
    status, lines = 0, []
    own = job.settings.for_protocol("doveadm")              # the plugins of doveadm itself
    try:
        if "source" in request:
            task.source = open_user(UserInfo.from_message(request["source"]), job.settings)
        note = noting(job.user, own, lambda text: say({"error": text}))
        if note is not None:
            note()
        with telling(mail_log(own, lambda text: say({"info": text}))):
            COMMANDS[str(request["command"])](task)
        status = task.status
    except Failed as failed:
        lines, status = [{"fatal": failed.text, "before": failed.before}], failed.status
    except (PeerError, ConfigError) as error:
        lines, status = [{"fatal": error.public}], EX_TEMPFAIL
    except MailError as error:
        lines, status = [{"error": reason(error)}], status_of(error)
    except KeyError as error:
        lines, status = [{"error": f"unknown command {error}"}], EX_USAGE
    except OSError:
        raise                           # doveadm went away
    except Exception:
        log.exception("unforeseen in a doveadm command")
        lines = [{"error": "Internal error occurred. Refer to server log for more information."}]
        status = EX_TEMPFAIL
    finally:
        if task.source is not None:
            task.source.close()
    task.flush()
    for line in lines:
        say(line)
    say({"status": status})


def open_user(user: UserInfo, settings: "DovecotSettings") -> MailStore:
    """A user's mail. Raises ConfigError, StoreError."""
    from mailsuite.access.user_store import open_user_store
    from mailsuite.store.options import StoreOptions

    return open_user_store(user, settings, StoreOptions.of(settings))


def _open_location(job: Job, location: str, how: str) -> MailStore:
    """Mail elsewhere, for import and export. how: "make" for a place that need not exist."""
    from dataclasses import replace

    from mailsuite.config.variables import expand_variables, user_variables
    from mailsuite.store.location import parse_location
    from mailsuite.store.opening import open_store
    from mailsuite.store.options import StoreOptions

    if location == "imapc" or location.startswith("imapc:"):
        from mailsuite.access.doveadm_imapc import fetched
        return fetched(job.user, job.settings)
    user = job.user
    name = job.request["options"].get("U", [user.user])[-1]
    where = expand_variables(location, user_variables(name, service="doveadm", home=user.home))
    parsed = parse_location(user.user, user.home, where)
    if how != "make" and not os.path.exists(parsed.root):
        raise Failed(f"{parsed.root}: there is no mail")
    options = replace(StoreOptions.of(job.settings), separator="", prefix="", mailboxes=())
    return open_store(user.user, home=user.home, location=where, options=options)


def serve(job: Job, content_fd: int, sock: socket.socket) -> None:
    """Run a command for the doveadm at the other end of sock. Blocks; raises OSError when it is gone."""
    with sock.makefile("wb", buffering=65536) as out:
        if content_fd < 0:
            run(job, None, lambda line: _write(out, line))
        else:
            with open(content_fd, "rb") as content:
                run(job, content, lambda line: _write(out, line))


def _write(out: Any, line: dict[str, Any]) -> None:
    out.write(json.dumps(line).encode() + b"\n")
