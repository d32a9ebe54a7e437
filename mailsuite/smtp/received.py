"""The Received: header that this server puts on top of a message (RFC 5321 section 4.4).

    received_header(facts, hostname="mx.test", mail_name="Postfix", now=..., tls_details=..., sender_shown=...) -> bytes
"""

import time

from mailsuite.address.syntax import quote_local
from mailsuite.smtp.facts import Facts

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_last: tuple[int, str] = (-1, "")


def header_date(now: float) -> str:
    """"Sat, 21 Nov 2026 04:00:05 +0000 (UTC)", in local time; RFC 5322 section 3.3. Made once a second."""
    global _last
    second = int(now)
    if _last[0] != second:
        local = time.localtime(second)
        sign, offset = ("-", -local.tm_gmtoff) if local.tm_gmtoff < 0 else ("+", local.tm_gmtoff)
        _last = (second, f"{_DAYS[local.tm_wday]}, {local.tm_mday:2d} {_MONTHS[local.tm_mon - 1]} {local.tm_year} "
                         f"{local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d} "
                         f"{sign}{offset // 3600:02d}{offset // 60 % 60:02d} ({local.tm_zone})")
    return _last[1]


def received_header(facts: Facts, *, hostname: str, mail_name: str, now: float, show_tls: bool = False,
                    asked_certificate: bool = False, show_login: bool = False, hide_client: bool = False) -> bytes:
    """The header, LF line ends. show_tls: smtpd_tls_received_header; show_login: smtpd_sasl_authenticated_header;
    hide_client: smtpd_hide_client_session."""
    lines = [] if hide_client else _client_lines(facts, show_tls, asked_certificate, show_login)
    last = f"Received: by {hostname} ({mail_name})" if hide_client else \
        f"\tby {hostname} ({mail_name}) with {facts.with_protocol}{'A' if facts.sasl_username else ''}"
    last += f" id {facts.queue_id}" if facts.queue_id else ""
    date = header_date(now)
    if facts.recipients == 1 and facts.first_recipient:
        lines += [last, f"\tfor <{quote_local(facts.first_recipient)}>; {date}"]
    else:
        lines += [last + ";", f"\t{date}"]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def _client_lines(facts: Facts, show_tls: bool, asked_certificate: bool, show_login: bool) -> list[str]:
    client = facts.client
    lines = [f"Received: from {facts.helo or client.name} ({client.name} [{client.rfc_address}])"]
    if show_tls and facts.tls is not None:
        lines += _tls_lines(facts, asked_certificate)
    if show_login and facts.sasl_username:
        lines.append(f"\t(Authenticated sender: {_comment(facts.sasl_username)})")
    return lines


def _tls_lines(facts: Facts, asked: bool) -> list[str]:
    tls = facts.tls
    assert tls is not None
    lines = [f"\t(using {tls.protocol} with cipher {tls.cipher} ({tls.cipher_bits}/{tls.cipher_algorithm_bits} bits))"]
    if not asked:
        lines.append("\t(No client certificate requested)")
    elif not tls.peer_certificate:
        lines.append("\t(Client did not present a certificate)")
    else:
        lines.append("\t(Client certificate " + ("verified OK)" if tls.peer_verified else "not verified)"))
    return lines


def _comment(text: str) -> str:
    """A login name inside a header comment: parentheses and line ends would end it."""
    return "".join("?" if char in "()\\" or ord(char) < 32 or ord(char) == 127 else char for char in text)
