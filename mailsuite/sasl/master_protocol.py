"""Server side of the master protocol (version 1.1): user lookups for delivery, doveadm and the access service.

    session = MasterSession(hub, write, close, kind, restricted_uid)

kind "userdb": USER, PASS, LIST (sockets named *userdb); "master": also REQUEST, CACHE-FLUSH, and GRANT-KEY, which is
ours: the access service brings the key of its grants (grant.py), in force until that connection ends.
restricted_uid: who connects to a socket that others may use as well sees his own entry only (None: all).
"""

import asyncio
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from mailsuite.base.errors import PeerError, TemporaryError
from mailsuite.base.lines import LineBuffer
from mailsuite.base.log import access_logger
from mailsuite.sasl import wire
from mailsuite.sasl.client_protocol import login_words
from mailsuite.sasl.grant import Sealer
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.service import AuthService

OPEN_LIMIT = 10000               # requests under way on one connection

log = access_logger("auth")


class MasterHub(Protocol):
    """What a connection needs of the server it belongs to."""

    service: AuthService
    sealer: Sealer | None

    def take(self, pid: int, number: int, cookie: str) -> tuple[AuthRequest, AuthService] | None:
        """A kept success, once."""
        ...

    def flush(self, users: Sequence[str]) -> int:
        """Forget what the cache knows of these users, or all; returns how many answers those were."""
        ...


