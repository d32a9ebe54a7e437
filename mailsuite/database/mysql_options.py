"""MySQL's option files (my.cnf): groups of "name = value", for what a table's own parameters do not say.

    read_options("/etc/mysql/mail.cnf", ["client", "postfix"]) -> {"user": "mail", "socket": "/run/mysqld/mysqld.sock"}
    read_options("", ["client"])        the files that MySQL's own programs read

Names are in one spelling: "ssl-ca" (not ssl_ca). A later group and a later file win. !include and !includedir are
followed to a depth of 5. A file that cannot be read counts as empty, as with MySQL's programs.
"""

import os
from collections.abc import Iterator, Sequence

DEFAULT_FILES = ("/etc/my.cnf", "/etc/mysql/my.cnf", "~/.my.cnf")
KNOWN = frozenset({"user", "password", "host", "port", "socket", "default-character-set", "ssl-ca", "ssl-capath",
                   "ssl-cert", "ssl-key", "ssl-cipher", "ssl-verify-server-cert"})
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "s": " ", '"': '"', "'": "'", "\\": "\\"}


def read_options(path: str, groups: Sequence[str]) -> dict[str, str]:
    """The options of these groups that a client needs."""
    lines = [line for file in ([path] if path else DEFAULT_FILES) for line in _lines(os.path.expanduser(file), 0)]
    found: dict[str, str] = {}
    for wanted in groups:
        for group, name, value in lines:
            if group == wanted and name in KNOWN:
                found[name] = value
    return found


def _lines(path: str, depth: int) -> Iterator[tuple[str, str, str]]:
    """(group, name, value) of a file and of those that it includes."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            text = file.read()
    except OSError:
        return
    group = ""
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("!") and depth < 5:
            word, _, target = line.partition(" ")
            for inner in _included(word, target.strip()):
                yield from _lines(inner, depth + 1)
        elif line.startswith("[") and line.endswith("]"):
            group = line[1:-1].strip()
        elif line and line[0] not in "#;!":
            name, _, value = line.partition("=")
            yield group, name.strip().replace("_", "-").removeprefix("loose-"), _value(value.strip())


def _included(word: str, target: str) -> list[str]:
    if word == "!include":
        return [target]
    try:
        return [os.path.join(target, name) for name in sorted(os.listdir(target)) if name.endswith(".cnf")]
    except OSError:
        return []


def _value(text: str) -> str:
    """Without quotes, or without a comment at the end; escapes resolved."""
    if len(text) > 1 and text[0] in "'\"" and text[-1] == text[0]:
        text = text[1:-1]
    elif " #" in text:
        text = text[:text.index(" #")].rstrip()
    parts, escaped = [], False
    for char in text:
        if escaped:
            parts.append(_ESCAPES.get(char, "\\" + char))
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append(char)
    return "".join(parts)
