"""The other side of the auth service: who is behind a login, and what the databases say of a user.

    master = AuthMaster("/run/dovecot/auth-master")     or .../auth-userdb, for userdb lookups alone
    user = await master.userdb("alice", service="lmtp")            UserInfo, or None: no such user
    user = await master.request(client_pid, request_id, cookie)    whose login that was; None: unknown or too old
    fields = await master.passdb("alice", service="doveadm")       extra fields of the password database, or None
    names = await master.users("*")                                all users that the databases can list

Connects when first asked. Raises: TemporaryError when the service is away or the databases could not be asked.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from functools import lru_cache

from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import TemporaryError
from mailsuite.base.streams import put
from mailsuite.sasl import wire
from mailsuite.sasl.grant import Keys, new_key
from mailsuite.sasl.user import UserInfo

ANSWER_TIMEOUT_S = 150.0
CONNECT_TIMEOUT_S = 30.0
LIST_LIMIT = 1_000_000           # users in one answer


class AuthMaster:
    """One connection to an auth-master or auth-userdb socket; many requests may be under way.

    takes_grants: the service is given a key for grants, one for each connection, and may say with a login's success
    what `request` would; `granted` reads that. For sockets of our own auth service only.
    """

    def __init__(self, path: str, *, takes_grants: bool = False) -> None:
        self.path, self._takes_grants = path, takes_grants
        self._keys: Keys | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._waiting: dict[str, asyncio.Queue[list[str]]] = {}
        self._last_id = 0
        self._connecting = asyncio.Lock()
        self._reading: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Before the first question: what can be granted is from here on. A service that is away is told of later."""
        with contextlib.suppress(TemporaryError):
            await self._connect()

    async def userdb(self, user: str, *, service: str, peer: Peer | None = None) -> UserInfo | None:
        """What the user databases say of a user; None when there is none of that name."""
        words = await self._ask("USER", user, f"service={service}", *_facts(peer))
        return None if words[0] == "NOTFOUND" else user_info(words[2], wire.fields(words[3:]))

    async def passdb(self, user: str, *, service: str, peer: Peer | None = None) -> Mapping[str, str] | None:
        """The password database's extra fields, without the password; None when it has no such user."""
        words = await self._ask("PASS", user, f"service={service}", *_facts(peer))
        return None if words[0] == "NOTFOUND" else wire.fields(words[2:])

    async def request(self, client_pid: int, request_id: int, cookie: str) -> UserInfo | None:
        """The user of a successful login of the client that named itself client_pid; each can be asked for once."""
        words = await self._ask("REQUEST", str(client_pid), str(request_id), cookie)
        return None if words[0] == "NOTFOUND" else user_info(words[2], wire.fields(words[3:]))

    def granted(self, about: bytes, grant: str, *, use: bool) -> UserInfo | None:
        """The user of a login whose process brought a grant; None when it is not good, or not any more. use: it is used
        up by this."""
        octets = self._keys.open(about, grant, use=use) if self._keys is not None else None
        return None if octets is None else granted_user(octets)

    def key_of(self, rights: str) -> bytes | None:
        """What opens grants of these rights; None while there is no connection."""
        return None if self._keys is None else self._keys.of(rights)

    async def users(self, pattern: str = "*", *, service: str = "doveadm") -> list[str]:
        """Names of all users that the databases can enumerate and that fit the pattern (*, ?)."""
        names: list[str] = []
        number, answers = await self._send("LIST", f"user={pattern}", f"service={service}")
        try:
            while (words := await self._answer(answers))[0] == "LIST" and len(names) < LIST_LIMIT:
                names.append(words[2])
        finally:
            self._waiting.pop(number, None)
        _refuse_failure(words)
        return names

    async def cache_flush(self) -> None:
        """Have the service read its files anew."""
        await self._ask("CACHE-FLUSH")

    def close(self) -> None:
        self._lose()

    # --- the connection -----------------------------------------------------------------------------------------

    async def _ask(self, command: str, *words: str) -> list[str]:
        number, answers = await self._send(command, *words)
        try:
            reply = await self._answer(answers)
        finally:
            self._waiting.pop(number, None)
        _refuse_failure(reply)
        if reply[0] in ("USER", "PASS") and len(reply) < 3:
            raise TemporaryError("authentication is not available", detail=f"{self.path}: broken reply")
        return reply

    async def _send(self, command: str, *words: str) -> "tuple[str, asyncio.Queue[list[str]]]":
        await self._connect()
        self._last_id = self._last_id % 0x7FFFFFFF + 1
        number = str(self._last_id)
        answers: asyncio.Queue[list[str]] = asyncio.Queue()
        self._waiting[number] = answers
        assert self._writer is not None
        try:
            put(self._writer, wire.line(command, number, *words))
        except ConnectionError as error:
            self._waiting.pop(number)
            raise TemporaryError("authentication is not available", detail=f"{self.path}: {error}") from error
        return number, answers

    async def _answer(self, answers: "asyncio.Queue[list[str]]") -> list[str]:
        try:
            return await asyncio.wait_for(answers.get(), ANSWER_TIMEOUT_S)
        except TimeoutError as error:
            raise TemporaryError("authentication is not available", detail=f"{self.path}: no answer") from error

    async def _connect(self) -> None:
        if self._writer is not None:
            return
        async with self._connecting:
            if self._writer is not None:
                return
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    reader, writer = await asyncio.open_unix_connection(self.path, limit=wire.LINE_LIMIT * 4)
                    writer.write(wire.line("VERSION", "1", "1"))
                    version = wire.words((await reader.readuntil(b"\n"))[:-1])
                if version[:2] != ["VERSION", "1"]:
                    writer.close()
                    raise ValueError("speaks another version of the protocol")
            except (OSError, TimeoutError, ValueError, EOFError) as error:
                raise TemporaryError("authentication is not available", detail=f"{self.path}: {error}") from error
            if self._takes_grants:
                key = new_key()
                self._keys = Keys(key)
                writer.write(wire.line("GRANT-KEY", key.hex()))
            self._writer = writer
            self._reading = asyncio.get_running_loop().create_task(self._read(reader, writer))

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while octets := await reader.readline():
                words = wire.words(octets.rstrip(b"\n"))
                if len(words) > 1 and (answers := self._waiting.get(words[1])) is not None:
                    answers.put_nowait(words)
        except (OSError, ValueError):
            pass
        finally:
            if self._writer is writer:
                self._lose()
            writer.close()

    def _lose(self) -> None:
        writer, self._writer = self._writer, None
        self._keys = None
        if writer is not None:
            writer.close()
        for number, answers in self._waiting.items():
            answers.put_nowait(["FAIL", number, "reason=connection lost"])


