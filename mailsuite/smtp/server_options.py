"""Settings to what sessions need: SessionConfig, rate limits, AUTH's mechanisms."""

import re
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.maps.maps import MapSource, open_maps
from mailsuite.queue.params import DEFAULT_VERP_DELIMITERS, VERP_DELIMITER_FILTER
from mailsuite.smtp import params
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.policy.rates import Rates
from mailsuite.smtp.server_notice import watched_classes

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.sasl.auth_client import Mechanism
    from mailsuite.smtp.policy.policy import Policy

_OPTIONS = {     # smtpd_sasl_security_options -> the property that a mechanism must not have
    "noanonymous": "anonymous", "noplaintext": "plaintext", "nodictionary": "dictionary", "noactive": "active"}
_NEEDED = {"forward_secrecy": "forward_secrecy", "mutual_auth": "mutual_auth"}


def tls_level(settings: "Settings") -> str:
    """"none", "may" or "encrypt", from the new parameter or the old ones."""
    level = settings[params.SMTPD_TLS_SECURITY_LEVEL]
    if level:
        return level
    if settings[params.SMTPD_ENFORCE_TLS]:
        return "encrypt"
    return "may" if settings[params.SMTPD_USE_TLS] else "none"


def make_rates(settings: "Settings") -> Rates:
    """The smtpd_client_*_limit parameters."""
    return Rates({"connection": settings[params.SMTPD_CLIENT_CONNECTION_RATE_LIMIT],
                  "message": settings[params.SMTPD_CLIENT_MESSAGE_RATE_LIMIT],
                  "recipient": settings[params.SMTPD_CLIENT_RECIPIENT_RATE_LIMIT],
                  "tls": settings[params.SMTPD_CLIENT_NEW_TLS_SESSION_RATE_LIMIT],
                  "auth": settings[params.SMTPD_CLIENT_AUTH_RATE_LIMIT]},
                 at_once=settings[params.SMTPD_CLIENT_CONNECTION_COUNT_LIMIT])


def make_config(settings: "Settings", policy: "Policy | None", rates: Rates, *,
                observed: bool = False, plugin_logins: bool = False) -> SessionConfig:
    """policy None: for a program on a pipe (standalone)."""
    level = tls_level(settings)
    wrapped = settings[params.SMTPD_TLS_WRAPPERMODE]
    sasl = settings[params.SMTPD_SASL_AUTH_ENABLE] or plugin_logins
    discard: tuple[str, ...] = settings[params.SMTPD_DISCARD_EHLO_KEYWORDS]
    noop: tuple[str, ...] = settings[params.SMTPD_NOOP_COMMANDS]
    proxied = policy is not None and bool(settings[params.SMTPD_PROXY_FILTER].strip())
    return SessionConfig(
        hostname=settings[params.MYHOSTNAME], banner=settings[params.SMTPD_BANNER],
        line_limit=settings[params.LINE_LENGTH_LIMIT], message_size_limit=settings[params.MESSAGE_SIZE_LIMIT],
        soft_errors=settings[params.SMTPD_SOFT_ERROR_LIMIT], hard_errors=settings[params.SMTPD_HARD_ERROR_LIMIT],
        error_sleep_s=float(settings[params.SMTPD_ERROR_SLEEP_TIME]),
        junk_limit=settings[params.SMTPD_JUNK_COMMAND_LIMIT],
        recipient_limit=settings[params.SMTPD_RECIPIENT_LIMIT],
        recipient_overshoot=settings[params.SMTPD_RECIPIENT_OVERSHOOT_LIMIT],
        timeout_s=float(settings[params.SMTPD_TIMEOUT]), helo_required=settings[params.SMTPD_HELO_REQUIRED],
        disable_vrfy=settings[params.DISABLE_VRFY_COMMAND],
        strict_envelopes=settings[params.STRICT_RFC821_ENVELOPES], smtputf8=settings[params.SMTPUTF8_ENABLE],
        strict_smtputf8=settings[params.STRICT_SMTPUTF8],
        require_tls=policy is not None and settings.text("requiretls_enable") == "yes",
        noop_commands=frozenset(noop),
        ipv6=settings.text("inet_protocols") not in ("ipv4",),
        tls=level in ("may", "encrypt") and policy is not None, tls_required=level == "encrypt" and not wrapped,
        tls_auth_only=settings[params.SMTPD_TLS_AUTH_ONLY] or level == "encrypt",
        tls_loglevel=settings[params.SMTPD_TLS_LOGLEVEL], sasl=sasl and policy is not None,
        sasl_line_limit=settings[params.SMTPD_SASL_RESPONSE_LIMIT],
        burl=policy is not None and bool(settings[params.SMTPD_BURL_PATH]),
        broken_auth=settings[params.BROKEN_SASL_AUTH_CLIENTS], discard_keywords=frozenset(discard),
        keep_history=policy is not None and bool(watched_classes(settings)),
        history_flush=settings[params.SMTPD_HISTORY_FLUSH_THRESHOLD], footer_map=_footer_map(settings),
        filters=policy is not None and bool(settings.text("smtpd_command_filter")),
        forbid_pipelining=policy is not None and settings[params.SMTPD_FORBID_UNAUTH_PIPELINING],
        bare_lf_reply=_bare_lf_reply(settings) if policy is not None else "",
        min_rate=max(1.0, settings[params.SMTPD_MIN_DATA_RATE]) if settings[params.SMTPD_PER_REQUEST_DEADLINE] else 0.0,
        rates=rates.events if policy is not None else frozenset(), footer=_footer(settings),
        ask_options=policy is not None and
        (sasl or bool(settings.text("smtpd_discard_ehlo_keyword_address_maps"))),
        ask_helo=policy is not None and (observed or policy.judges_helo),
        ask_mail=policy is not None and (observed or policy.judges_mail or not settings[params.SMTPD_DELAY_OPEN]),
        ask_data=policy is not None and (observed or policy.judges_data or proxied), observed=observed, proxied=proxied,
        verp_delimiters=settings[DEFAULT_VERP_DELIMITERS], verp_filter=settings[VERP_DELIMITER_FILTER],
        soft_bounce=settings[params.SOFT_BOUNCE], standalone=policy is None)


