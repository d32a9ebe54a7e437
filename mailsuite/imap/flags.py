"""Flags in commands: which are allowed, and in which spelling they are kept.

    parse_flags([Atom(b"\\\\seen"), Atom(b"$Key")]) -> ["\\\\Seen", "$Key"]

Raises: PeerError for a system flag that does not exist (\\Recent can't be set), Refusal for a keyword that would break
a reply when told again.
Source: RFC 3501 section 2.3.2 and "flag-keyword" in section 9.
"""

import re
from collections.abc import Sequence

from mailsuite.base.errors import PeerError
from mailsuite.imap.reply import Refusal
from mailsuite.imap.syntax import Argument, Atom

SYSTEM = {flag.upper(): flag for flag in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}
MAX_KEYWORDS = 500          # in one command
_BAD_KEYWORD = re.compile(r'[\x00-\x20(){%*"\\\]\x7f-\U0010ffff]')


def parse_flags(arguments: Sequence[Argument], longest: int = 50) -> list[str]:
    """Flags of a list, each once. longest: octets of a keyword. Raises PeerError, Refusal."""
    flags: dict[str, str] = {}
    for argument in arguments:
        if not isinstance(argument, Atom):
            raise PeerError("Flags list contains non-atoms")
        name = argument.decode("ascii")
        if name.startswith("\\"):
            if name.upper() not in SYSTEM:
                raise PeerError(f"Invalid system flag {name.upper()}")
            flags.setdefault(name.upper(), SYSTEM[name.upper()])
        elif _BAD_KEYWORD.search(name):
            raise Refusal("Invalid characters in keyword", "CANNOT")
        elif len(name) > longest:
            raise Refusal("Keyword length too long", "CANNOT")
        else:
            flags.setdefault(name.upper(), name)
    if len(flags) > MAX_KEYWORDS:
        raise PeerError("Too many flags")
    return list(flags.values())
