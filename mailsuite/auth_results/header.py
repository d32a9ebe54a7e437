"""The Authentication-Results header: made, recognised, read. Source: RFC 8601.

    value = render("mx.example.com", [Method("spf", "pass", properties=[("smtp.mailfrom", "a@b.test")])])
    authserv_id(b" mx.example.com; spf=pass") -> "mx.example.com"        what marks a forged one
    method_result(b"...", "arc") -> "pass"                               of a header of our own
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

NAME = "Authentication-Results"
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+\Z")
_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~@/-]+\Z")
_WORD = re.compile(rb'[^\x00-\x20()<>@,;:\\"/\[\]?=]+')
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_COMMENT = re.compile(rb"\([^()]*\)")
VALUE_LIMIT = 320
COMMENT_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Method:
    """One method's result. comment: in parentheses behind it. properties: ("smtp.mailfrom", value) pairs."""

    name: str
    result: str
    reason: str = ""
    comment: str = ""
    properties: Sequence[tuple[str, str]] = ()


def render(identifier: str, methods: Sequence[Method]) -> str:
    """The value, one method a line. Peers' texts are quoted, shortened, and never end a line."""
    if not methods:
        return f"{identifier}; none"
    return ";\n\t".join([identifier, *(_method(method) for method in methods)])


def _method(method: Method) -> str:
    words = [f"{method.name}={method.result}"]
    if method.comment:
        words.append(f"({_comment(method.comment)})")
    if method.reason:
        words.append(f"reason={_quoted(method.reason)}")
    words += [f"{name}={_value(value)}" for name, value in method.properties if value]
    lines, line = [], ""
    for word in words:
        if line and len(line) + len(word) > 76:
            lines.append(line)
            line = " " + word
        else:
            line += (" " if line else "") + word
    return "\n\t".join([*lines, line])


def _value(text: str) -> str:
    return text if _VALUE.match(text) and text.count("@") <= 1 and len(text) <= VALUE_LIMIT else _quoted(text)


def _quoted(text: str) -> str:
    clean = "".join(char if char.isprintable() and not "\ud800" <= char <= "\udfff" else "?"
                    for char in text[:VALUE_LIMIT])
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _comment(text: str) -> str:
    return "".join(char if char.isascii() and char.isprintable() and char not in "()\\\";" else "?"
                   for char in text[:VALUE_LIMIT])


# --- reading --------------------------------------------------------------------------------------------------------

def _skip_space(text: bytes, at: int) -> int:
    """Behind white space and comments, which may be nested. An endless comment ends with the text."""
    depth = 0
    while at < len(text):
        char = text[at:at + 1]
        if char == b"(":
            depth += 1
            if depth > COMMENT_DEPTH:
                return len(text)
        elif depth and char == b")":
            depth -= 1
        elif depth and char == b"\\":
            at += 1
        elif not depth and char not in b" \t\r\n":
            return at
        at += 1
    return at


def authserv_id(value: bytes) -> str:
    """Who claims to have made the header, lower case; "" for nobody. RFC 8601 section 2.2."""
    value = value[:2000]
    at = _skip_space(value, 0)
    if value[at:at + 1] == b'"':
        match = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL).match(value, at)
        name = re.sub(rb"\\(.)", rb"\1", match[1]) if match else b""
    else:
        match = _WORD.match(value, at)
        name = match[0] if match else b""
    return name.decode("utf-8", "replace").lower().removesuffix(".")


def is_from(value: bytes, identifier: str) -> bool:
    """Whether a header claims to be of ours; also as a U-label."""
    from mailsuite.address.idna import to_ascii

    claimed = authserv_id(value)
    try:
        claimed = to_ascii(claimed)
    except ValueError:
        pass
    return claimed == identifier.lower()


def method_result(value: bytes, method: str) -> str:
    """The first result of a method in a header that `render` made; "" where it is not in it."""
    bare = _COMMENT.sub(b" ", _QUOTED.sub(b" ", value))         # peers' texts may look like results
    match = re.search(rb"[;\s]" + method.encode() + rb"=([a-z]+)", bare)
    return match[1].decode() if match else ""
