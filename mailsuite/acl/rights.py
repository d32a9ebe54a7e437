"""The rights of RFC 4314 and how they are written.

    imap_text({"l", "r", "x"}) -> "lrxc"          MYRIGHTS: in the RFC's order, with the old c and d behind
    file_text({"l", "r", "x"}) -> "xlr"           dovecot-acl and GETACL: in the order of their names
    parse_imap("+lrc") -> ("+", {"l", "r", "k", "x"})
"""

from collections.abc import Mapping

from mailsuite.base.errors import PeerError

LETTERS = "lrwstipekxa"
NAMES: Mapping[str, str] = {
    "l": "lookup", "r": "read", "w": "write", "s": "write-seen", "t": "write-deleted", "i": "insert", "p": "post",
    "e": "expunge", "k": "create", "x": "delete", "a": "admin"}
BY_NAME: Mapping[str, str] = {name: letter for letter, name in NAMES.items()}
OLD: Mapping[str, str] = {"c": "kx", "d": "et"}          # RFC 2086, RFC 4314 section 2.1.1

Rights = frozenset[str]                                  # letters
ALL: Rights = frozenset(LETTERS)
NONE: Rights = frozenset()

_FILE_ORDER = "".join(sorted(LETTERS, key=NAMES.__getitem__))


def ordered(rights: Rights) -> str:
    """In the RFC's order."""
    return "".join(letter for letter in LETTERS if letter in rights)


def file_text(rights: Rights) -> str:
    """In the order of the rights' names, as Dovecot writes its files."""
    return "".join(letter for letter in _FILE_ORDER if letter in rights)


def with_old(text: str) -> str:
    """Letters with the RFC 2086 ones behind them that a client of that time looks for."""
    return text + "".join(old for old, new in OLD.items() if set(new) & set(text))


def imap_text(rights: Rights) -> str:
    return with_old(ordered(rights))


def names(rights: Rights) -> str:
    """Full names: "lookup read"."""
    return " ".join(NAMES[letter] for letter in ordered(rights))


def parse_imap(text: str) -> tuple[str, Rights]:
    """What SETACL is given: ("", "+" or "-", letters). Raises PeerError for a letter that is no right."""
    sign = text[:1] if text[:1] in ("+", "-") else ""
    found: set[str] = set()
    for letter in text[len(sign):]:
        new = OLD.get(letter, letter)
        if not set(new) <= ALL:
            raise PeerError(f"Invalid ACL right: {letter}")
        found.update(new)
    return sign, frozenset(found)
