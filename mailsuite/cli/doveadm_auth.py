"""doveadm auth test|login|lookup|cache flush: asks the running auth service."""

import os
import socket
import sys
from base64 import b64encode
from collections.abc import Iterator

from mailsuite.cli.doveadm import EX_NOPERM, EX_NOUSER, EX_TEMPFAIL, EX_USAGE, Doveadm, Exit
from mailsuite.sasl import wire

TIMEOUT_S = 60.0


class AuthSocket:
    """A blocking connection to the auth service: lines of words.

    Raises Exit when it is not there: with `status`, and `failing` (what was wanted) in front of the reason.
    """

    def __init__(self, path: str, *, failing: str = "", status: int = EX_TEMPFAIL) -> None:
        self.path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.settimeout(TIMEOUT_S)
        try:
            self._sock.connect(path)
        except OSError as error:
            failing = failing or f"Error: auth-client: conn unix:{path}"
            raise Exit(status, f"{failing}: connect({path}) failed: {error.strerror}") from error
        self._file = self._sock.makefile("rb")

    def say(self, *words: str) -> None:
        self._sock.sendall(wire.line(*words))

    def hear(self) -> list[str]:
        """The next line's words. Raises Exit at the end."""
        try:
            line = self._file.readline(wire.LINE_LIMIT)
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise Exit(EX_TEMPFAIL, f"doveadm: Fatal: auth connection {self.path} was closed")
        return wire.words(line[:-1])

    def greet_master(self) -> None:
        """The master protocol's handshake."""
        self.say("VERSION", "1", "1")
        while self.hear()[0] != "SPID":
            pass

    def greet_client(self) -> str:
        """The client protocol's handshake; returns the connection's cookie."""
        self.say("VERSION", "1", "2")
        self.say("CPID", str(os.getpid()))
        cookie = ""
        while (words := self.hear())[0] != "DONE":
            if words[0] == "COOKIE":
                cookie = words[1]
        return cookie


def auth_info(found: dict[str, list[str]]) -> list[str]:
    """The words that -x options stand for, service first."""
    words = {"service": "doveadm"}
    for option in found.get("x", []):
        name, equals, value = option.partition("=")
        if equals and name in ("service", "lip", "rip", "lport", "rport", "session", "local_name"):
            words[name] = value         # others are passed over in silence
    return [f"{name}={value}" for name, value in words.items()]


def ask_password(prompt: str = "Password: ") -> str:
    """From the terminal without echo, or a line of standard input."""
    if sys.stdin.isatty():
        import getpass
        return getpass.getpass(prompt)
    return sys.stdin.readline().rstrip("\n")


def _authenticate(doveadm: Doveadm, found: dict[str, list[str]], rest: list[str], path: str) -> tuple[
        list[str], str]:
    """The answer to a PLAIN login, and the connection's cookie; the connection stays open in _OPEN."""
    if not rest:
        doveadm.usage()
    if len(rest) > 2:
        raise Exit(EX_USAGE, f"Error: Extraneous arguments found: {rest[2]}")
    user, password = rest[0], rest[1] if len(rest) > 1 else ask_password()
    master = found.get("M", [""])[0]
    plain = "\0".join((user, master, password)) if master else f"\0{user}\0{password}"
    connection = AuthSocket(path, status=EX_NOPERM)
    cookie = connection.greet_client()
    response = b64encode(plain.encode("utf-8", "surrogateescape")).decode()
    connection.say("AUTH", "1", "PLAIN", *auth_info(found), f"resp={response}")
    words = connection.hear()
    _OPEN.append(connection)
    print(f"passdb: {user} auth {'succeeded' if words[0] == 'OK' else 'failed'}")
    shown = words[2:]
    if shown:
        print("extra fields:")
        for word in shown:
            print(f"  {word}")
    return words, cookie


_OPEN: list[AuthSocket] = []         # closing a client's connection may end what it began


def _status(words: list[str]) -> int:
    if words[0] == "OK":
        return 0
    return EX_TEMPFAIL if "code=temp_fail" in words else EX_NOPERM


