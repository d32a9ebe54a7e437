"""passdb and userdb { driver = checkpassword }: a program that is asked through its descriptors.

    program = Checkpassword("/usr/bin/checkpassword -x %d", account)
    answer = await program.check(request, password)          of a passdb;  Answer(fields) or None: wrong password
    answer = await program.look_up(request, scheme="")       AUTHORIZED=1: no password; None: no such user

The program reads "user NUL password NUL NUL" from descriptor 3, and when it agrees executes its last argument, our
reply program, which tells descriptor 4 the environment and the ids it finds. A program that took another uid is
believed only when it says INSECURE_SETUID, as others of that uid could have spoken in its place. Exit statuses: 1 the
password is wrong, 3 no such user (look_up), 111 a temporary failure, as everything else is; a program gets TIMEOUT_S
seconds. It runs with the rights of `service auth { user }`.
Source: https://cr.yp.to/checkpwd/interface.html, and what Dovecot 2.3 does.
"""

import asyncio
import contextlib
import fcntl
import grp
import os
import pwd
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.request import AuthRequest

TIMEOUT_S = 60.0
ANSWER_LIMIT = 65536             # octets of an environment
PROGRAMS_LIMIT = 100             # at the same time; more wait
# The whole environment, as names of variables need not be a shell's.
_REPLY = b"""#!/bin/sh
case "$AUTHORIZED" in 1) echo "Script doesn't support passdb/userdb lookup" >&2; exit 111;; esac
{ printf '%s\\0%s\\0' "$(id -u)" "$(id -g)" && exec env -0; } >&4 || exit 111
"""
# Descriptors 3 and 4 for the program, whose own output is for our log.
_SHELL = 'exec "$@" 3<&0 4>&1 0</dev/null 1>&2'
_NAMES = {"lip": ("TCPLOCALIP", "LOCAL_IP"), "rip": ("TCPREMOTEIP", "REMOTE_IP"), "lport": ("TCPLOCALPORT",),
          "rport": ("TCPREMOTEPORT",)}
_ALIASES = {"lip": "local_ip", "rip": "remote_ip", "lport": "local_port", "rport": "remote_port", "mech": "mechanism",
            "orig_user": "original_user", "orig_username": "original_username", "orig_domain": "original_domain"}


@dataclass(frozen=True)
class Answer:
    """fields: user, userdb_home, userdb_uid, userdb_gid, and those that EXTRA names."""

    fields: tuple[Field, ...]


def _reply_program() -> int:
    """A descriptor of the reply program. Not a file: it must be there for every uid, wherever we are installed."""
    fd = os.memfd_create("checkpassword-reply", 0)
    os.write(fd, _REPLY)
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)       # the low ones are the program's
    os.close(fd)
    return high


