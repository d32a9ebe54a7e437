"""Command lines of an SMTP client to words, addresses and parameters.

    tokenise(b'MAIL FROM:<a@b.test> SIZE=10') -> [Word("MAIL"), Word("FROM:"), Word("<a@b.test>"), Word("SIZE=10")]
    parse_address("<@relay.test:a@b.test>") -> "a@b.test"          internal form: quotes removed
    read_xtext("a+2B1") -> "a+1"

More is understood than RFC 5321 allows, as Postfix does it: blanks behind "FROM:", addresses without <>, comments.
Raises: PeerError for what cannot be understood. Octets that are no UTF-8 never come here (the session refuses them).
Cost: O(n) of the line's octets.
"""

import ipaddress
import re

from msgspec import Struct

from mailsuite.base.errors import PeerError


class Word(Struct, frozen=True):
    """bad: a quote or bracket is never closed."""

    text: str
    bad: bool = False


# What nearly every client sends; the rest goes through the tokeniser.
_SIMPLE = re.compile(r'[^ \t\v\f\r\n<"\\:]+')
_PATH_COMMAND = re.compile(r'(MAIL|RCPT) (FROM:|TO:)(<[^\s<>"\\():]*>)(?: ([^\s<>"\\:]+(?: [^\s<>"\\:]+)*))?',
                           re.IGNORECASE | re.ASCII)
_SPECIAL = re.compile(r'[<"\\:]')
_BLANK = " \t\v\f\r\n"


def tokenise(line: str) -> list[Word]:
    """Split at white space, but not inside <> and quotes; "from:" and "to:" end a word."""
    match = _PATH_COMMAND.fullmatch(line)
    if match is not None:
        words = [Word(match[1]), Word(match[2]), Word(match[3])]
        if match[4]:
            words += [Word(text) for text in match[4].split(" ")]
        return words
    if _SPECIAL.search(line) is None:
        return list(map(Word, line.split()))
    words, at = [], 0
    while at < len(line):
        word, at = _next_word(line, at)
        if word is not None:
            words.append(word)
    return words


def _next_word(line: str, at: int) -> tuple[Word | None, int]:
    text: list[str] = []
    bad = False
    while at < len(line):
        char = line[at]
        if char in _BLANK:
            at += 1
            if text:
                break
        elif char in '<"':
            end, bad = _closing(line, at, ">" if char == "<" else '"')
            text.append(line[at:end])
            at = end
            if bad:
                break
        elif char == ":":
            at += 1
            text.append(":")
            if "".join(text).lower() in ("from:", "to:"):
                break
        elif char == "\\":
            text.append(line[at:at + 2])
            at += 2
        else:
            simple = _SIMPLE.match(line, at)
            assert simple is not None
            text.append(simple[0])
            at = simple.end()
    return (Word("".join(text), bad) if text else None), at


def _closing(line: str, start: int, wanted: str) -> tuple[int, bool]:
    """Index behind the wanted bracket or quote; quotes nest in brackets. The flag: it never comes."""
    stack = [wanted]
    at = start + 1
    while at < len(line):
        char = line[at]
        if char == "\\":
            at += 1
        elif char == stack[-1]:
            stack.pop()
            if not stack:
                return at + 1, False
        elif char == '"':
            stack.append('"')
        elif char == "(" and stack[-1] == ")":
            stack.append(")")
        at += 1
    return len(line), True


