"""MTA-STS: what a domain says of TLS for its mail, as text. Look-ups are smtp/client_sts.py.

    record_id(txt_records) -> "20260101T000000"             None: there is no (one) record
    parse_policy(octets) -> StsPolicy("enforce", ("*.mx.example.org",), 604800)          raises PeerError

Source: RFC 8461 sections 3.1, 3.2 and 4.1.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mailsuite.base.errors import PeerError

MAX_AGE_S = 31557600            # RFC 8461 section 3.2
PATTERNS_LIMIT = 100
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_PATTERN = re.compile(r"(\*\.)?[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
MODES = frozenset({"enforce", "testing", "none"})


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """mx: patterns of names that the domain's exchangers have, lower case. lines: as the reports show it."""

    mode: str
    mx: tuple[str, ...]
    max_age_s: int
    lines: tuple[str, ...] = ()


def record_id(records: Iterable[bytes]) -> str | None:
    """The id of the TXT record at _mta-sts.DOMAIN. Several records that begin so are none."""
    found = [text for text in records if re.match(rb"v=STSv1[ \t]*;", text)]
    if len(found) != 1:
        return None
    for part in found[0].decode("ascii", "replace").split(";")[1:]:
        name, equals, value = part.partition("=")
        if equals and name.strip() == "id":
            value = value.strip()
            return value if _ID.fullmatch(value) else None
    return None


def parse_policy(octets: bytes) -> StsPolicy:
    """The file at https://mta-sts.DOMAIN/.well-known/mta-sts.txt. Raises PeerError."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerError("the policy is not UTF-8") from error
    lines = tuple(line.strip() for line in text.replace("\r\n", "\n").split("\n") if line.strip())
    values: dict[str, str] = {}
    patterns: list[str] = []
    for line in lines:
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon:
            raise PeerError("the policy has a line without a colon")
        if name == "mx":
            if len(value) > 255 or not _PATTERN.fullmatch(value):
                raise PeerError("the policy has a malformed mx line")
            patterns.append(value.lower().rstrip("."))
        else:
            values.setdefault(name, value)      # of double ones the first counts
    if values.get("version") != "STSv1" or not lines[0].startswith("version"):
        raise PeerError("the policy does not begin with version: STSv1")
    mode, age = values.get("mode", ""), values.get("max_age", "")
    if mode not in MODES:
        raise PeerError("the policy has no mode")
    if not (age.isascii() and age.isdigit() and len(age) <= 10):
        raise PeerError("the policy has no max_age")
    if mode != "none" and not patterns:
        raise PeerError("the policy names no mx")
    return StsPolicy(mode, tuple(patterns[:PATTERNS_LIMIT]), min(int(age), MAX_AGE_S), lines)


def fits(host: str, pattern: str) -> bool:
    """An MX host and an mx line: "*." stands for one label. Source: RFC 8461 section 4.1."""
    host, pattern = host.lower().rstrip("."), pattern.lower().rstrip(".")
    if pattern.startswith("*."):
        label, _, rest = host.partition(".")
        return bool(label) and rest == pattern[2:]
    return host == pattern
