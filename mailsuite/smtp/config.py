"""What a server session must know of the configuration, as plain values: made once per service, shared by all."""

from collections.abc import Callable
from dataclasses import dataclass

from mailsuite.smtp.facts import Facts


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """Names are the parameters' without "smtpd_"; see params.py for what they do.

    rates: events that RateCheck is asked for. footer: makes smtpd_reject_footer's text for a reply.
    ask_helo, ask_mail, ask_data: somebody has restrictions there; without, the session answers by itself.
    footer_map: the same by smtpd_reject_footer_maps; None there: footer's. filters: smtpd_command_filter is asked.
    bare_lf_reply: what a line or message with a bare LF is refused with; "": it is not.
    min_rate: octets a second of a message at least, with deadlines for whole requests; 0: the time-out is for silence.
    observed: milters or plug-ins want to hear of every command. proxied: smtpd_proxy_filter takes the mail.
    verp_delimiters, verp_filter: what XVERP stands for, and what XVERP=xy may ask for.
    burl: BURL is there for who has logged in (RFC 4468).
    standalone: a program on a pipe (sendmail -bs): no STARTTLS, no AUTH, no restrictions.
    """

    hostname: str = "localhost"
    banner: str = "localhost ESMTP Postfix"
    line_limit: int = 2048
    message_size_limit: int = 10240000
    soft_errors: int = 10
    hard_errors: int = 20
    error_sleep_s: float = 1.0
    junk_limit: int = 100
    recipient_limit: int = 1000
    recipient_overshoot: int = 1000
    timeout_s: float = 300.0
    helo_required: bool = False
    disable_vrfy: bool = False
    strict_envelopes: bool = False
    smtputf8: bool = True
    strict_smtputf8: bool = False
    require_tls: bool = False       # REQUIRETLS is offered, under TLS
    noop_commands: frozenset[str] = frozenset()
    ipv6: bool = True
    tls: bool = False
    tls_required: bool = False
    tls_auth_only: bool = False
    tls_loglevel: int = 0
    sasl: bool = False
    burl: bool = False
    sasl_line_limit: int = 12288
    broken_auth: bool = False
    discard_keywords: frozenset[str] = frozenset()
    rates: frozenset[str] = frozenset()
    footer: Callable[[Facts], str] | None = None
    ask_options: bool = False
    ask_helo: bool = False
    ask_mail: bool = False
    ask_data: bool = False
    footer_map: Callable[[str, Facts], str | None] | None = None
    filters: bool = False
    forbid_pipelining: bool = False
    bare_lf_reply: str = ""
    min_rate: float = 0.0
    observed: bool = False
    proxied: bool = False
    soft_bounce: bool = False
    verp_delimiters: str = "+="
    verp_filter: str = "-=+"
    standalone: bool = False
    keep_history: bool = False
    history_flush: int = 100
