"""Names of mailboxes: modified UTF-7, the namespace's prefix and separator, what a name must not be.

    to_mutf7("Entwürfe") -> "Entw&APw-rfe"       from_mutf7 is its inverse, None for what is no valid name
    naming = Naming(own=".", separator="/", prefix="INBOX/")    own: what separates the parts on disk
    naming.parts("INBOX/Work/2024") -> ("Work", "2024");  naming.name(("Work", "2024")) -> "INBOX/Work/2024"

INBOX is ("INBOX",) in any case. In a namespace that does not hold the user's INBOX, ("INBOX",) is the namespace's root:
"Public" of prefix "Public/"; where the namespace is another user's mail, that user's INBOX, "shared/bob/INBOX", too.
RFC 3501 sections 5.1.1 and 5.1.3. Raises InvalidName, BadEncoding, NoSuchMailbox.
"""

import base64
import binascii
import re

from mailsuite.store.api import BadEncoding, InvalidName, NoSuchMailbox

MAX_NAME = 4096
MAX_PART = 255
INBOX = ("INBOX",)

Parts = tuple[str, ...]

_PLAIN = re.compile(r"[\x20-\x25\x27-\x7e]+")
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")


def to_mutf7(text: str) -> str:
    out, at = [], 0
    while at < len(text):
        plain = _PLAIN.match(text, at)
        if plain:
            out.append(plain[0])
            at = plain.end()
        elif text[at] == "&":
            out.append("&-")
            at += 1
        else:
            end = at
            while end < len(text) and text[end] != "&" and not _PLAIN.match(text, end):
                end += 1
            coded = base64.b64encode(text[at:end].encode("utf-16-be", "surrogatepass")).decode()
            out.append("&" + coded.rstrip("=").replace("/", ",") + "-")
            at = end
    return "".join(out)


def from_mutf7(name: str) -> str | None:
    out, at = [], 0
    while at < len(name):
        plain = _PLAIN.match(name, at)
        if plain:
            out.append(plain[0])
            at = plain.end()
            continue
        shifted = _SHIFTED.match(name, at)
        if shifted is None:
            return None
        coded = shifted[1].replace(",", "/")
        try:
            text = base64.b64decode(coded + "=" * (-len(coded) % 4), validate=True).decode("utf-16-be")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return None
        out.append(text if coded else "&")
        at = shifted.end()
    text = "".join(out)
    return text if to_mutf7(text) == name else None


def on_disk(part: str, *, utf8: bool) -> str:
    """How a part of a name is written there."""
    return (from_mutf7(part) or part) if utf8 else part


def from_disk(part: str, *, utf8: bool) -> str:
    """The reverse."""
    return to_mutf7(part) if utf8 and not part.isascii() else part


def _bad(why: str) -> InvalidName:
    return InvalidName(f"Invalid mailbox name: {why}")


class Naming:
    """separator: between parts in the protocol; "" for the store's own. reserved: parts the store needs itself."""

    def __init__(self, own: str, separator: str = "", prefix: str = "", reserved: re.Pattern[str] | None = None, *,
                 inbox: bool = True, others: bool = False, escape: str = "") -> None:
        """inbox: the user's INBOX is here. others: another user's is. escape: one character, with which parts are
        written that could not stand on disk as they are (the listescape plugin); "": such names are refused."""
        self._escape = escape
        self._escaped = re.compile("[" + re.escape(f"{escape}{own}/") + "]") if escape else None
        self._unescaped = re.compile(re.escape(escape) + "([2-6][0-9A-Fa-f]|7[0-9A-Ea-e])") if escape else None
        self.own, self.separator, self.prefix, self._reserved = own, separator or own, prefix, reserved
        self._inbox, self._others = inbox, others
        self.root_name = "INBOX" if inbox else prefix.removesuffix(self.separator)

    def parts(self, name: str) -> Parts:
        """For names that need not exist. A trailing separator is left out."""
        if len(name) > MAX_NAME:
            raise InvalidName("Mailbox name too long")
        if from_mutf7(name) is None:
            raise BadEncoding
        sep = self.separator
        if name.upper() == "INBOX" if self._inbox else name == self.root_name:
            return INBOX
        if self._inbox and name.upper() == "INBOX" + sep and self.prefix.upper() == name.upper():
            return INBOX
        if not self._inbox and name.removeprefix(self.prefix).upper() == "INBOX":
            if self._others:
                return INBOX
            raise NoSuchMailbox(name)
        if not self._inbox and name == self.prefix:
            raise InvalidName(f"Invalid mailbox name '{name}': Ends with hierarchy separator")
        prefix = self.prefix
        if prefix.upper().startswith("INBOX") and name.upper().startswith(prefix.upper()):
            name = prefix + name[len(prefix):]
        if prefix and name.startswith(prefix):
            name = name[len(prefix):]
        if name.endswith(sep):
            name = name[: -len(sep)]
        self._check(name)
        parts = self.stored(name.split(sep))
        if parts[0].upper() == "INBOX" and not self.prefix:
            parts[0] = "INBOX"
        return tuple(parts)

    def stored(self, parts: list[str]) -> list[str]:
        """Parts of a name as they stand on disk: "a.b" is "a\\2eb" in a Maildir++."""
        if self._escaped is None:
            return parts
        parts = [self._escaped.sub(self._hex, part) for part in parts]
        if parts[0].startswith("~"):
            parts[0] = f"{self._escape}7e{parts[0][1:]}"
        return parts

    def _hex(self, char: re.Match[str]) -> str:
        return f"{self._escape}{ord(char[0]):02x}"

    def _check(self, name: str) -> None:
        sep = self.separator
        if not name:
            raise _bad("Name is empty")
        if name.startswith("~") and not self._escape:
            raise _bad("Begins with '~'")
        if name.startswith(sep):
            raise _bad("Begins with hierarchy separator")
        if sep + sep in name:
            raise _bad("Has adjacent hierarchy separators")
        if name.endswith(sep):
            raise _bad("Ends with hierarchy separator")
        if sep != "/" and "/" in name and not self._escape:
            raise _bad("Name must not have '/' characters")
        if self.own != sep and self.own in name and not self._escape:
            raise InvalidName(f"Character not allowed in mailbox name: '{self.own}'")
        parts = name.split(sep)
        if self.own == "/":
            for part in (".", ".."):
                if part in parts:
                    raise _bad(f"Contains '{part}' part")
        if self._reserved is not None and any(map(self._reserved.fullmatch, parts)):
            raise _bad("Contains reserved name")
        parts = self.stored(parts)
        if any(len(part) > MAX_PART for part in parts) or (self.own == "." and len(".".join(parts)) > MAX_PART - 1):
            raise InvalidName("Mailbox name too long")

    def name(self, parts: Parts) -> str:
        """As clients spell it."""
        if parts == INBOX:
            return self.root_name
        if self._unescaped is not None:
            parts = tuple(self._unescaped.sub(lambda code: chr(int(code[1], 16)), part) for part in parts)
        return self.prefix + self.separator.join(parts)