def _bare_lf_reply(settings: "Settings") -> str:
    if settings[params.SMTPD_FORBID_BARE_NEWLINE] != "reject":
        return ""
    code = settings[params.SMTPD_FORBID_BARE_NEWLINE_REJECT_CODE]
    return f"{code} {str(code)[0]}.5.2 {settings[params.MYHOSTNAME]} Error: bare <LF> received"


def _footer_map(settings: "Settings") -> Callable[[str, Facts], str | None] | None:
    """smtpd_reject_footer_maps; a table that cannot answer at once is passed over."""
    spec = settings.text("smtpd_reject_footer_maps")
    if not spec:
        return None
    maps = open_maps(spec, MapSource(settings, "smtpd"))

    def footer(reply: str, facts: Facts) -> str | None:
        asking = maps.find(reply)
        try:
            asking.send(None)
        except StopIteration as done:
            return settings.expand(done.value, _footer_values(settings, facts)) if done.value is not None else None
        except TemporaryError:
            return None
        asking.close()
        return None

    return footer


def _footer(settings: "Settings") -> Callable[[Facts], str] | None:
    raw = settings.raw("smtpd_reject_footer")
    if not raw:
        return None

    def footer(facts: Facts) -> str:
        return settings.expand(raw, _footer_values(settings, facts))

    return footer


def _footer_values(settings: "Settings", facts: Facts) -> dict[str, str]:
    """What $name in a footer stands for."""
    client = facts.client
    return {"client": client.host, "client_address": client.address, "client_name": client.name,
            "client_port": str(client.port), "reverse_client_name": client.reverse_name,
            "helo_name": facts.helo or "", "sender": facts.sender or "", "recipient": facts.recipient or "",
            "server_name": settings[params.MYHOSTNAME], "server_address": client.server_address,
            "server_port": str(client.server_port), "localtime": time.strftime("%b %d %H:%M:%S")}


def allowed_mechanisms(mechanisms: "Iterable[Mechanism]", options: Iterable[str], chosen: str) -> tuple[str, ...]:
    """Names of those that fit smtpd_sasl_(tls_)security_options and smtpd_sasl_mechanism_filter, upper case."""
    options = list(options)
    return tuple(mechanism.name.upper() for mechanism in mechanisms
                 if not any(getattr(mechanism, _OPTIONS[option]) for option in options if option in _OPTIONS)
                 and all(getattr(mechanism, _NEEDED[option]) for option in options if option in _NEEDED)
                 and _passes(mechanism.name, chosen))


def _passes(name: str, chosen: str) -> bool:
    """A list of names: "!name" is refused, "static:all" and the like take every name."""
    for word in re.split(r"[\s,]+", chosen):
        refused = word.startswith("!")
        word = word.lstrip("!").lower()
        if word and (word == name.lower() or word.startswith("static:")):
            return not refused
    return False


def known_options(options: Iterable[str]) -> list[str]:
    """Words of smtpd_sasl_security_options that mean nothing."""
    return [option for option in options if option not in _OPTIONS and option not in _NEEDED and option != "none"]
