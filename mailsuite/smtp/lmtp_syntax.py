"""Paths and parameters of LMTP's MAIL and RCPT, as Dovecot reads them and refuses them.

    path, rest = parse_sender("<a@b.test> BODY=8BITMIME")      Path("a", "b.test"), "BODY=8BITMIME"
    path, rest = parse_recipient("<alice>")                     Path("alice", "")
    path.text -> 'alice', '"odd name"@b.test'                   as it stands between angle brackets

A sender that is no address, but stands in brackets without a blank, counts as the null sender: mail that was accepted
with it must still reach its recipient. A recipient may lack a domain. Source routes are read and forgotten
(RFC 5321 appendix C). Raises: PeerError; its text names what is wrong.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import PeerError

WORKAROUNDS = frozenset({"whitespace-before-path", "mailbox-for-path"})
_LOCAL = re.compile(r"[^\x00-\x20\x7f()<>@,;:\\\"\[\]]+")
_QUOTED = re.compile(r'"((?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\\[\x20-\x7e])*)"')
_LABEL = re.compile(r"[A-Za-z0-9_\-\x80-\U0010ffff]+")
_LITERAL = re.compile(r"\[[^\x00-\x20\x7f\[\]\\]+\]")
_ESCAPED = re.compile(r"\\(.)")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_STRING = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]+|\"(?:[^\x00-\x1f\x7f-\U0010ffff\"\\]|\\[\x20-\x7e])*\"")


@dataclass(frozen=True, slots=True)
class Path:
    """local: without quotes. Both empty: the null path."""

    local: str = ""
    domain: str = ""

    @property
    def text(self) -> str:
        """External form, without the brackets."""
        if not self.local and not self.domain:
            return ""
        return quote_local(self.plain)

    @property
    def plain(self) -> str:
        """Internal form: no quotes in the local part."""
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def key(self) -> tuple[str, str]:
        """Equal for two ways to write the same address."""
        return self.local, self.domain.lower()


def parse_sender(text: str, workarounds: Collection[str] = ()) -> tuple[Path, str]:
    """The path behind MAIL FROM: and what follows it. workarounds: those of WORKAROUNDS. Raises PeerError."""
    text = _mended(text, workarounds)
    _check_start(text)
    try:
        return _path(text, need_domain=True)
    except PeerError:
        bracket = re.match(r"<[^\x00-\x20\x7f>]*>(?= |$)", text)
        if bracket is None:
            raise
        return Path(), text[bracket.end():].strip(" ")


def parse_recipient(text: str, workarounds: Collection[str] = ()) -> tuple[Path, str]:
    """The path behind RCPT TO: and what follows it. workarounds: those of WORKAROUNDS. Raises PeerError."""
    text = _mended(text, workarounds)
    _check_start(text)
    path, rest = _path(text, need_domain=False)
    if path == Path():
        raise PeerError("Null path not allowed")
    return path, rest


def _mended(text: str, workarounds: Collection[str]) -> str:
    """What a client meant that writes blanks before a path, or no brackets around it."""
    if "whitespace-before-path" in workarounds:
        text = text.lstrip(" \t")
    if "mailbox-for-path" in workarounds and text and text[0] not in "< \t":
        quoted = _QUOTED.match(text)
        end = text.find(" ", quoted.end() if quoted is not None else 0)
        mailbox, rest = (text, "") if end < 0 else (text[:end], text[end:])
        text = f"<{mailbox}>{rest}"
    return text


def _check_start(text: str) -> None:
    if not text:
        raise PeerError("Path is empty string")
    if text[0] in " \t":
        raise PeerError("Unexpected whitespace before path")
    if text[0] != "<":
        raise PeerError("Missing '<' at beginning of path")


def _path(text: str, *, need_domain: bool) -> tuple[Path, str]:
    if text.startswith("<>"):
        return Path(), _behind(text, 1)
    at = _skip_route(text, 1)
    local, at = _local(text, at)
    domain = ""
    following = text[at:at + 1]
    if following == "@":
        domain, at = _domain(text, at + 1)
        if not domain:
            raise PeerError("Missing domain after '@'")
    elif need_domain:
        raise PeerError("Missing domain" if following in ("", ">") else "Invalid character in localpart")
    if domain.endswith("."):
        raise PeerError("Invalid character in domain")
    if text[at:at + 1] != ">":
        raise PeerError("Missing '>' at end of path")
    return Path(local, domain), _behind(text, at)


def _behind(text: str, at: int) -> str:
    """The parameters behind the ">" at this place."""
    rest = text[at + 1:]
    if rest and rest[0] != " ":
        raise PeerError("Invalid character in path")
    return rest.strip(" ")


def _skip_route(text: str, at: int) -> int:
    if text[at:at + 1] != "@":
        return at
    while True:
        domain, at = _domain(text, at + 1)
        if not domain:
            raise PeerError("Missing domain after '@'")
        if not text.startswith(",@", at):
            break
        at += 1
    if text[at:at + 1] != ":":
        raise PeerError("Missing ':' at end of source route")
    return at + 1


def _local(text: str, at: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, at)
    if quoted is not None:
        return _ESCAPED.sub(r"\1", quoted[1]), quoted.end()
    plain = _LOCAL.match(text, at)
    if plain is None:
        raise PeerError("Invalid character in localpart")
    return plain[0], plain.end()


def _domain(text: str, at: int) -> tuple[str, int]:
    start = at
    literal = _LITERAL.match(text, at)
    if literal is not None:
        return literal[0], literal.end()
    while (label := _LABEL.match(text, at)) is not None:
        at = label.end()
        if text[at:at + 1] != ".":
            break
        at += 1
        if text[at:at + 1] == ".":
            raise PeerError("Empty sub-domain")
    return text[start:at], at


def parse_parameters(text: str) -> dict[str, str | None]:
    """"BODY=8BITMIME XY" -> {"BODY": "8BITMIME", "XY": None}. Raises PeerError for a name that comes twice."""
    found: dict[str, str | None] = {}
    for word in text.split():
        name, equals, value = word.partition("=")
        name = name.upper()
        if name in found:
            raise PeerError(f"Duplicate {name}= parameter")
        found[name] = value if equals else None
    return found


def original_recipient(value: str) -> Path | None:
    """The address in ORCPT=rfc822;xtext (RFC 3461 section 4.2), None for one of another kind. Raises PeerError."""
    kind, semicolon, xtext = value.partition(";")
    if not semicolon or kind.lower() not in ("rfc822", "utf-8"):
        raise PeerError("Invalid addr-type for ORCPT= parameter")
    address = _XTEXT.sub(lambda match: chr(int(match[1], 16)), xtext)
    if not address:
        raise PeerError("Invalid ORCPT= parameter: Empty address value")
    if any(not char.isprintable() for char in address):
        raise PeerError("Invalid ORCPT= parameter: Invalid address")
    if kind.lower() != "rfc822":
        return None
    local, _, domain = address.partition("@")
    return Path(local, domain.partition("@")[0])


def is_string(text: str) -> bool:
    """An atom or a quoted string, the argument of VRFY and NOOP."""
    return _STRING.fullmatch(text) is not None


def valid_client_name(name: str) -> bool:
    """Whether the name behind LHLO is a domain or an address literal."""
    if name.startswith("[") and name.endswith("]"):
        literal = name[1:-1]
        try:
            if literal.lower().startswith("ipv6:"):
                ipaddress.IPv6Address(literal[5:])
            else:
                ipaddress.IPv4Address(literal)
        except ValueError:
            return False
        return True
    return re.fullmatch(r"[A-Za-z0-9_\-]+(?:\.[A-Za-z0-9_\-]+)*", name) is not None
