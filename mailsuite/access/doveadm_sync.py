"""doveadm sync and backup, in the user's worker: in a thread of its own, as it may take hours.

    await serve(request, mail, user, settings, content_fd, sock)

The request's options are doveadm's letters, its settings what -o said; the content is the state of -s. What is said to
doveadm: {"progress": {...}}, {"note": text}, {"error": text}, {"fatal": text}, {"state": text}, {"result": {...}},
and {"status": n} as the last. When doveadm is gone the synchronization ends.

One user's synchronizations run one after the other: two at once would copy everything twice.
"""

import asyncio
import contextlib
import json
import os
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mailsuite.access.user_mail import UserMail
from mailsuite.access.user_store import location_of
from mailsuite.base.errors import ConfigError, MailError, PermanentError
from mailsuite.base.log import access_logger
from mailsuite.config.dovecot_override import overridden
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.imapc.account import Account
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import MailStore
from mailsuite.store.location import Location, parse_location
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions
from mailsuite.sync.engine import Run
from mailsuite.sync.local import StoreSide
from mailsuite.sync.model import Side
from mailsuite.sync.options import Mode, Options
from mailsuite.sync.remote import ImapSide
from mailsuite.sync.report import Report
from mailsuite.sync.state import State

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

COMMANDS = frozenset(("sync", "backup"))
EX_TEMPFAIL, EX_NOTFOUND = 75, 68
LOCK_WAIT_S = 60.0              # without -l
PROGRESS_S = 0.2                # between two lines about the progress
LOOK_S = 1.0                    # between two looks whether doveadm is still there
REMOTE_COMMANDS = ("remote:", "remoteprefix:", "tcp:", "tcps:", "ssh:")
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

log = access_logger("doveadm")
Say = Callable[[dict[str, Any]], None]


class Gone(Exception):
    """doveadm went away, or the worker stops."""


@dataclass
class Task:
    """What one request is about. stopping: does the worker end?"""

    request: Mapping[str, Any]
    user: UserInfo
    settings: "DovecotSettings"         # -o laid over
    plain: "DovecotSettings"
    store: MailStore
    state: str
    sock: socket.socket
    stopping: Callable[[], bool]

    @classmethod
    def of(cls, request: Mapping[str, Any], user: UserInfo, settings: "DovecotSettings", store: MailStore, state: str,
           sock: socket.socket, stopping: Callable[[], bool] = lambda: False) -> "Task":
        """Fields of the user database such as imapc_password count as settings, -o above them. Raises ConfigError."""
        pairs = [f"{name}={value}" for name, value in user.fields.items() if name.startswith("imapc_")]
        return cls(request, user, overridden(settings, [*pairs, *map(str, request.get("settings", ()))]), settings,
                   store, state, sock, stopping)

    @property
    def own_location(self) -> str:
        """What -o mail_location said last."""
        return next((str(pair).partition("=")[2] for pair in reversed(self.request.get("settings", ()))
                     if str(pair).startswith("mail_location=")), "")

    def option(self, letter: str, default: str = "") -> str:
        return str(self.request["options"].get(letter, [default])[-1])

    def has(self, letter: str) -> bool:
        return letter in self.request["options"]


