"""doveadm's commands on mail: asks the user's worker, through the access service, and prints what it says.

The formatters are Dovecot's: flow ("a=1 b=2"), tab, pager ("a: 1", a form feed between records), table.
"""

import getpass
import json
import os
import shutil
import socket
import sys
import tempfile
from typing import Any, BinaryIO

from mailsuite.cli.doveadm import EX_TEMPFAIL, EX_USAGE, Doveadm, Exit

FLAGS = "As78tmreZ"
VALUES = "uSg"


class Printer:
    """Prints rows in a form. hidden: titles that the flow form leaves out."""

    def __init__(self, form: str, hidden: tuple[str, ...]) -> None:
        self._form, self._hidden = form, hidden
        self._titles: list[str] = []
        self._begun = self._rows = False

    def header(self, titles: list[str]) -> None:
        self._titles = titles
        if self._form == "tab" and not self._begun:
            print("\t".join(titles))
        self._begun = True

    def row(self, values: list[str]) -> None:
        if self._form == "tab":
            print("\t".join(value.replace("\t", "\\t").replace("\n", "\\n") for value in values))
        elif self._form == "pager":
            if self._rows:
                print("\f")
            self._rows = True
            for title, value in zip(self._titles, values, strict=True):
                print(f"{title}:\n{value}" if "\n" in value else f"{title}: {value}",
                      end="" if value.endswith("\n") else "\n")
        elif self._form == "json":
            print(json.dumps(dict(zip(self._titles, values, strict=True))))
        else:
            print(" ".join(value if title in self._hidden else f"{title}={value}"
                           for title, value in zip(self._titles, values, strict=True)))


def _users(doveadm: Doveadm, found: dict[str, list[str]]) -> list[str]:
    if "A" in found:
        from mailsuite.cli.doveadm_auth import AuthSocket
        connection = AuthSocket(doveadm.socket_path("auth-userdb"))
        connection.greet_master()
        connection.say("LIST", "1", "user=*", "service=doveadm")
        names = []
        while (words := connection.hear())[0] == "LIST":
            names.append(words[2])
        return names
    return found.get("u") or [os.environ.get("USER") or getpass.getuser()]


def _ask(doveadm: Doveadm, user: str, arguments: list[str], found: dict[str, list[str]], content: int,
         printer: Printer) -> int:
    """One user's part; the exit status."""
    path = found.get("S", [doveadm.socket_path("imap")])[-1]
    request = {"doveadm": {"command": doveadm.command.words, "arguments": arguments, "options": found, "user": user}}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(path)
            fds = [content] if content >= 0 else []
            octets = json.dumps(request).encode() + b"\n"
            sent = socket.send_fds(sock, [octets], fds)
            if sent < len(octets):          # sending nothing to one who has answered and gone would fail
                sock.sendall(octets[sent:])
        except OSError as error:
            raise Exit(EX_TEMPFAIL, f"doveadm({user}): Error: connect({path}) failed: {error.strerror}") from error
        with sock.makefile("rb") as lines:
            for line in lines:
                said: dict[str, Any] = json.loads(line)
                if "row" in said:
                    printer.row(said["row"])
                elif "header" in said:
                    printer.header(said["header"])
                elif "status" in said:
                    return int(said["status"])
                else:
                    sys.stdout.flush()
                    print(f"Fatal: {said['fatal']}" if "fatal" in said else f"doveadm({user}): Error: {said['error']}",
                          file=sys.stderr)
    raise Exit(EX_TEMPFAIL, f"doveadm({user}): Error: the access service ended the connection")


def _run(doveadm: Doveadm, found: dict[str, list[str]], arguments: list[str], *, form: str = "flow",
         hidden: tuple[str, ...] = (), content: int = -1) -> int:
    printer = Printer(doveadm.formatter or form, hidden)
    status = 0
    for user in _users(doveadm, found):
        status = _ask(doveadm, user, arguments, found, content, printer) or status
    return status


def _command(doveadm: Doveadm, arguments: list[str], least: int, most: int = 10**6, *,
             values: str = VALUES) -> tuple[dict[str, list[str]], list[str]]:
    flags = "".join(letter for letter in FLAGS if letter not in values)
    found, rest = doveadm.options(arguments, values, flags)
    if not least <= len(rest) <= most:
        doveadm.usage()
    return found, rest


def names(doveadm: Doveadm, arguments: list[str]) -> int:
    """Commands on one or more mailboxes."""
    found, rest = _command(doveadm, arguments, 1)
    return _run(doveadm, found, rest)


def list_(doveadm: Doveadm, arguments: list[str]) -> int:
    found, rest = _command(doveadm, arguments, 0)
    return _run(doveadm, found, rest, hidden=("mailbox",))


def rename(doveadm: Doveadm, arguments: list[str]) -> int:
    found, rest = _command(doveadm, arguments, 2, 2)
    return _run(doveadm, found, rest)


def status(doveadm: Doveadm, arguments: list[str]) -> int:
    found, rest = _command(doveadm, arguments, 2)
    return _run(doveadm, found, rest, hidden=("mailbox",))


def query(doveadm: Doveadm, arguments: list[str]) -> int:
    """search and expunge."""
    found, rest = _command(doveadm, arguments, 1)
    return _run(doveadm, found, rest, hidden=("mailbox-guid", "uid"))


def fetch(doveadm: Doveadm, arguments: list[str]) -> int:
    found, rest = _command(doveadm, arguments, 2)
    return _run(doveadm, found, rest, form="pager")


def transfer(doveadm: Doveadm, arguments: list[str]) -> int:
    """copy, move and flags: something, and a query."""
    found, rest = _command(doveadm, arguments, 2)
    if doveadm.command.words in ("copy", "move") and rest[1].lower() == "user":
        raise Exit(EX_USAGE, f"Fatal: {doveadm.command.words}: another user's mail cannot be a source here")
    return _run(doveadm, found, rest)


def save(doveadm: Doveadm, arguments: list[str]) -> int:
    """A message from standard input, or from files."""
    found, rest = _command(doveadm, arguments, 0, values=VALUES + "m")
    if not rest:
        return _save(doveadm, found, sys.stdin.buffer)
    result = 0
    for path in rest:
        with open(path, "rb") as file:
            result = _save(doveadm, found, file) or result
    return result


def _save(doveadm: Doveadm, found: dict[str, list[str]], source: BinaryIO) -> int:
    """By way of a file of our own: its descriptor goes to the worker, which reads it as the user."""
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(source, file)
        file.flush()
        file.seek(0)
        return _run(doveadm, found, [], content=file.fileno())