def test(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm auth test."""
    found, rest = doveadm.options(arguments, "axM")
    words, _ = _authenticate(doveadm, found, rest, found.get("a", [doveadm.socket_path("auth-client")])[-1])
    return _status(words)


def login(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm auth login: as test, and then the user database as after a login."""
    found, rest = doveadm.options(arguments, "amxM")
    words, cookie = _authenticate(doveadm, found, rest, found.get("a", [doveadm.socket_path("auth-login")])[-1])
    if words[0] != "OK":
        return _status(words)
    try:
        master = AuthSocket(found.get("m", [doveadm.socket_path("auth-master")])[-1],
                            failing="Error: auth-master: login")
    except Exit as error:
        raise Exit(EX_NOPERM, f"{error.text}\n{error.text}\nError: userdb lookup failed: Internal error occurred. "
                              "Refer to server log for more information.") from error
    master.greet_master()
    master.say("REQUEST", "1", str(os.getpid()), "1", cookie)
    answer = master.hear()
    if answer[0] != "USER":
        print("userdb lookup failed")
        return EX_TEMPFAIL if answer[0] == "FAIL" else EX_NOUSER
    print("userdb extra fields:")
    for word in answer[2:]:
        print(f"  {word}")
    return 0


def lookups(doveadm: Doveadm, path: str, command: str, users: list[str], info: list[str]) -> Iterator[
        tuple[str, list[str]]]:
    """Each user with the words of the answer."""
    kind = "userdb" if command == "USER" else "passdb"
    failing = f"Error: auth-master: {kind} lookup({users[0]})"
    try:
        connection = AuthSocket(path, failing=failing if kind == "passdb" else f"doveadm({users[0]}): {failing}")
    except Exit as error:
        if kind == "passdb":
            error.text += f"\nError: passdb lookup failed for {users[0]}"
        raise
    connection.greet_master()
    for number, user in enumerate(users, 1):
        connection.say(command, str(number), user, *info)
        yield user, connection.hear()


def print_fields(kind: str, user: str, words: list[str]) -> None:
    """"passdb: alice" and the fields below it."""
    print(f"{kind}: {user}")
    for word in words:
        name, equals, value = word.partition("=")
        print(f"  {name:<10}: {value}" if equals else f"  {name:<10}")


def lookup(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm auth lookup."""
    found, rest = doveadm.options(arguments, "axf")
    if not rest:
        doveadm.usage()
    path = found.get("a", [doveadm.socket_path("auth-userdb")])[-1]
    status, first = 0, True
    for user, words in lookups(doveadm, path, "PASS", rest, auth_info(found)):
        if not first:
            print()
        first = False
        if words[0] == "NOTFOUND":
            print(f"passdb lookup: user {user} doesn't exist")
            status = EX_NOUSER
        elif words[0] != "PASS":
            reason = wire.fields(words[2:]).get("reason", "")
            if not reason:
                print(f"Error: auth-master: passdb lookup({user}): Auth PASS lookup failed", file=sys.stderr)
            print(f"Error: passdb lookup failed for {user}{': ' + reason if reason else ''}", file=sys.stderr)
            status = EX_TEMPFAIL
        elif "f" in found:
            fields = wire.fields(words[2:])
            if found["f"][-1] in fields:
                print(fields[found["f"][-1]])
        else:
            print_fields("passdb", user, words[2:])
    return status


def cache_flush(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm auth cache flush."""
    found, rest = doveadm.options(arguments, "a")
    try:
        master = AuthSocket(found.get("a", [doveadm.socket_path("auth-master")])[-1],
                            failing="Error: auth-master: auth cache flush")
    except Exit as error:           # as Dovecot's: there is nothing in a cache that is not there
        print(error.text, file=sys.stderr)
        print("0 cache entries flushed")
        return 0
    master.greet_master()
    master.say("CACHE-FLUSH", "1", *rest)
    words = master.hear()
    if words[0] != "OK":
        raise Exit(EX_TEMPFAIL, "doveadm: Fatal: auth cache flush failed")
    print(f"{words[2] if len(words) > 2 else 0} cache entries flushed")
    return 0


def penalty(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm penalty: networks from which passwords are guessed, with how many wrong ones came lately."""
    import time
    from ipaddress import ip_network

    from mailsuite.cli.doveadm_print import printer_for

    found, rest = doveadm.options(arguments, "a")
    try:
        wanted = ip_network(rest[0], strict=False) if rest else None
    except ValueError as error:
        raise Exit(EX_USAGE, f"Error: Invalid netmask '{rest[0]}' given") from error
    path = found.get("a", [doveadm.socket_path("auth-master")])[-1]
    connection = AuthSocket(path, failing=f"Fatal: net_connect_unix({path}) failed")
    connection.greet_master()
    connection.say("PENALTIES", "1")
    printer = printer_for(doveadm.formatter or "table")
    printer.header(["IP", "penalty", "last_penalty", "last_update"])
    now = time.time()
    while (words := connection.hear())[0] == "PENALTY":
        network, when = ip_network(words[2], strict=False), time.localtime(now - int(words[4]))
        if wanted is None or network.version == wanted.version and network.overlaps(wanted):
            shown = str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
            printer.row([shown, words[3], time.strftime("%Y-%m-%d %H:%M:%S", when), time.strftime("%H:%M:%S", when)])
    printer.end()
    return 0
