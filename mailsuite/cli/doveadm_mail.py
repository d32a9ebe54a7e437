"""doveadm's commands on mail: whose mail it is, who carries them out, what is printed.

A command goes to the access service, and by it to the process where all sessions of the user meet. When that does not
run, with -o, or for one's own mail as an ordinary user, it is carried out here (access.doveadm_direct).

Options of all these commands: -u USER or mask, -A all users, -F FILE with names, -S SOCKET.
"""

import json
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any, BinaryIO, NamedTuple

from mailsuite.cli.doveadm import EX_CONFIG, EX_NOUSER, EX_TEMPFAIL, EX_USAGE, Doveadm, Exit, print_usage
from mailsuite.cli.doveadm_print import Printer, own_name, printer_for

BLOCK = 64 * 1024
NO_USER = "User doesn't exist"


class Form(NamedTuple):
    """What a command takes. flags: options without a value; values: those with one; least, most: other arguments."""

    flags: str = ""
    values: str = ""
    least: int = 0
    most: int = 10**6
    formatter: str = "flow"


_QUERY = Form(least=1)
_NAMES = Form("s", least=1)
FORMS: dict[str, Form] = {
    "acl add": Form(least=3),
    "acl debug": Form(least=1, most=1),
    "acl delete": Form(least=2, most=2),
    "acl get": Form("m", least=1, most=1, formatter="table"),
    "acl recalc": Form(most=0),
    "acl remove": Form(least=3),
    "acl rights": Form(least=1, most=1, formatter="table"),
    "acl set": Form(least=3),
    "altmove": Form("r", least=1),
    "copy": Form(least=2),
    "deduplicate": Form("m", least=1),
    "export": Form(least=2),
    "expunge": Form("d", least=1),
    "fetch": Form(least=2, formatter="pager"),
    "flags add": Form(least=2),
    "flags remove": Form(least=2),
    "flags replace": Form(least=2),
    "force-resync": Form("f", least=1),
    "fts lookup": _QUERY,
    "fts optimize": Form(most=1),
    "fts rescan": Form(most=1),
    "fts tokenize": Form(least=1),
    "import": Form("s", "U", least=3),
    "index": Form("q", "n", least=1),
    "mailbox cache decision": Form(least=1, formatter="table"),
    "mailbox cache purge": Form(least=1),
    "mailbox cache remove": Form(least=1, formatter="table"),
    "mailbox create": Form("s", "g", least=1),
    "mailbox delete": Form("rseZ", least=1),
    "mailbox list": Form("78s"),
    "mailbox metadata get": Form("s", least=2, most=2),
    "mailbox metadata list": Form("sp", least=1, most=2),
    "mailbox metadata set": Form("s", least=3, most=3),
    "mailbox metadata unset": Form("s", least=2, most=2),
    "mailbox path": Form("", "t", least=1, most=1),
    "mailbox rename": Form("s", least=2, most=2),
    "mailbox status": Form("t", least=2),
    "mailbox subscribe": Form(least=1),
    "mailbox unsubscribe": Form(least=1),
    "mailbox update": Form(least=1, most=1),
    "move": Form(least=2),
    "purge": Form(most=0),
    "quota get": Form(most=0, formatter="table"),
    "quota recalc": Form(most=0),
    "save": Form("", "m", most=1),
    "search": _QUERY,
}
_PATH_TYPES = frozenset({"dir", "alt-dir", "mailbox", "alt-mailbox", "control", "index", "index-private", "index-cache",
                         "list-index"})
_UPDATES = frozenset({"mailbox-guid", "uid-validity", "min-next-uid", "min-first-recent-uid", "min-highest-modseq",
                      "min-highest-pvt-modseq"})