def granted_user(octets: bytes) -> UserInfo:
    """What a grant holds. Raises TemporaryError."""
    # What may be a password, such as a remote server's, is not kept beyond its session.
    return _granted.__wrapped__(octets) if b"pass" in octets.lower() else _granted(octets)


@lru_cache(maxsize=1024)
def _granted(octets: bytes) -> UserInfo:
    words = wire.words(octets.rstrip(b"\n"))
    return user_info(words[0], wire.fields(words[1:]))


def _refuse_failure(words: list[str]) -> None:
    if words[0] == "FAIL":
        fields = wire.fields(words[2:])
        raise TemporaryError(fields.get("reason") or "authentication is not available", detail="\t".join(words))


def _facts(peer: Peer | None) -> list[str]:
    if peer is None or not peer.address:
        return []
    return [f"lip={peer.server_address}", f"rip={peer.address}", f"lport={peer.server_port}", f"rport={peer.port}"]


def user_info(name: str, fields: dict[str, str]) -> UserInfo:
    """A USER reply as a value. Raises TemporaryError for a uid or gid that is no number."""
    uid, gid = fields.pop("uid", ""), fields.pop("gid", "")
    home = fields.pop("home", "")
    for number in (uid, gid):
        if number and not number.isdecimal():
            raise TemporaryError("authentication is not available", detail=f"user {name}: {number!r} is no uid or gid")
    return UserInfo(name, int(uid) if uid else None, int(gid) if gid else None, home, fields)
