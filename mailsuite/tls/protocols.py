"""TLS protocol names as main.cf and dovecot.conf write them.

    parse_protocols(">=TLSv1.2, !TLSv1.3") -> Protocols        apply(context, protocols)

A list of names allows just these; "!name" excludes one; ">=" and "<=" set a range (Postfix 3.6 and newer). SSLv2 and
SSLv3 are never spoken. Raises: ConfigError for an unknown name.
"""

import ssl
import warnings
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError

# Oldest first. The bit is what SSLContext.options takes to switch a version off.
VERSIONS = ("SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_NUMBERS = {"SSLv2": 0x002, "SSLv3": 0x300, "TLSv1": 0x301, "TLSv1.1": 0x302, "TLSv1.2": 0x303, "TLSv1.3": 0x304}
_OFF = {"TLSv1": ssl.OP_NO_TLSv1, "TLSv1.1": ssl.OP_NO_TLSv1_1, "TLSv1.2": ssl.OP_NO_TLSv1_2,
        "TLSv1.3": ssl.OP_NO_TLSv1_3}
_BY_LOWER = {name.lower(): name for name in VERSIONS} | {"tlsv1.0": "TLSv1"}


@dataclass(frozen=True)
class Protocols:
    """The versions that may be spoken, oldest first."""

    allowed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.allowed)


DEFAULT = Protocols(("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"))


def _version(name: str, text: str) -> str:
    try:
        return _BY_LOWER[name.lower()]
    except KeyError:
        for known, number in _NUMBERS.items():
            if name.lower() in (f"{number:x}", f"{number:04x}", f"0x{number:x}", f"0x{number:04x}"):
                return known
        raise ConfigError(f'invalid TLS protocol "{name}" in "{text}"') from None


def parse_protocols(text: str) -> Protocols:
    """Postfix's *_tls_protocols. An empty text allows all. Raises ConfigError."""
    only: list[str] = []
    without: set[str] = set()
    least, most = 0, len(VERSIONS) - 1
    for word in text.replace(",", " ").replace(":", " ").split():
        if word.startswith(">="):
            least = VERSIONS.index(_version(word[2:], text)) if word[2:] not in ("", "0") else 0
        elif word.startswith("<="):
            most = VERSIONS.index(_version(word[2:], text)) if word[2:] not in ("", "0") else most
        elif word.startswith("!"):
            without.add(_version(word[1:], text))
        else:
            only.append(_version(word, text))
    allowed = tuple(name for index, name in enumerate(VERSIONS) if least <= index <= most and name in _OFF
                    and name not in without and (not only or name in only))
    return Protocols(allowed)


def parse_least(text: str) -> Protocols:
    """Dovecot's ssl_min_protocol: the oldest version allowed. Raises ConfigError."""
    if text in ("ANY", "LATEST"):
        return DEFAULT if text == "ANY" else Protocols(("TLSv1.3",))
    return parse_protocols(">=" + text)


def apply(context: ssl.SSLContext, protocols: Protocols) -> None:
    """Tell a context which versions it may speak."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)      # old versions are the administrator's decision
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        context.options |= ssl.OP_NO_SSLv3
        for name, bit in _OFF.items():
            if name in protocols.allowed:
                context.options &= ~bit
            else:
                context.options |= bit