class Checkpassword:
    """One program with its arguments."""

    def __init__(self, args: str, account: str) -> None:
        self._words, self._account = args.split(), account
        if not self._words:
            raise ConfigError("checkpassword: Missing args: the program's path")
        self._reply = -1
        self._places = asyncio.Semaphore(PROGRAMS_LIMIT)

    async def check(self, request: AuthRequest, password: Secret) -> Answer | None:
        """Raises TemporaryError."""
        status, octets = await self._run(request, password.reveal(), {})
        if status == 1:
            return None
        if status != 0 or not octets:
            raise self._failed(request, status, octets)
        return Answer(self._fields(octets, request))

    async def look_up(self, request: AuthRequest, scheme: str = "") -> Answer | None:
        """scheme: the form in which a mechanism wants the password, which then is among the fields."""
        wanted = {"CREDENTIALS_LOOKUP": "1", "SCHEME": scheme} if scheme else {}
        status, octets = await self._run(request, b"", {"AUTHORIZED": "1", **wanted})
        if status == 3:
            return None
        if status != 0 or not octets or self._environment(octets).get("AUTHORIZED") != "2":
            raise self._failed(request, status, octets)
        return Answer(self._fields(octets, request))

    # --- the process ------------------------------------------------------------------------------------------------

    async def _run(self, request: AuthRequest, password: bytes, more: Mapping[str, str]) -> tuple[int, bytes]:
        """Exit status and what was said on descriptor 4."""
        if self._reply < 0:
            self._reply = _reply_program()
        user = request.user.encode("utf-8", "surrogateescape")
        command = [*(_safe(request.expand(word)) for word in self._words), f"/proc/self/fd/{self._reply}"]
        async with self._places:
            try:
                process = await asyncio.create_subprocess_exec(
                    "/bin/sh", "-c", _SHELL, "sh", *command, stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE, pass_fds=(self._reply,), cwd="/", start_new_session=True,
                    env=self._variables(request, more), limit=ANSWER_LIMIT, **self._rights())
            except (OSError, ValueError, KeyError) as error:
                raise TemporaryError("internal error", detail=f"cannot run {self._words[0]}: {error}") from error
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await _talk(process, user + b"\0" + password + b"\0\0")
            except TimeoutError:
                raise TemporaryError("internal error", detail=f"{self._words[0]} took too long: killed") from None
            finally:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, 9)               # with what it may have left behind
                await process.wait()

    def _rights(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        entry = pwd.getpwnam(self._account)
        if entry.pw_uid == 0:
            return {}
        return {"user": entry.pw_uid, "group": entry.pw_gid,
                "extra_groups": [group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem]}

    def _variables(self, request: AuthRequest, more: Mapping[str, str]) -> dict[str, str]:
        facts = request.facts
        found = {"PATH": os.defpath, "PROTO": "TCP", "SERVICE": request.service}
        for fact, names in _NAMES.items():
            if facts.get(fact):
                found |= dict.fromkeys(names, facts[fact])
        if request.wanted_user:
            found["MASTER_USER"] = request.wanted_user
        for name, value in request.variables().items():
            if name != "password" and re.fullmatch(r"[a-z_]+", name):
                found[f"AUTH_{name.upper()}"] = value
                if name in _ALIASES:
                    found[f"AUTH_{_ALIASES[name].upper()}"] = value
        found["ORIG_UID"] = str(self._own_uid())
        return {name: value.replace("\0", "") for name, value in (found | dict(more)).items()}

    def _own_uid(self) -> int:
        rights = self._rights()
        uid = rights.get("user", os.geteuid())
        return uid if isinstance(uid, int) else os.geteuid()

    # --- the answer -------------------------------------------------------------------------------------------------

    @staticmethod
    def _environment(octets: bytes) -> dict[str, str]:
        words = octets.decode("utf-8", "surrogateescape").split("\0")
        return dict(word.partition("=")[::2] for word in words[2:] if word)

    def _fields(self, octets: bytes, request: AuthRequest) -> tuple[Field, ...]:
        uid, gid, *_ = octets.decode("utf-8", "surrogateescape").split("\0")
        variables = self._environment(octets)
        if uid != variables.get("ORIG_UID") and "INSECURE_SETUID" not in variables:
            raise TemporaryError("internal error", detail=f"{self._words[0]} became another user, which is not safe: "
                                 "it should say userdb_uid instead, or INSECURE_SETUID")
        found: list[Field] = []
        if variables.get("USER"):
            found.append(("user", variables["USER"]))
        if "HOME" in variables:
            found.append(("userdb_home", variables["HOME"]))
        extra = [(name.lower(), variables[name]) for name in variables.get("EXTRA", "").split() if name in variables]
        names = {name for name, _ in extra}
        found += extra
        found += [(name, value) for name, value in (("userdb_uid", uid), ("userdb_gid", gid)) if name not in names]
        if any("\t" in (value or "") for name, value in found if name == "user"):
            raise TemporaryError("internal error", detail=f"{self._words[0]}: USER contains TAB")
        return tuple(found)

    def _failed(self, request: AuthRequest, status: int, octets: bytes) -> TemporaryError:
        if status == 0 and not octets:
            why = "Received no input"
        elif status < 0:
            why = f"Child died with signal {-status}"
        else:
            why = f"Child exited with status {status}"
        return TemporaryError("internal error", detail=f"{self._words[0]}: {why}")

    def close(self) -> None:
        if self._reply >= 0:
            os.close(self._reply)
            self._reply = -1


async def _talk(process: asyncio.subprocess.Process, question: bytes) -> tuple[int, bytes]:
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(ConnectionError, RuntimeError):        # it need not read
        process.stdin.write(question)
        process.stdin.close()
    octets = b""
    while block := await process.stdout.read(ANSWER_LIMIT):
        octets += block
        if len(octets) > ANSWER_LIMIT:
            raise TemporaryError("internal error", detail="a checkpassword program says too much")
    return await process.wait(), octets


def _safe(word: str) -> str:
    """No word of a command line may hold NUL."""
    return word.replace("\0", "")
