"""doveadm's commands without the access service: it does not run, settings are overridden, or it is one's own mail.

    for line in carry_out(settings, request, content, own=False): ...      as access.doveadm says them
    names(settings, "*@example.test") -> user names that the user databases list

A child process with the user's rights does the work, as in the suite. With own there is no lookup: the user is who runs
doveadm, with the environment's HOME; as root, with the rights that mail_uid and mail_gid name.
"""

import asyncio
import fnmatch
import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from mailsuite.base.errors import ConfigError, MailError, TemporaryError
from mailsuite.sasl.user import UserInfo

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.net.privileges import Identity

EX_NOUSER, EX_TEMPFAIL = 67, 75
Said = dict[str, Any]


def carry_out(settings: "DovecotSettings", request: Mapping[str, Any], content: BinaryIO | None, *,
              own: bool) -> Iterator[Said]:
    """What the command says, its status last."""
    from mailsuite.access.identity import NotAllowed, identity_of

    here = settings.for_protocol("imap")
    name = str(request["user"])
    try:
        user = _myself(name) if own else _lookup(settings, name)
        if user is None:
            yield {"error": "User doesn't exist"}
            yield {"status": EX_NOUSER}
            return
        identity = identity_of(user, here)
        if "source" in request:
            source = _lookup(settings, str(request["source"]))
            if source is None:
                yield {"fatal": f"User {request['source']} doesn't exist"}
                yield {"status": EX_NOUSER}
                return
            request = {**request, "source": source.to_message()}
    except (TemporaryError, NotAllowed, ConfigError) as error:
        text = error.detail or error.public
        missing = text.startswith(f"User {name} is missing")
        yield {"error": f"Couldn't drop privileges: User{text.removeprefix(f'User {name}')}" if missing else text}
        yield {"status": EX_TEMPFAIL}
        return
    yield from _in_child(identity, user, here, request, content)


def _myself(name: str) -> UserInfo:
    uid, gid = (os.getuid(), os.getgid()) if os.geteuid() != 0 else (None, None)
    return UserInfo(name, uid, gid, os.environ.get("HOME", ""))


def _lookup(settings: "DovecotSettings", name: str) -> UserInfo | None:
    """The user databases' answer. Raises TemporaryError, ConfigErrors."""
    from mailsuite.sasl.master_client import user_info
    from mailsuite.sasl.service import AuthService

    service = AuthService(settings)
    try:
        found = asyncio.run(service.userdb(name, "doveadm", {}))
        return None if found is None else user_info(*found)
    finally:
        service.close()


def names(settings: "DovecotSettings", mask: str) -> Iterator[str]:
    """Users that fit a mask. Raises ConfigErrors; TemporaryError after those that were found, when some were not."""
    from mailsuite.sasl.service import AuthService

    service = AuthService(settings)
    try:
        found, complete = asyncio.run(service.userdbs.names())
        yield from (name for name in dict.fromkeys(found) if fnmatch.fnmatchcase(name, mask.replace("[", "[[]")))
        if not complete:
            raise TemporaryError("user listing failed", detail="not all user databases could list their users")
    finally:
        service.close()


def _in_child(identity: "Identity", user: UserInfo, settings: "DovecotSettings", request: Mapping[str, Any],
              content: BinaryIO | None) -> Iterator[Said]:
    """Run the command with the user's rights; what it says comes as it is said."""
    from mailsuite.access import doveadm, doveadm_sync  # before the fork: the user may not read our files
    from mailsuite.base import privilege
    from mailsuite.net.privileges import drop_privileges

    here, there = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            here.close()
            drop_privileges(identity)
            privilege.allow(identity.privileged_gid)
            os.umask(0o077)
            _serve(doveadm, doveadm_sync, user, settings, request, content, there)
        except BaseException as error:
            there.sendall(json.dumps({"error": f"{error}"}).encode() + b"\n")
        finally:
            os._exit(0)
    there.close()
    try:
        with here.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)
    finally:
        here.close()
        os.waitpid(pid, 0)


def _serve(doveadm: Any, doveadm_sync: Any, user: UserInfo, settings: "DovecotSettings", request: Mapping[str, Any],
           content: BinaryIO | None, sock: socket.socket) -> None:
    try:
        store = doveadm.open_user(user, settings)
    except MailError as error:
        text = error.detail or error.public
        if "unknown mailbox format: " in text:
            text = f"Namespace '': Unknown mail storage driver {text.rpartition(': ')[2]}"
        lines = [{"error": text}, {"status": EX_TEMPFAIL}]
        sock.sendall("".join(json.dumps(line) + "\n" for line in lines).encode())
        return
    try:
        if request["command"] in doveadm_sync.COMMANDS:
            octets = b"" if content is None else content.read()
            doveadm_sync.run(doveadm_sync.Task.of(request, user, settings, store, octets.decode("ascii", "replace"),
                                                  sock))
            return
        doveadm.serve(doveadm.Job(store, user, settings, request), -1 if content is None else os.dup(content.fileno()),
                      sock)
    finally:
        store.close()