def mail(doveadm: Doveadm, arguments: list[str]) -> int:
    """The entry of all commands on mail."""
    form = FORMS[doveadm.command.words]
    if doveadm.command.words == "mailbox update":
        arguments, updates = _long_options(doveadm, arguments)
    else:
        updates = {}
    found, rest = doveadm.options(arguments, "uSF" + form.values, "A" + form.flags)
    if doveadm.command.words.startswith("acl "):
        end = rest.index("--") if "--" in rest else len(rest)
        if any(re.match("-[a-z-]+=", word) for word in rest[:end]):
            doveadm.usage()                     # Dovecot looks for options behind the names, too
        rest = rest[:end] + rest[end + 1:]
    _check(doveadm, form, found, rest)
    content = _content(doveadm, found, rest) if doveadm.command.words == "save" else None
    with content or nullcontext():
        return Command(doveadm, found | updates, rest, form, content).run()


def _check(doveadm: Doveadm, form: Form, found: dict[str, list[str]], rest: list[str]) -> None:
    """Raises Exit for arguments that cannot be."""
    if len(rest) > form.most and doveadm.command.words in ("purge", "mailbox rename", "save", "quota get",
                                                                   "quota recalc", "fts optimize", "fts rescan"):
        raise Exit(EX_USAGE, f"Error: Extraneous arguments found: {' '.join(rest[form.most:])}")
    if not form.least <= len(rest) <= form.most:
        doveadm.usage()
    if doveadm.command.words == "mailbox path" and "t" in found and found["t"][-1] not in _PATH_TYPES:
        doveadm.usage()
    guid = found.get("g", found.get("mailbox-guid", ["0" * 32]))[-1]
    if not re.fullmatch("[0-9a-fA-F]{32}", guid):
        doveadm.usage()
    if "n" in found and not found["n"][-1].isdecimal():
        raise Exit(EX_USAGE, f"Fatal: Invalid -n parameter number: {found['n'][-1]}")
    if doveadm.command.words in ("copy", "move") and rest[1].lower() == "user" and len(rest) < 4:
        doveadm.usage()