async def serve(request: Mapping[str, Any], mail: UserMail, user: UserInfo, settings: "DovecotSettings",
                content_fd: int, sock: socket.socket, stopping: Callable[[], bool]) -> None:
    """Run it and answer doveadm, which waits at the other end of sock. Raises OSError when it is gone."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    state = _content(content_fd)
    store = await mail.opened()
    task = Task.of(request, user, settings, store, state, sock, stopping)

    def work() -> None:
        try:
            run(task)
        finally:
            with contextlib.suppress(RuntimeError):         # the loop is closed: nobody waits
                loop.call_soon_threadsafe(lambda: None if ended.done() else ended.set_result(None))

    threading.Thread(target=work, name="sync", daemon=True).start()
    await ended


def _content(fd: int) -> str:
    if fd < 0:
        return ""
    with open(fd, "rb") as file:
        return file.read().decode("ascii", "replace")


def run(task: Task) -> None:
    """In the thread. Never raises."""
    try:
        with task.sock.makefile("wb", buffering=65536) as out:
            def say(line: dict[str, Any]) -> None:
                out.write(json.dumps(line).encode() + b"\n")
                out.flush()

            status = _answered(task, say)
            say({"status": status})
    except (OSError, Gone):
        log.info("user %s: synchronization ended: doveadm is gone, or the worker stops", task.user.user)


def _answered(task: Task, say: Say) -> int:
    try:
        return _synchronize(task, say)
    except ConfigError as error:
        say({"error": f"Failed to initialize user: {error.public}"})
    except MailError as error:
        say({"error": error.detail or error.public})
        if isinstance(error, _NotFound):
            return EX_NOTFOUND
    except (OSError, Gone):
        raise
    except Exception:
        log.exception("unforeseen in a synchronization")
        say({"error": "Internal error occurred. Refer to server log for more information."})
    return EX_TEMPFAIL


class _NotFound(PermanentError):
    """Exit status 68."""


def _synchronize(task: Task, say: Say) -> int:
    options = options_of(task)
    state = State()
    if task.has("s"):
        try:
            state = State.decode(task.state)
        except PermanentError as error:
            say({"error": f"Saved sync state is invalid, falling back to full sync: {error.public}"})
    watch = _Watch(task)
    report = Report(_throttled(say), lambda text: say({"note": text}))
    with _locked(task), contextlib.ExitStack() as stack:
        left, right = _sides(task, options, watch, stack, say)
        job = Run(left, right, options, report, state, sleep=watch.sleep)
        result = job.run()
        for text in result.errors:
            say({"error": text})
        for text in result.refusals:
            say({"error": text})
        if task.has("s") and not options.dry_run:
            say({"state": job.state.encode()})
        say({"result": result.numbers()})
        log.info("user %s: %s with %s: %d folders, %d messages copied (%d octets), %d removed, %d changed flags, "
                 "%d refused, %d errors", task.user.user, task.request["command"], right.title, result.folders,
                 result.copied, result.octets, result.removed, result.flags, result.skipped, len(result.errors))
        return result.status


def _throttled(say: Say) -> Callable[[dict[str, object]], None]:
    """Counts are added up, so that a line every PROGRESS_S tells all."""
    waiting = {"copied": 0, "octets": 0}
    last = [0.0]

    def progress(what: dict[str, object]) -> None:
        now = time.monotonic()
        if "copied" not in what:
            if waiting["copied"]:
                say({"progress": dict(waiting)})
            waiting.update(copied=0, octets=0)
            say({"progress": what})
            return
        for name in waiting:
            waiting[name] += int(str(what[name]))
        if now - last[0] >= PROGRESS_S:
            last[0] = now
            say({"progress": dict(waiting)})
            waiting.update(copied=0, octets=0)

    return progress


class _Watch:
    """Looks now and then whether there is still somebody to work for."""

    def __init__(self, task: Task) -> None:
        self._task, self._next = task, 0.0

    def look(self) -> None:
        """Raises Gone."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOOK_S
        sock = self._task.sock
        if self._task.stopping():
            raise Gone
        if select.select([sock], [], [], 0)[0] and not sock.recv(1, socket.MSG_PEEK):
            raise Gone

    def sleep(self, pause_s: float) -> None:
        end = time.monotonic() + pause_s
        while (left := end - time.monotonic()) > 0:
            self.look()
            time.sleep(min(left, LOOK_S))