class MasterSession:
    """One connection of a master."""

    def __init__(self, hub: MasterHub, write: Callable[[bytes], None], close: Callable[[], None], kind: str,
                 restricted_uid: int | None) -> None:
        self._hub, self._write, self._close = hub, write, close
        self._kind, self._restricted = kind, restricted_uid
        self._lines = LineBuffer(wire.LINE_LIMIT)
        self._versioned = self._over = False
        self._sealer: Sealer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def opened(self) -> None:
        self._write(wire.line("VERSION", "1", "1") + wire.line("SPID", str(os.getpid())))

    def feed(self, octets: bytes) -> None:
        if self._over:
            return
        self._lines.feed(octets)
        try:
            while not self._over and (line := self._lines.take_line()) is not None:
                self._on_line(wire.words(line))
        except PeerError as error:
            log.error("auth-master client: BUG: %s", error.detail or error.public)
            self.lost()
            self._close()

    def lost(self) -> None:
        self._over = True
        if self._sealer is not None and self._hub.sealer is self._sealer:
            self._hub.sealer = None
        for task in self._tasks:
            task.cancel()

    def _on_line(self, words: list[str]) -> None:
        if not self._versioned:
            if words[:2] != ["VERSION", "1"]:
                raise PeerError("Master not compatible with this server (mixed old and new binaries?)")
            self._versioned = True
            return
        handlers = {"USER": self._user, "PASS": self._pass, "LIST": self._list}
        if self._kind == "master":
            handlers |= {"REQUEST": self._request, "CACHE-FLUSH": self._cache_flush,
                         "PENALTIES": self._list_penalties}
            if words[0] == "GRANT-KEY":
                self._grant_key(words)
                return
        if words[0] not in handlers:
            raise PeerError(f"Unknown command in {self._kind} socket: " + "?".join(words)[:80])
        if len(words) < 2 or not (_is_number(words[1]) or words[0] == "CACHE-FLUSH"):
            raise PeerError(f"Master sent broken {words[0]}")
        self._start(words[1], handlers[words[0]](words))

    def _start(self, number: str, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= OPEN_LIMIT:
            work.close()
            self._write(wire.line("FAIL", number, "reason=too many requests"))
            return
        task = asyncio.get_running_loop().create_task(self._guard(number, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, number: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PeerError as error:
            log.error("auth-master client: BUG: %s", error.detail or error.public)
            self.lost()
            self._close()
        except TemporaryError as error:
            log.error("auth-master client: %s", error.detail or error.public)
            self._write(wire.line("FAIL", number, *([] if error.detail else [f"reason={error.public}"])))
        except Exception:
            log.exception("unforeseen in a lookup")
            self._write(wire.line("FAIL", number))

    def _lookup_facts(self, words: list[str]) -> dict[str, str]:
        if len(words) < 3:
            raise PeerError(f"Master sent broken {words[0]} request")
        facts = wire.fields(words[3:])
        if "service" not in facts:
            raise PeerError(f"Master sent {words[0]} request without service")
        return facts

    async def _user(self, words: list[str]) -> None:
        facts = self._lookup_facts(words)
        found = await self._hub.service.userdb(words[2], facts["service"], facts)
        if found is None:
            self._write(wire.line("NOTFOUND", words[1]))
        elif self._restricted is not None and found[1].get("uid") != str(self._restricted):
            log.error("auth-master client: userdb(%s): client doesn't have lookup permissions for this user: "
                      "userdb uid (%s) doesn't match peer uid (%d)", found[0], found[1].get("uid"), self._restricted)
            self._write(wire.line("FAIL", words[1], f"reason=not allowed to look up {found[0]}"))
        else:
            self._write(wire.line("USER", words[1], found[0], *_pairs(found[1])))

    async def _pass(self, words: list[str]) -> None:
        facts = self._lookup_facts(words)
        if self._restricted is not None:
            log.error("auth-master client: client doesn't have permissions to do a PASS lookup")
            self._write(wire.line("FAIL", words[1], "reason=not allowed"))
            return
        request = await self._hub.service.passdb(words[2], facts["service"], facts)
        if request is None:
            self._write(wire.line("NOTFOUND", words[1]))
        else:
            # Dovecot writes an empty word where there are only fields that nobody is told.
            fields = _pairs(request.client_fields()) or [""] * bool(request.fields or request.userdb_fields)
            self._write(wire.line("PASS", words[1], f"user={request.user}", *fields))

    async def _list(self, words: list[str]) -> None:
        if self._restricted is not None:
            log.error("auth-master client: client doesn't have permissions to list users")
            self._write(wire.line("FAIL", words[1], "reason=not allowed"))
            return
        names, complete = await self._hub.service.userdbs.names()
        pattern = wire.fields(words[2:]).get("user", "*") or "*"
        if pattern != "*":
            import fnmatch
            names = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        self._write(b"".join(wire.line("LIST", words[1], name) for name in names)
                    + wire.line("DONE", words[1], "" if complete else "fail"))

    async def _request(self, words: list[str]) -> None:
        if len(words) < 5 or not _is_number(words[2]) or not _is_number(words[3]):
            raise PeerError("Master sent broken REQUEST")
        if re.fullmatch("[0-9a-f]{32}", words[4]) is None:
            raise PeerError("Master sent broken REQUEST cookie")
        kept = self._hub.take(int(words[2]), int(words[3]), words[4])
        if kept is None:
            log.error("Master requested auth for nonexistent client %s, request %s", words[2], words[3])
            self._write(wire.line("FAIL", words[1]))
            return
        request, service = kept
        found = await service.userdb_after_login(request)
        if found is None:
            log.error("user %s: Authenticated user not found from userdb, auth lookup id=%s", request.user, words[1])
            self._write(wire.line("NOTFOUND", words[1]))
            return
        self._write(wire.line("USER", words[1], *login_words(request, *found)))

    def _grant_key(self, words: list[str]) -> None:
        """The last access service that came is the one in force."""
        try:
            self._sealer = self._hub.sealer = Sealer(bytes.fromhex(words[1]))
        except (IndexError, ValueError):
            raise PeerError("Master sent broken GRANT-KEY") from None

    async def _cache_flush(self, words: list[str]) -> None:
        self._write(wire.line("OK", words[1], str(self._hub.flush(words[2:]))))


    async def _list_penalties(self, words: list[str]) -> None:
        """Who guesses passwords, for doveadm penalty; not Dovecot's, whose anvil tells that."""
        penalties = self._hub.service.penalties
        lines = [wire.line("PENALTY", words[1], network, str(wrong), str(int(age_s)))
                 for network, wrong, age_s in (penalties.wrong() if penalties is not None else ())]
        self._write(b"".join(lines) + wire.line("DONE", words[1]))


def _is_number(word: str) -> bool:
    """One that Dovecot takes as an id: 32 bits."""
    return word.isascii() and word.isdecimal() and len(word) <= 10 and int(word) < 2**32


def _pairs(fields: dict[str, str]) -> list[str]:
    return [f"{name}={value}" if value else name for name, value in fields.items()]
