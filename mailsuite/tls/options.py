"""OpenSSL's options of a context, by their names in Postfix: tls_ssl_options, tls_disable_workarounds.

    options = Options.of(settings)              raises ConfigError
    options.apply(context)

A list has names without "SSL_OP_", or numbers such as 0x4000 for what has no name here. Source: postconf(5), ssl.h.
"""

import ssl
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.errors import ConfigError
from mailsuite.tls.params import TLS_DISABLE_WORKAROUNDS, TLS_SSL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mailsuite.config.settings import Settings

_LEGACY_SERVER_CONNECT = 1 << 2
_OPTIONS: "Mapping[str, int]" = {
    "LEGACY_SERVER_CONNECT": _LEGACY_SERVER_CONNECT, "NO_TICKET": ssl.OP_NO_TICKET,
    "NO_COMPRESSION": ssl.OP_NO_COMPRESSION, "NO_RENEGOTIATION": ssl.OP_NO_RENEGOTIATION,
    "NO_SESSION_RESUMPTION_ON_RENEGOTIATION": 1 << 16, "PRIORITIZE_CHACHA": 1 << 21,
    "ENABLE_MIDDLEBOX_COMPAT": 1 << 20}
# The names that are 0 are of OpenSSL before 1.1; old configurations have them.
_WORKAROUNDS: "Mapping[str, int]" = {
    "CRYPTOPRO_TLSEXT_BUG": 1 << 31, "DONT_INSERT_EMPTY_FRAGMENTS": 1 << 11, "TLSEXT_PADDING": 1 << 4,
    "LEGACY_SERVER_CONNECT": _LEGACY_SERVER_CONNECT} | dict.fromkeys((
        "MICROSOFT_SESS_ID_BUG", "NETSCAPE_CHALLENGE_BUG", "NETSCAPE_REUSE_CIPHER_CHANGE_BUG",
        "SSLREF2_REUSE_CERT_TYPE_BUG", "MICROSOFT_BIG_SSLV3_BUFFER", "MSIE_SSLV2_RSA_PADDING",
        "SSLEAY_080_CLIENT_DH_BUG", "TLS_D5_BUG", "TLS_BLOCK_PADDING_BUG", "TLS_ROLLBACK_BUG"), 0)


class Options(NamedTuple):
    """Bits to set and to clear."""

    on: int = 0
    off: int = 0

    @classmethod
    def of(cls, settings: "Settings") -> "Options":
        """What settings say. Raises ConfigError."""
        on: tuple[str, ...] = settings[TLS_SSL_OPTIONS]
        off: tuple[str, ...] = settings[TLS_DISABLE_WORKAROUNDS]
        return cls(_bits("tls_ssl_options", on, _OPTIONS), _bits("tls_disable_workarounds", off, _WORKAROUNDS))

    def apply(self, context: ssl.SSLContext) -> None:
        """Switch them."""
        context.options = (context.options | self.on) & ~self.off


def _bits(parameter: str, words: tuple[str, ...], names: "Mapping[str, int]") -> int:
    bits = 0
    for word in words:
        value = names.get(word.upper())
        if value is None:
            try:
                value = int(word, 16) if word[:2].lower() == "0x" else None
            except ValueError:
                value = None
        if value is None or not 0 <= value < 1 << 63:
            raise ConfigError(f"{parameter}: unknown option {word}, use: {', '.join(names)}, or a number (0x...)")
        bits |= value
    return bits