# --- addresses --------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@(?:[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*\.)*[A-Za-z][A-Za-z0-9]*")
_ROUTE = re.compile(r"(?:@[^@:,\"<>()]*,?\s*)+:", re.ASCII)
_PIECE = re.compile(r"""
    (?P<quoted> "(?:[^"\\]|\\.)*" ) | (?P<literal> \[(?:[^\[\]\\]|\\.)*\] ) | (?P<at>@) | (?P<dot>\.) |
    (?P<blank>\s+) | (?P<atom> (?:[^\s"\\()<>@.,;\[\]]|\\.)+ ) | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII)
_ANGLED = re.compile(r"<([^<>]*)>\s*$", re.ASCII)
_GROUP = re.compile(r"[^:;@\"]+:([^:;]*);")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def is_plain_address(text: str) -> bool:
    """Whether an address needs no second look: plain characters, a domain of labels that no rewriting makes invalid."""
    if _PLAIN.fullmatch(text) is None or text[0] == "-" or "%" in text or "!" in text:
        return False
    domain = text.rpartition("@")[2]
    return len(domain) < 64 or (len(domain) < 256 and max(map(len, domain.split("."))) < 64)


def parse_address(text: str, *, strict: bool = False, empty: bool = False) -> str:
    """The address of a MAIL or RCPT word, in internal form; "" for <> where empty allows it.

    strict: <> are required, comments are not taken. Whether the domain is one is not looked at. Raises PeerError.
    """
    bracketed = len(text) >= 2 and text[0] == "<" and text[-1] == ">"
    inner = text[1:-1] if bracketed else text
    if _PLAIN.fullmatch(inner) and (bracketed or not strict):
        return inner
    if strict and not bracketed:
        raise PeerError("address without <>")
    inner = inner.removesuffix(">") if not bracketed and "<" not in inner else inner
    inner = _from_mailbox(inner)
    route = _ROUTE.match(inner)
    address = _internal(inner[route.end():] if route else inner)
    if not address and not empty:
        raise PeerError("no address")
    if strict and (address[:1] == "@" or _without_comments(inner) != inner):
        raise PeerError("no path of RFC 5321")
    return address


def _from_mailbox(text: str) -> str:
    """The address in header forms that some programs send: "Name <a@b>", "<a@b>", "group: a@b;", "a@b,"."""
    if not any(char in text for char in "<,;"):
        return text
    angled = _ANGLED.search(text)
    if angled is not None:
        return angled[1]
    group = _GROUP.fullmatch(text.strip())
    return (group[1] if group is not None else text).strip().removesuffix(",")


def _internal(text: str) -> str:
    """Take quotes and comments away. Two words side by side are two addresses: refused."""
    out: list[str] = []
    previous = ""
    blank = False
    for match in _PIECE.finditer(_without_comments(text)):
        kind = match.lastgroup or "bad"
        if kind == "blank":
            blank = True
            continue
        if kind == "bad":
            raise PeerError("bad address")
        is_word = kind in ("atom", "quoted", "literal")
        if blank and is_word and previous == "word":
            raise PeerError("two addresses")
        if kind == "quoted":
            out.append(_ESCAPE.sub(r"\1", match[0][1:-1]))
        elif kind == "atom":
            out.append(_ESCAPE.sub(r"\1", match[0]))
        else:
            out.append(match[0])
        previous = "word" if is_word else "sign"
        blank = False
    return "".join(out)


def _without_comments(text: str) -> str:
    if "(" not in text:
        return text
    out, depth, at = [], 0, 0
    quoted = False
    while at < len(text):
        char = text[at]
        step = 2 if char == "\\" else 1
        if char == '"' and depth == 0:
            quoted = not quoted
        if char == "(" and not quoted:
            depth += 1
        elif char == ")" and not quoted and depth:
            depth -= 1
        elif depth == 0:
            out.append(text[at:at + step])
        at += step
    if depth:
        raise PeerError("comment without end")
    return "".join(out)


def is_address_literal(text: str) -> bool:
    """"[192.0.2.1]" or "[IPv6:2001:db8::1]": RFC 5321 section 4.1.3."""
    if not (text.startswith("[") and text.endswith("]")):
        return False
    inner = text[1:-1]
    if inner[:5].lower() == "ipv6:":
        return is_ip(inner[5:], 6)
    return is_ip(inner, 4)


def is_ip(text: str, version: int = 0) -> bool:
    """An IP address; version 4 or 6, 0 for either."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return (not version or found.version == version) and "%" not in text


_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


def is_hostname(name: str) -> bool:
    """Letters, digits, "_" and inner "-" in labels of up to 63, up to 255 in all, and not all numeric."""
    if not name or len(name) > 255:
        return False
    try:
        name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return False
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        return False
    return not all(label.isdigit() for label in labels)


# --- parameters -------------------------------------------------------------------------------------------------

_XTEXT = re.compile(r"(?:[^+=]|\+[0-9A-F]{2})*")
_NOT_XTEXT = re.compile(rb"[^!-*,-<>-~]")
_XTEXT_OCTET = re.compile(r"\+([0-9A-F]{2})")


def xtext(text: str) -> str:
    """RFC 3461 section 4: what is not a visible ASCII character, "+" and "=" become +XX."""
    octets = text.encode("utf-8", "surrogateescape")
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], octets).decode("ascii")


def read_xtext(text: str) -> str:
    """RFC 3461 section 4. Raises PeerError."""
    if not _XTEXT.fullmatch(text):
        raise PeerError("bad xtext")
    octets = _XTEXT_OCTET.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1", "surrogatepass") \
        if text.isascii() else _XTEXT_OCTET.sub(lambda match: chr(int(match[1], 16)), text).encode()
    return octets.decode("utf-8", "surrogateescape")


_HEADER_NAME = re.compile(r"[!-9;-~]+[ \t]*:")


def is_header(word: str) -> bool:
    """A word that looks like "Subject:": somebody's web form or proxy talks to us."""
    return _HEADER_NAME.match(word) is not None


_NEUTERED = str.maketrans(dict.fromkeys(" <>()\\\";@", "?"))
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def neuter_helo(name: str) -> str:
    """A HELO name without what would change the meaning of a header or log line."""
    return _UNPRINTABLE.sub("?", name).translate(_NEUTERED)


def printable(text: str) -> str:
    """Control characters become "?"."""
    return _UNPRINTABLE.sub("?", text)


def size_number(text: str) -> int | None:
    """The value of SIZE=, None when it is no number of up to 20 digits (RFC 1870 section 4)."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None
