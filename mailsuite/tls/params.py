"""Parameters of TLS that both sides share."""

from mailsuite.config.registry import Param, declare, items

TLS_SSL_OPTIONS = declare(Param("tls_ssl_options", "", items(),
    "Options of OpenSSL that are switched on: NO_TICKET, NO_COMPRESSION, NO_RENEGOTIATION, PRIORITIZE_CHACHA, "
    "ENABLE_MIDDLEBOX_COMPAT, LEGACY_SERVER_CONNECT, NO_SESSION_RESUMPTION_ON_RENEGOTIATION, or numbers (0x...)."))
TLS_DISABLE_WORKAROUNDS = declare(Param("tls_disable_workarounds", "", items(),
    "Workarounds of OpenSSL that are switched off: CRYPTOPRO_TLSEXT_BUG, DONT_INSERT_EMPTY_FRAGMENTS, "
    "LEGACY_SERVER_CONNECT, TLSEXT_PADDING, or numbers (0x...)."))
