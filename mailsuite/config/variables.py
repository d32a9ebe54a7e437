"""Dovecot's %-variables: %u, %{user}, with modifiers and parts as in %Ln, %2.1u, %08Xu, %{sha256:user}, %{if;..}.

    expand_common("%u", user_names("a@b.test"), lambda: values)         the same, without values where none is needed
    expand_variables("maildir:%h/%Ln", {"home": "/home/a", "username": "A"}) -> "maildir:/home/a/a"
    of_user("maildir:/mail/%Ln")("A@b.test") -> "maildir:/mail/a"      made ready once; None for a text that wants more
    user_variables("a@b.test", service="imap", home="/home/a") -> values with user, username, domain, ...

Grammar: % [-][0][offset.]width modifiers (letter | {long name} | {function:argument} | {if;a;op;b;yes;no}).
A width cuts, with a leading 0 it fills up; a negative offset counts from the end. Modifiers, from left to right:
L lower case, U upper case, E escapes quotes, X decimal to hexadecimal, R reverse, M MD5, H and N hashes (width is the
modulus, offset the digits), D "b.test" to "b,dc=test", T cuts blanks at the end.

values has long names (user, username, domain, home, service, lip, rip, pid, session...) or the one-letter ones; both
find each other. An unknown name gives "UNSUPPORTED_VARIABLE_name", as in Dovecot. Values are not expanded again.
Raises: ConfigError for a text that is not in the grammar.
"""

import base64
import fnmatch
import hashlib
import operator
import os
import re
import socket
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from mailsuite.base.errors import ConfigError

LETTERS: Mapping[str, str] = {
    "u": "user", "n": "username", "d": "domain", "s": "service", "h": "home", "p": "pid", "l": "lip", "r": "rip",
    "i": "uid", "w": "password", "m": "mech", "c": "secured", "k": "cert", "a": "lport", "b": "rport"}
_OF_USER: Mapping[str, str] = {"u": "user", "n": "username", "d": "domain", "user": "user", "username": "username",
                               "domain": "domain"}
_SHORT = {long: short for short, long in LETTERS.items()}
_HEAD = re.compile(r"(-?)(0?)(\d*)(?:\.(-?)(\d*))?([LUEXRHNMDT]*)(.)", re.DOTALL)
_WHOLE = re.compile(r"%([LU]?)(?:([a-z])|\{([a-z_]+)\})")
_HASHES = frozenset({"md5", "sha1", "sha256", "sha384", "sha512"})
# Nesting of %{if;...} that a configuration may have.
MAX_DEPTH = 20