def _long_options(doveadm: Doveadm, arguments: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """mailbox update's --uid-validity 1 and the like; what is left."""
    rest, found = [], {}
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in _UPDATES:
            rest.append(word)
            continue
        if not equals:
            if not waiting:
                doveadm.usage()
            value = waiting.pop(0)
        good = re.fullmatch("[0-9a-fA-F]{32}", value) if name == "mailbox-guid" else value.isdecimal()
        if not good:
            doveadm.usage()
        found[name] = [value]
    return rest, found


def _content(doveadm: Doveadm, found: dict[str, list[str]], rest: list[str]) -> BinaryIO:
    """What `save` reads, in a file of our own: its descriptor goes to the worker, which reads it as the user."""
    file = tempfile.TemporaryFile()         # noqa: SIM115 (the caller closes it)
    try:
        if not rest:
            _copy(sys.stdin.buffer, file)
        else:
            with open(rest[0], "rb") as source:
                _copy(source, file)
    except OSError as error:
        file.close()
        user, box = (found.get("u") or [own_name()])[-1], found.get("m", ["INBOX"])[-1]
        why = f"read({rest[0]}) failed: open({rest[0]}) failed: {error.strerror}" if rest else str(error)
        bare = why.partition(" failed: ")[2] if rest else why
        raise Exit(EX_TEMPFAIL, f"doveadm({user}): Error: Mailbox {box}: Saving mail: save: {why}\n"
                   f"doveadm({user}): Error: read(msg input) failed: {bare}\n"
                   f"doveadm({user}): Error: Mailbox {box}: Saving mail: {why} (read reason=)") from error
    del rest[:]
    return file


def _copy(source: BinaryIO, target: Any) -> None:
    while octets := source.read(BLOCK):
        target.write(octets)
    target.flush()
    target.seek(0)


# Of commands that print a table, whether or not there is a user.
_TITLES = {"quota get": ("Quota name", "Type", "Value", "Limit", "%"), "acl get": ("ID", "Global", "Rights"),
           "acl rights": ("Rights",)}


class Command:
    """One command for one user or several."""

    def __init__(self, doveadm: Doveadm, found: dict[str, list[str]], rest: list[str], form: Form,
                 content: BinaryIO | None) -> None:
        self.doveadm, self.found, self.rest, self.content = doveadm, found, rest, content
        masked = any(char in (found.get("u") or [""])[-1] for char in "*?")
        self.several = "A" in found or "F" in found or masked
        self.own = "u" not in found and not self.several        # as whoever runs this, without a lookup
        self.printer: Printer = printer_for(doveadm.formatter or form.formatter,
                                            "" if self.several else self._single)
        self.status, self.ended = 0, False          # ended: by a fatal error, what is begun stays as it is

    @property
    def _single(self) -> str:
        return (self.found.get("u") or [own_name()])[-1]

    def run(self) -> int:
        if self.several:
            failed = self._each_user()
        else:
            self.status, failed = self._one(self._single), False
        if not self.ended:
            if (titles := _TITLES.get(self.doveadm.command.words)) is not None:
                self.printer.header(titles, right=titles[2:] if titles[0] != "ID" else ())      # also without a user
            self.printer.end()
        if self.several and self.doveadm.verbose:
            self.printer.write("\n")            # where Dovecot's progress ends
        sys.stdout.flush()
        if failed:
            print("doveadm: Error: Failed to iterate through some users", file=sys.stderr)
            return EX_TEMPFAIL
        return self.status

    def _each_user(self) -> bool:
        """Whether the list of users was cut short."""
        try:
            for user in self._users():
                status = self._one(user)
                self.status = self.status if status == EX_NOUSER else status or self.status
        except Exit as end:
            if end.text.startswith(("doveadm(", "Fatal", "doveadm:")):
                raise
            sys.stdout.flush()
            print(end.text, file=sys.stderr)
            return True
        return False

    def _users(self) -> Iterator[str]:
        if "F" in self.found:
            yield from self._listed(self.found["F"][-1])
            return
        mask = "*" if "A" in self.found else self.found["u"][-1]
        from mailsuite.access import doveadm_direct
        path = self.doveadm.socket_path("auth-userdb")
        if serves(path):
            yield from listed_names(path, mask)
        else:
            from mailsuite.base.errors import ConfigError, TemporaryError
            try:
                yield from doveadm_direct.names(self.doveadm.settings, mask)
            except TemporaryError as error:
                raise Exit(EX_TEMPFAIL, "Error: User listing returned failure") from error
            except ConfigError as error:
                raise Exit(EX_CONFIG, f"Fatal: {error.public}") from error

    @staticmethod
    def _listed(path: str) -> Iterator[str]:
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                for line in file:
                    yield line.rstrip("\r\n")
        except OSError as error:
            raise Exit(EX_TEMPFAIL, f"Error: read({path}) failed: open({path}) failed: {error.strerror}") from error

    # --- one user -------------------------------------------------------------------------------------------------

    def _one(self, user: str) -> int:
        """One user's part; the exit status."""
        request = {"command": self.doveadm.command.words, "arguments": self.rest, "options": self.found, "user": user}
        if self.doveadm.command.words in ("copy", "move") and len(self.rest) > 2 and self.rest[1].lower() == "user":
            request["source"] = self.rest[2]
        if self.content is not None:
            self.content.seek(0)
        here = self.doveadm.overrides or self.own and os.geteuid() == 0
        sock = None if here else self._connect(user)
        if sock is None:
            from mailsuite.access import doveadm_direct
            said = doveadm_direct.carry_out(self.doveadm.settings, request, self.content, own=self.own)
        else:
            said = self._ask(sock, request)
        for line in said:
            if "status" in line:
                return int(line["status"])
            self._take(user, line)
        raise Exit(EX_TEMPFAIL, f"doveadm({user}): Error: the access service ended the connection")

    def _connect(self, user: str) -> socket.socket | None:
        """The access service; None when the command has to be carried out here. Raises Exit."""
        path = self.found.get("S", [self.doveadm.socket_path("imap")])[-1]
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(path)
        except OSError as error:
            sock.close()
            if "S" not in self.found:
                return None
            raise Exit(EX_TEMPFAIL,
                       f"doveadm({user}): Fatal: net_connect_unix({path}) failed: {error.strerror}") from error
        return sock

    def _ask(self, sock: socket.socket, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        user = request["user"]
        octets = json.dumps({"doveadm": request}).encode() + b"\n"
        with sock:
            try:
                sent = socket.send_fds(sock, [octets], [self.content.fileno()] if self.content is not None else [])
                if sent < len(octets):      # sending nothing to one who has answered and gone would fail
                    sock.sendall(octets[sent:])
                with sock.makefile("rb") as lines:
                    for line in lines:
                        yield json.loads(line)
            except OSError as error:
                raise Exit(EX_TEMPFAIL, f"doveadm({user}): Error: {error.strerror}") from error

    def _take(self, user: str, said: dict[str, Any]) -> None:
        if "rows" in said:
            for row in said["rows"]:
                self.printer.row([user, *row] if self.several else row)
        elif "header" in said:
            titles, hidden, keys = said["header"], said["hidden"], said["keys"]
            if self.several:
                titles, hidden = ["Username", *titles], ["Username", *hidden]
                keys = ["username", *keys] if keys else []
            self.printer.header(titles, hidden=hidden, streams=said["streams"], right=said["right"],
                                keys=keys)
        else:
            sys.stdout.flush()
            if self.several and said.get("error") == NO_USER:
                print(f"doveadm({user}): Info: User no longer exists, skipping", file=sys.stderr)
            elif "info" in said:
                print(f"doveadm({user}): Info: {said['info']}", file=sys.stderr)
            elif "fatal" in said:
                self.ended = True
                print(f"{said.get('before', '')}Fatal: {said['fatal']}", file=sys.stderr)
            else:
                print(f"doveadm({user}): Error: {said['error']}", file=sys.stderr)


def serves(path: str) -> bool:
    """Whether somebody listens at a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
        except OSError:
            return False
    return True


def listed_names(path: str, mask: str) -> Iterable[str]:
    """Users of the running auth service that fit."""
    from mailsuite.cli.doveadm_auth import AuthSocket
    connection = AuthSocket(path, failing="Error: auth-master: userdb list")
    connection.greet_master()
    connection.say("LIST", "1", f"user={mask}", "service=doveadm")
    while (words := connection.hear())[0] == "LIST":
        yield words[2]
    if words[0] != "DONE" or "fail" in words[2:]:
        raise Exit(EX_TEMPFAIL, "Error: User listing returned failure")


def mutf7(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm mailbox mutf7: names between UTF-8 and the form that IMAP has them in."""
    from mailsuite.store.names import from_mutf7, to_mutf7

    found, rest = doveadm.options(arguments, "", "78")
    if not rest:
        doveadm.usage()
    status = 0
    for name in rest:
        if "7" not in found:
            print(to_mutf7(name))
            continue
        decoded = from_mutf7(name)
        if decoded is None:
            print(f"Error: Mailbox name not valid mUTF-7: {name}", file=sys.stderr)
            status = 65
        else:
            print(decoded)
    return status


def plugin(doveadm: Doveadm, arguments: list[str]) -> int:
    """acl and quota with what follows them, which there are only where the plugin is."""
    name = doveadm.command.words.partition(" ")[0]
    if name not in doveadm.settings.for_protocol("doveadm").text("mail_plugins").split():
        raise Exit(EX_TEMPFAIL,
                   f"Fatal: Unknown command '{name}', but plugin {name} exists. Try to set mail_plugins={name}")
    if doveadm.command.words == name:
        print_usage(name)
        raise Exit(EX_USAGE)
    return mail(doveadm, arguments)