@contextlib.contextmanager
def _locked(task: Task) -> Iterator[None]:
    wait_s = float(task.option("l")) if task.option("l").isdigit() else LOCK_WAIT_S
    lock = _locks[task.user.user]
    end = time.monotonic() + wait_s
    watch = _Watch(task)
    while not lock.acquire(timeout=0.2):
        watch.look()
        if time.monotonic() > end:
            raise PermanentError(f"Couldn't lock the synchronization of {task.user.user}: another one is at work "
                                 f"(waited {wait_s:.0f} secs)")
    try:
        yield
    finally:
        lock.release()


# --- the two sides ------------------------------------------------------------------------------------------------


def _sides(task: Task, options: Options, watch: _Watch, stack: contextlib.ExitStack, say: Say) -> tuple[Side, Side]:
    own = task.own_location
    words = task.request["arguments"]
    if task.has("d"):
        other = task.user.fields.get("mail_replica", "")
        if not other:
            raise _NotFound("User has no mail_replica in userdb")
    else:
        other = str(words[0])
    if other.startswith(REMOTE_COMMANDS) or len(words) > 1:
        raise PermanentError(f"{words[0]}: Dovecot's own protocol between two servers is not spoken here; "
                             "use imapc: with -o imapc_host=...")
    locations = [_location(task, text) for text in (own, other) if text and not _is_imap(text)]
    if not own:
        locations.append(_location(task, location_of(task.user, task.plain)))
    if len(locations) == 2 and os.path.realpath(locations[0].root) == os.path.realpath(locations[1].root):
        raise PermanentError(f"Both source and destination mail_location points to same directory: "
                             f"{locations[0].root}")
    left = _side(task, own, options, watch, stack, say) if own else StoreSide(task.store, task.user.user)
    return left, _side(task, other, options, watch, stack, say)


def _is_imap(location: str) -> bool:
    return location == "imapc" or location.startswith("imapc:")


def _expanded(task: Task, location: str) -> str:
    return expand_variables(location, user_variables(task.user.user, service="doveadm", home=task.user.home))


def _location(task: Task, location: str) -> Location:
    return parse_location(task.user.user, task.user.home, _expanded(task, location))


def _side(task: Task, location: str, options: Options, watch: _Watch, stack: contextlib.ExitStack,
          say: Say) -> Side:
    if _is_imap(location):
        account = Account.of(task.settings, user=task.user.user)
        if task.option("T").isdigit():
            account = replace(account, timeout_s=float(task.option("T")))
        side = ImapSide(account, options, interrupted=watch.look)
        side.all_namespaces = task.has("N")
        stack.callback(side.close)
        _ = side.client
        say({"note": f"imapc({account.host}:{account.port}): Connected"})
        return side
    store_options = replace(StoreOptions.of(task.settings), separator="", prefix="", mailboxes=())
    store = open_store(task.user.user, home=task.user.home, location=_expanded(task, location), options=store_options)
    stack.callback(store.close)
    return StoreSide(store, location)


# --- options --------------------------------------------------------------------------------------------------------


def options_of(task: Task) -> Options:
    """From doveadm's letters; doveadm has looked at their values before."""
    letters: Mapping[str, list[str]] = task.request["options"]
    given: Mapping[str, Any] = task.request.get("sync", {})
    mirror = task.request["command"] == "backup"
    return Options(
        mode=Mode.MIRROR if mirror else Mode.ONE_WAY if "1" in letters else Mode.BOTH, reverse="R" in letters,
        mailboxes=tuple(letters.get("m", ())), exclude=tuple(letters.get("x", ())), guid=task.option("g"),
        since=given.get("since"), until=given.get("until"), max_size=given.get("max_size"), flag=task.option("O"),
        alternative=task.settings.text("dsync_alt_char") or "_", dry_run=bool(given.get("dry_run")),
        full="f" in letters, map_special=bool(given.get("map_special")), retries=max(3, _retries(task)),
        retry_s=task.settings.time_s("imapc_connection_retry_interval"))


def _retries(task: Task) -> int:
    return task.settings.number("imapc_connection_retry_count")