def user_variables(user: str, *, service: str = "", home: str | None = None, local_ip: str = "", remote_ip: str = "",
                   pid: int | None = None, session: str = "", uid: int | None = None, gid: int | None = None,
                   extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The values for a user's variables by long name; user may have a domain."""
    username, _, domain = user.partition("@")
    values = {"user": user, "username": username, "domain": domain, "service": service, "home": home or "",
              "lip": local_ip, "rip": remote_ip, "session": session, "protocol": service,
              "pid": str(os.getpid() if pid is None else pid),
              "uid": "" if uid is None else str(uid), "gid": "" if gid is None else str(gid),
              **{f"{prefix}_{name}": value for prefix in ("auth", "login", "orig", "master")
                 for name, value in (("user", user), ("username", username), ("domain", domain))}}
    values.update(extra or {})
    return values


def expand_variables(text: str, values: Mapping[str, str]) -> str:
    """text with all %-variables replaced. Raises ConfigError for a bad modifier."""
    if "%" not in text:
        return text
    if (form := _form(text)) is not None:
        try:
            filled: str = form.text % form.values(values)
            return filled
        except KeyError:
            pass                                # a name that has another, or that nobody knows
    pieces = _simple(text)
    if pieces is None:
        return _expand(text, values, 0)
    out: list[str] = []
    for literal, name, modifier in pieces:
        out.append(literal)
        if name:
            value = values.get(name)
            if value is None:
                value = _plain(name, values)
            out.append(_MODIFIERS[modifier](value) if modifier else value)
    return "".join(out)


def expand_common(text: str, common: Mapping[str, str], others: Callable[[], Mapping[str, str]]) -> str:
    """As expand_variables(text, others()); others is not called where the values in common are all that text wants."""
    if "%" not in text:
        return text
    pieces = _simple(text)
    if pieces is None:
        return expand_variables(text, others())
    out: list[str] = []
    for literal, name, modifier in pieces:
        out.append(literal)
        if name:
            value = common.get(name)
            if value is None:
                return expand_variables(text, others())
            out.append(_MODIFIERS[modifier](value) if modifier else value)
    return "".join(out)


def user_names(user: str) -> dict[str, str]:
    """What most texts want to know of a user, for expand_common."""
    username, _, domain = user.partition("@")
    return {"u": user, "user": user, "n": username, "username": username, "d": domain, "domain": domain}


@lru_cache(maxsize=512)
def of_user(text: str) -> Callable[[str], str] | None:
    """What makes text's value from a user's name, as expand_variables does; None: text wants to know more than that."""
    pieces = _simple(text)
    if pieces is None or not all(name in _OF_USER or not name for _, name, _ in pieces):
        return None
    if len(pieces) == 2 and not pieces[0][0] and not pieces[1][0] and _OF_USER[pieces[0][1]] == "user":
        return _MODIFIERS.get(pieces[0][2], str)
    if any(modifier for _, _, modifier in pieces):
        return lambda user: expand_variables(text, user_names(user))
    form = "".join([literal.replace("%", "%%") + (f"%({_OF_USER[name]})s" if name else "")
                    for literal, name, _ in pieces])

    def value(user: str) -> str:
        username, _, domain = user.partition("@")
        return form % {"user": user, "username": username, "domain": domain}

    return value


@lru_cache(maxsize=512)
def _simple(text: str) -> tuple[tuple[str, str, str], ...] | None:
    """Literals, each with the name that follows ("" at the end) and its modifier (L, U or none), of a text with whole
    values only; None: it has more.

    Most texts are such, and are expanded for each connection.
    """
    pieces: list[tuple[str, str, str]] = []
    literal, at = "", 0
    while (percent := text.find("%", at)) >= 0:
        literal += text[at:percent]
        if text[percent + 1:percent + 2] == "%":
            literal, at = literal + "%", percent + 2
            continue
        match = _WHOLE.match(text, percent)
        if match is None:
            return None
        pieces.append((literal, match[2] or match[3], match[1]))
        literal, at = "", match.end()
    pieces.append((literal + text[at:], "", ""))
    return tuple(pieces)


class _Form(NamedTuple):
    """A text with plain values only, ready for the % operator."""

    text: str
    values: Callable[[Mapping[str, str]], Any]


@lru_cache(maxsize=512)
def _form(text: str) -> _Form | None:
    pieces = _simple(text)
    names = [name for _, name, _ in pieces or () if name]
    if pieces is None or not names or any(modifier for _, _, modifier in pieces):
        return None
    return _Form("".join(literal.replace("%", "%%") + ("%s" if name else "") for literal, name, _ in pieces),
                 operator.itemgetter(*names))


def variable_letters(text: str) -> list[str]:
    """What stands behind each % and its modifiers: "%08Xu%%" -> ["u", "%"]; "{" for a long name."""
    return [match[7] for match in re.finditer("%" + _HEAD.pattern, text, re.DOTALL)]


def _expand(text: str, values: Mapping[str, str], depth: int) -> str:
    if depth > MAX_DEPTH:
        raise ConfigError("variables are nested too deeply")
    parts: list[str] = []
    at = 0
    while (percent := text.find("%", at)) >= 0:
        parts.append(text[at:percent])
        match = _HEAD.match(text, percent + 1)
        if match is None:
            return "".join(parts)          # a lone % at the end says nothing
        at = match.end()
        name = match[7]
        if name == "{":
            end = _closing(text, at - 1)
            if end < 0:
                raise ConfigError(f"missing '}}' after {text[percent:]}")
            name, at = text[at:end], end + 1
            value = _long(name, values, depth)
        else:
            value = "%" if name == "%" else _plain(name, values)
        parts.append(_shaped(value, match))
    parts.append(text[at:])
    return "".join(parts)


def _closing(text: str, start: int) -> int:
    depth = 0
    for index in range(start, len(text)):
        depth += (text[index] == "{") - (text[index] == "}")
        if depth == 0:
            return index
    return -1


def _plain(name: str, values: Mapping[str, str]) -> str:
    value = values.get(name)
    if value is None:
        other = LETTERS.get(name) or _SHORT.get(name)
        value = values.get(other) if other else None
    if value is None and name == "hostname":
        value = socket.gethostname()
    return f"UNSUPPORTED_VARIABLE_{name}" if value is None else value


def _long(name: str, values: Mapping[str, str], depth: int) -> str:
    if name.startswith("if;"):
        return _condition(name, values, depth)
    function, colon, argument = name.partition(":")
    if not colon:
        return _plain(name, values)
    if function == "env":
        variable, _, default = argument.partition(":")
        return os.environ.get(variable, default)
    if function == "system":
        return {"hostname": socket.gethostname(), "cpu_count": str(os.cpu_count() or 1)}.get(
            argument, f"UNSUPPORTED_VARIABLE_{name}")
    kind, *options = function.split(";", 1)
    if kind in _HASHES:
        return _hashed(kind, options[0] if options else "", _plain(argument, values))
    # %{userdb:field:default} and its like: the context gives "userdb:field".
    if (value := values.get(name)) is not None:
        return value
    field, _, default = argument.partition(":")
    known = values.get(f"{function}:{field}")
    if known is not None:
        return known
    return default if ":" in argument or function in ("userdb", "passdb") else f"UNSUPPORTED_VARIABLE_{name}"


def _hashed(kind: str, options: str, text: str) -> str:
    """%{sha256;rounds=2,salt=x,truncate=64,format=base64:user}"""
    given = dict(option.partition("=")[::2] for option in options.split(",") if option)
    try:
        rounds, bits = int(given.get("rounds", "1")), int(given.get("truncate", "0"))
    except ValueError:
        raise ConfigError(f"bad number in {kind};{options}") from None
    digest = text.encode("utf-8", "surrogateescape")
    digest = given.get("salt", "").encode() + digest
    for _ in range(max(1, min(rounds, 1_000_000))):
        digest = hashlib.new(kind, digest, usedforsecurity=False).digest()
    if bits:
        size = -(-bits // 8)
        number = int.from_bytes(digest[:size], "big") >> (size * 8 - bits)
        digest = number.to_bytes(size, "big")
    form = given.get("format", "hex")
    if form not in ("hex", "hexuc", "base64"):
        raise ConfigError(f"unknown format {form} in {kind};{options}")
    return base64.b64encode(digest).decode() if form == "base64" else \
        digest.hex().upper() if form == "hexuc" else digest.hex()


_NUMERIC: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_TEXTUAL: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge}


def _condition(body: str, values: Mapping[str, str], depth: int) -> str:
    """if;left;operator;right;yes;no"""
    parts = _split(body)
    if len(parts) != 6:
        raise ConfigError(f"%{{{body}}} needs five parts")
    left, right = _expand(parts[1], values, depth + 1), _expand(parts[3], values, depth + 1)
    return _expand(parts[4] if _holds(left, parts[2], right) else parts[5], values, depth + 1)


def _split(body: str) -> list[str]:
    """Split at ";" outside of {}; "\\;" is a semicolon."""
    parts, part, nesting, at = [], "", 0, 0
    while at < len(body):
        char = body[at]
        if char == "\\" and body[at + 1:at + 2] in (";", "\\", ":"):
            part += body[at + 1]
            at += 2
            continue
        nesting += (char == "{") - (char == "}")
        if char == ";" and nesting == 0:
            parts.append(part)
            part = ""
        else:
            part += char
        at += 1
    return [*parts, part]


def _holds(left: str, sign: str, right: str) -> bool:
    if sign in _TEXTUAL:
        return _TEXTUAL[sign](left, right)
    if sign in _NUMERIC:
        try:
            return _NUMERIC[sign](int(left), int(right))
        except ValueError:
            raise ConfigError(f"{left} {sign} {right}: not a number") from None
    if sign in ("*", "!*"):
        return fnmatch.fnmatchcase(left, right) == (sign == "*")
    if sign in ("~", "!~"):
        try:
            return (re.search(right, left) is not None) == (sign == "~")
        except re.error as err:
            raise ConfigError(f"bad regular expression {right}: {err}") from err
    raise ConfigError(f"unknown comparison {sign}")


def _old_hash(text: str) -> int:
    """The hash of %H."""
    value = 0
    for octet in text.encode("utf-8", "surrogateescape"):
        value = (value << 4) + octet & 0xFFFFFFFF
        if high := value & 0xF0000000:
            value = (value ^ high >> 24 ^ high) & 0xFFFFFFFF
    return value


def _md5(text: str) -> bytes:
    return hashlib.md5(text.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()


_MODIFIERS: Mapping[str, Callable[[str], str]] = {
    "L": str.lower, "U": str.upper, "R": lambda text: text[::-1], "T": lambda text: text.rstrip(" \t"),
    "E": lambda text: re.sub(r"([\"'\\])", r"\\\1", text), "M": lambda text: _md5(text).hex(),
    "D": lambda text: text.replace(".", ",dc="), "X": lambda text: f"{int(text):x}" if text.isdigit() else "0"}


def _shaped(value: str, match: re.Match[str]) -> str:
    """Apply the modifiers, then offset and width."""
    sign, fill, first, sign2, second, modifiers = match.group(1, 2, 3, 4, 5, 6)
    if second is None and sign2 is None:
        offset, width = 0, int(first or "0")            # "%-5u" is "%5u"
    else:
        offset = int(first or "0") * (-1 if sign else 1)
        width = int(second or "0") * (-1 if sign2 else 1)
    for modifier in modifiers:
        if modifier in "HN":
            number = _old_hash(value) if modifier == "H" else int.from_bytes(_md5(value)[:8], "big")
            value = f"{number % width if width > 0 else number & 0xFFFFFFFF:x}".rjust(offset, "0")
            offset = width = 0
        else:
            value = _MODIFIERS[modifier](value)
    value = value[offset:] if offset >= 0 or len(value) > -offset else value
    if not width:
        return value
    if fill:
        return value.rjust(width, "0")
    return value[:width] if width > 0 else value[:max(0, len(value) + width)]
