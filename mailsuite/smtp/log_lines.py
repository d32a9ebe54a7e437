"""The lines that the SMTP server writes to the log on the way; those at a session's end are ledger.py's."""

from logging import Logger

from mailsuite.address.syntax import quote_local
from mailsuite.base.dialogue import NameUse, TlsInfo
from mailsuite.base.log import logger
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.syntax import printable

log = logger("smtpd")
_ESCAPES = {13: "\\r", 10: "\\n", 9: "\\t", 92: "\\\\"}


def log_connect(facts: Facts) -> None:
    """The line that opens a session's story."""
    log.info("connect from %s", facts.client.host)


def log_handshake_failed(facts: Facts, why: str) -> None:
    """why: what the TLS library said, "" when the client just left."""
    log.info("SSL_accept error from %s: %s", facts.client.host, "-1" if why else "lost connection")
    if why:
        log.warning("TLS library problem: %s", why)


def log_unsecured(facts: Facts, why: str) -> None:
    """The whole story of a client that came to a service of implicit TLS (smtpd_tls_wrappermode) and got none."""
    log_connect(facts)
    log_handshake_failed(facts, why)
    log.info("lost connection after CONNECT from %s", facts.client.host)
    log.info("disconnect from %s commands=0/0", facts.client.host)


def log_tls(facts: Facts, tls: TlsInfo) -> None:
    """What a handshake agreed on."""
    trust = "Anonymous" if not tls.peer_certificate else "Trusted" if tls.peer_verified else "Untrusted"
    log_server_name(facts.client.host, tls)
    name = f" to {tls.server_name}" if tls.name_use is NameUse.MATCHED else ""
    log.info("%s TLS connection established from %s%s: %s with cipher %s (%d/%d bits)", trust, facts.client.host, name,
             tls.protocol, tls.cipher, tls.cipher_bits, tls.cipher_algorithm_bits)


def log_server_name(host: str, tls: TlsInfo, log: Logger = log) -> None:
    """A name that a client asked for, and for which tls_server_sni_maps has nothing. host: the client."""
    if tls.name_use is NameUse.UNMATCHED:
        log.info("TLS SNI %s from %s not matched, using default chain", printable(tls.server_name), host)
    elif tls.name_use is NameUse.INVALID:
        log.warning("TLS SNI from %s is invalid: %s", host, printable(tls.server_name))


def log_decision(facts: Facts, what: str, text: str) -> None:
    """"NOQUEUE: reject: RCPT from host: text; from=<> to=<> proto= helo=<>"."""
    parts = []
    if facts.sender is not None:
        parts.append(f"from=<{quote_local(facts.sender)}>")
    if facts.recipient is not None:
        parts.append(f"to=<{quote_local(facts.recipient)}>")
    parts.append(f"proto={facts.protocol}")
    if facts.helo is not None:
        parts.append(f"helo=<{facts.helo}>")
    log.info("%s: %s: %s from %s: %s; %s", facts.queue_id or "NOQUEUE", what, facts.where, facts.client.host,
             text.replace("\n", " "), " ".join(parts))


def log_pipelining(facts: Facts, name: str, rest: bytes) -> None:
    """Somebody does not wait for our replies where he must: RFC 2920 section 3.1; spam programs do that."""
    log.info("improper command pipelining after %s from %s: %s", name, facts.client.host, escape(rest))


def log_bare_lf(facts: Facts, where: str) -> None:
    """A line that ends in LF alone, refused (smtpd_forbid_bare_newline = reject)."""
    parts = [f"from=<{facts.sender}>"] if facts.sender is not None else []
    if facts.first_recipient and facts.recipients == 1:
        parts.append(f"to=<{facts.first_recipient}>")
    parts.append(f"proto={facts.protocol}")
    if facts.helo is not None:
        parts.append(f"helo=<{facts.helo}>")
    log.info("%s: reject: %s from %s: bare <LF> received; %s", facts.queue_id or "NOQUEUE", where, facts.client.host,
             " ".join(parts))


def log_long_line(facts: Facts, limit: int, line: bytes) -> None:
    """A command that was cut off at limit octets."""
    text = printable(line[:30].decode("ascii", "replace")).replace("\ufffd", "?")
    log.warning("%s: request longer than %d: %s...", facts.client.host, limit, text)


def log_stranger(facts: Facts, line: str) -> None:
    """What came is not SMTP at all."""
    log.warning("non-SMTP command from %s: %s", facts.client.host, escape(line.encode("utf-8", "replace")))


def escape(octets: bytes) -> str:
    """The first 100, for the log: control characters and what is not ASCII as backslash escapes."""
    return "".join(_ESCAPES.get(octet) or (chr(octet) if 32 <= octet < 127 else f"\\{octet:03o}")
                   for octet in octets[:100])
