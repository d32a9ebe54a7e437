"""Entries of an ACL: whom they are for, how a dovecot-acl file writes them, what they give.

    entries = parse("user=bob lr\n-user=bob r\nanyone l\n")       sorted, one for each identifier
    text(entries)                                                 the file again
    granted(entries, Who("bob", groups={"staff"})) -> {"l"}

A line is IDENTIFIER [LETTERS] [:NAME NAME...], the identifier in quotes when it holds blanks, "-" in front of it for
rights that are taken away. Identifiers: anyone, authenticated, group=, owner, user=, group-override=, in this order: a
later kind replaces what an earlier one gave, and the administrator's own ACLs come last. Entries of several groups add
up. What is taken away is replaced by what a later kind takes away, too, and counts against all that was given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum

from mailsuite.acl.rights import ALL, BY_NAME, NONE, Rights, file_text

MAX_ENTRIES = 10_000            # of one ACL


class BadAcl(Exception):
    """A text that is no ACL; says where."""


class Kind(IntEnum):
    """In the order in which they are applied."""

    ANYONE = 0
    AUTHENTICATED = 1
    GROUP = 2
    OWNER = 3
    USER = 4
    GROUP_OVERRIDE = 5


_PLAIN = {"anyone": Kind.ANYONE, "authenticated": Kind.AUTHENTICATED, "owner": Kind.OWNER}
_NAMED = {"group": Kind.GROUP, "user": Kind.USER, "group-override": Kind.GROUP_OVERRIDE}
_WORDS = {kind: word for word, kind in (*_PLAIN.items(), *_NAMED.items())}


@dataclass(frozen=True, order=True)
class Identifier:
    """everywhere: of the administrator's ACLs."""

    everywhere: bool
    kind: Kind
    name: str = ""

    def __str__(self) -> str:
        word = _WORDS[self.kind]
        return f"{word}={self.name}" if self.kind in _NAMED.values() else word


@dataclass(frozen=True)
class Entry:
    """rights, denied: None where nothing is said of them."""

    who: Identifier
    rights: Rights | None = None
    denied: Rights | None = None


@dataclass(frozen=True)
class Who:
    """A user who wants something. owner: the namespace is the user's own."""

    user: str
    groups: frozenset[str] = field(default=frozenset())
    owner: bool = False

    def matches(self, entry: Entry) -> bool:
        match entry.who.kind:
            case Kind.USER:
                return entry.who.name == self.user
            case Kind.GROUP | Kind.GROUP_OVERRIDE:
                return entry.who.name in self.groups
            case Kind.OWNER:
                return self.owner
        return True


def parse_identifier(text: str, *, everywhere: bool = False) -> Identifier:
    """Raises BadAcl."""
    word, equals, name = text.partition("=")
    if equals and word in _NAMED:
        return Identifier(everywhere, _NAMED[word], name)
    if not equals and word in _PLAIN:
        return Identifier(everywhere, _PLAIN[word])
    raise BadAcl(f"Unknown ID '{text}'")


def parse_rights(text: str) -> Rights:
    """"lr :expunge": letters, and names behind a colon; a name that we don't know is read over. Raises BadAcl."""
    letters, _, words = text.partition(":")
    letters = letters.strip()
    for letter in letters:
        if letter not in ALL:
            raise BadAcl(f"Unknown ACL '{letter}'")
    return frozenset(letters) | {BY_NAME[word] for word in words.split() if word in BY_NAME}


def parse_line(line: str, *, everywhere: bool = False) -> Entry:
    """Raises BadAcl."""
    taken = line.startswith("-")
    line = line[taken:]
    if line.startswith('"'):
        name, end, rest = _quoted(line)
        if not end:
            raise BadAcl("Missing '\"' from ACL ID")
        denied = name.startswith("-")           # '"-user=a b"' is read, too
        taken, name = taken or denied, name[denied:]
    else:
        name, _, rest = line.partition(" ")
    who, rights = parse_identifier(name, everywhere=everywhere), parse_rights(rest)
    return Entry(who, None, rights) if taken else Entry(who, rights)


def _quoted(line: str) -> tuple[str, bool, str]:
    """A string in quotes at the beginning, whether it ends, and what follows."""
    out: list[str] = []
    at = 1
    while at < len(line):
        if line[at] == "\\" and at + 1 < len(line):
            at += 1
        elif line[at] == '"':
            return "".join(out), True, line[at + 1:]
        out.append(line[at])
        at += 1
    return "", False, ""


def parse(content: str, *, everywhere: bool = False) -> list[Entry]:
    """Raises BadAcl with the line's number."""
    found = []
    for number, line in enumerate(content.split("\n"), 1):
        line = line.removesuffix("\r")
        if not line or line.startswith("#"):
            continue
        try:
            found.append(parse_line(line, everywhere=everywhere))
        except BadAcl as error:
            raise BadAcl(f"line {number}: {error}") from error
        if len(found) > MAX_ENTRIES:
            raise BadAcl(f"more than {MAX_ENTRIES} lines")
    return merged(found)


def merged(entries: Iterable[Entry]) -> list[Entry]:
    """One entry for each identifier, sorted."""
    found: dict[Identifier, Entry] = {}
    for entry in entries:
        old = found.get(entry.who)
        found[entry.who] = entry if old is None else Entry(
            entry.who, _both(old.rights, entry.rights), _both(old.denied, entry.denied))
    return [found[who] for who in sorted(found)]


def _both(one: Rights | None, other: Rights | None) -> Rights:
    return (one or NONE) | (other or NONE)


def text(entries: Sequence[Entry]) -> str:
    """The lines of a file; the administrator's entries are not in it."""
    lines = []
    for entry in entries:
        if not entry.who.everywhere:
            for sign, rights in (("", entry.rights), ("-", entry.denied)):
                if rights is not None:
                    lines.append(f"{_name(sign + str(entry.who))} {file_text(rights)}\n")
    return "".join(lines)


def _name(name: str) -> str:
    if " " not in name and not name.startswith('"'):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def granted(entries: Iterable[Entry], who: Who, before: Rights = NONE) -> Rights:
    """What a user may do. entries: sorted. before: where no entry says anything. An owner has all rights unless an
    entry for the owner, or one of higher rank, says otherwise."""
    entries = list(entries)
    if who.owner and not any(entry.who.kind is Kind.OWNER and entry.rights is not None for entry in entries):
        entries = sorted([*entries, Entry(Identifier(False, Kind.OWNER), ALL)], key=lambda entry: entry.who)
    rights, denied = before, NONE
    last: tuple[bool, Kind] | None = None
    for entry in entries:
        if not who.matches(entry):
            continue
        level = (entry.who.everywhere, entry.who.kind)
        if entry.rights is not None:
            rights = rights | entry.rights if level == last else entry.rights
        if entry.denied is not None:
            denied = denied | entry.denied if level == last else entry.denied
        last = level
    return rights - denied


def put(entries: Sequence[Entry], who: Identifier, rights: Rights | None, *, denied: bool) -> list[Entry]:
    """With an identifier's rights (or those taken away) replaced; None: nothing is said of them any more."""
    old = next((entry for entry in entries if entry.who == who), Entry(who))
    new = replace(old, denied=rights) if denied else replace(old, rights=rights)
    kept = [entry for entry in entries if entry.who != who]
    return merged([*kept, new] if new.rights is not None or new.denied is not None else kept)
