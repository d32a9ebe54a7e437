"""The smtp_* and lmtp_* parameters of the remote dialogue, as one value.

    limits = ClientConfig.of(settings, "smtp")           "lmtp" reads lmtp_connect_timeout and so on
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mailsuite.address.hostname import is_ipv4, is_ipv6
from mailsuite.base.errors import ConfigError
from mailsuite.config.registry import Param, boolean, declare, integer, items, seconds
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource
from mailsuite.maps.matchlist import NameList

T = TypeVar("T")

_TIMES = {"connect": ("30s", "0s", "a connection"), "helo": ("300s", "300s", "the greeting and the reply to EHLO"),
          "xforward": ("300s", "300s", "the reply to XFORWARD"), "mail": ("300s", "300s", "the reply to MAIL FROM"),
          "rcpt": ("300s", "300s", "the reply to RCPT TO"), "data_init": ("120s", "120s", "the reply to DATA"),
          "data_xfer": ("180s", "180s", "the other side to take a block of the message"),
          "data_done": ("600s", "600s", "the reply to the end of the message"),
          "rset": ("20s", "20s", "the reply to RSET"), "quit": ("300s", "300s", "the reply to QUIT"),
          "starttls": ("300s", "300s", "STARTTLS and the handshake")}

TIMEOUTS: Mapping[str, Mapping[str, Param[int]]] = {
    prefix: {stage: declare(Param(f"{prefix}_{'lhlo' if (prefix, stage) == ('lmtp', 'helo') else stage}_timeout",
                                  entry[number], seconds(), f"How long to wait for {entry[2]}; 0: for ever."))
             for stage, entry in _TIMES.items()}
    for number, prefix in enumerate(("smtp", "lmtp"))}

MX_ADDRESS_LIMIT = {prefix: declare(Param(f"{prefix}_mx_address_limit", "5", integer(),
    "Addresses of a destination that are tried; 0: all.")) for prefix in ("smtp", "lmtp")}
MX_SESSION_LIMIT = {prefix: declare(Param(f"{prefix}_mx_session_limit", "2", integer(),
    "Sessions with hosts of a destination in one attempt; 0: any number.")) for prefix in ("smtp", "lmtp")}
LINE_LENGTH_LIMIT = {prefix: declare(Param(f"{prefix}_line_length_limit", default, integer(),
    "Longer lines of a message are broken; 0: none is.")) for prefix, default in (("smtp", "998"), ("lmtp", "998"))}
CACHE_TIME = {prefix: declare(Param(f"{prefix}_connection_cache_time_limit", "2s", seconds(),
    "How long an unused connection is kept for more mail to the same place.")) for prefix in ("smtp", "lmtp")}
CACHE_ON_DEMAND = {prefix: declare(Param(f"{prefix}_connection_cache_on_demand", "yes", boolean(),
    "Keep a connection while more mail for the same place is waiting.")) for prefix in ("smtp", "lmtp")}
REUSE_TIME = {prefix: declare(Param(f"{prefix}_connection_reuse_time_limit", "300s", seconds(least=1),
    "Age at which a connection is not used again.")) for prefix in ("smtp", "lmtp")}
REUSE_COUNT = {prefix: declare(Param(f"{prefix}_connection_reuse_count_limit", "0", integer(),
    "How many messages one connection carries; 0: any number.")) for prefix in ("smtp", "lmtp")}
REPLY_LIMIT = declare(Param("smtp_reply_lines_limit", "200", integer(least=10),
    "Lines that one reply of a remote server may have."))
RELAY_PIPELINE = declare(Param("smtp_pipeline_limit", "100", integer(least=1),
    "Commands that are sent before the first reply is awaited, with PIPELINING."))
CHUNKING = {prefix: declare(Param(f"{prefix}_send_chunking", "no", boolean(),
    "Send messages with BDAT to servers that offer CHUNKING: no dots are doubled, no line end is looked for."))
    for prefix in ("smtp", "lmtp")}
AUTH_CACHE_TIME = {prefix: declare(Param(f"{prefix}_sasl_auth_cache_time", "90d", seconds(least=1),
    "How long a failed login is remembered.")) for prefix in ("smtp", "lmtp")}
CNAME_OVERRIDES = {prefix: declare(Param(f"{prefix}_cname_overrides_servername", "no", boolean(),
    "A server whose name is an alias (CNAME) is known by the name behind it: in the log, in TLS policies and "
    "certificates, and in tables of passwords.")) for prefix in ("smtp", "lmtp")}
USE_SRV = declare(Param("use_srv_lookup", "", items(),
    "Names of services, such as submission, whose hosts and ports are found by SRV records when a nexthop names one "
    "(example.test:submission); brackets around the name prevent that."))
ALLOW_SRV_FALLBACK = declare(Param("allow_srv_lookup_fallback", "no", boolean(),
    "Ask for MX or addresses when a domain has no SRV records."))
IGNORE_SRV_ERROR = declare(Param("ignore_srv_lookup_error", "no", boolean(),
    "Go on with MX or addresses when SRV records cannot be asked for."))
SASL_PASSWORD_MAPS = {prefix: f"{prefix}_sasl_password_maps" for prefix in ("smtp", "lmtp")}


def ports_by_name(text: str) -> Mapping[str, int]:
    """Parser of known_tcp_ports: "smtps=submissions=465, lmtp=24". Raises ConfigError."""
    found: dict[str, int] = {}
    for entry in text.replace(",", " ").split():
        *names, number = entry.split("=")
        if not names or not all(names) or not number.isdecimal() or not 0 < int(number) < 65536:
            raise ConfigError(f"bad entry {entry}, need name=port")
        found |= dict.fromkeys(names, int(number))
    return found


KNOWN_TCP_PORTS = declare(Param("known_tcp_ports", "lmtp=24, smtp=25, smtps=submissions=465, submission=587",
    ports_by_name, "Ports by name, where /etc/services is not asked."))


def own_address(*, six: bool) -> Callable[[str], str]:
    """Parser for an address to connect from; "": any."""
    def parse(text: str) -> str:
        text = text.strip().removeprefix("[").removesuffix("]")
        if text and not (is_ipv6(text) if six else is_ipv4(text)):
            raise ConfigError(f"an IPv{6 if six else 4} address, or nothing, must be here: {text}")
        return text

    return parse


BIND_ADDRESS = {(prefix, six): declare(Param(
    f"{prefix}_bind_address{'6' if six else ''}", "", own_address(six=six),
    f"The address from which connections over IPv{6 if six else 4} are made; empty: any."))
    for prefix in ("smtp", "lmtp") for six in (False, True)}


@dataclass(frozen=True)
class ClientConfig:
    """What the dialogue needs to know. lmtp: LHLO, and a reply per recipient after the message."""

    lmtp: bool
    helo_name: str
    my_name: str
    timeouts: Mapping[str, float]
    line_length: int
    reply_lines: int
    pipeline: int
    skip_5xx_greeting: bool
    always_send_ehlo: bool
    never_send_ehlo: bool
    quote_envelope: bool
    chunking: bool
    probe_data: bool            # smtp_address_verify_target = data
    dummy_mail_auth: bool
    deadline: bool              # time-outs count for a message's whole transfer, at min_rate octets a second
    min_rate: int
    discard_keywords: frozenset[str]
    send_xforward: bool
    skip_quit: bool
    convert_8bit: bool
    sasl: bool
    sasl_soft_bounce: bool
    sasl_options: frozenset[str]
    sasl_tls_options: frozenset[str]
    sasl_verified_options: frozenset[str]
    sasl_filter: NameList | None
    sasl_authzid: bool

    @classmethod
    def of(cls, settings: Settings, prefix: str) -> "ClientConfig":
        """Raises ConfigError."""
        yes = boolean()
        words = _words

        def flag(name: str) -> bool:
            text = settings.text(f"{prefix}_{name}")
            return yes(text) if text else False

        return cls(
            lmtp=prefix == "lmtp", my_name=settings.text("myhostname"),
            helo_name=settings.text("lmtp_lhlo_name" if prefix == "lmtp" else "smtp_helo_name"),
            timeouts={stage: float(settings[param] or 10**9) for stage, param in TIMEOUTS[prefix].items()},
            line_length=settings[LINE_LENGTH_LIMIT[prefix]], reply_lines=settings[REPLY_LIMIT],
            pipeline=settings[RELAY_PIPELINE], quote_envelope=flag("quote_rfc821_envelope"),
            chunking=settings[CHUNKING[prefix]], probe_data=settings.text(f"{prefix}_address_verify_target") == "data",
            dummy_mail_auth=flag("send_dummy_mail_auth"), deadline=flag("per_request_deadline"),
            min_rate=max(1, int(settings.text(f"{prefix}_min_data_rate") or 500)),
            skip_5xx_greeting=flag("skip_5xx_greeting"),
            always_send_ehlo=prefix == "smtp" and flag("always_send_ehlo"),
            never_send_ehlo=prefix == "smtp" and flag("never_send_ehlo"),
            discard_keywords=frozenset(words(settings.text(f"{prefix}_discard_{'l' if prefix == 'lmtp' else 'e'}hlo_"
                                                           "keywords").upper())),
            send_xforward=flag("send_xforward_command"), skip_quit=flag("skip_quit_response"),
            convert_8bit=not yes(settings.text("disable_mime_output_conversion") or "no"),
            sasl=flag("sasl_auth_enable"), sasl_soft_bounce=flag("sasl_auth_soft_bounce"),
            sasl_options=frozenset(words(settings.text(f"{prefix}_sasl_security_options").lower())),
            sasl_tls_options=frozenset(words(settings.text(f"{prefix}_sasl_tls_security_options").lower())),
            sasl_verified_options=frozenset(
                words(settings.text(f"{prefix}_sasl_tls_verified_security_options").lower())),
            sasl_filter=_filter(settings, prefix), sasl_authzid=yes(settings.text("send_cyrus_sasl_authzid")))


def _filter(settings: Settings, prefix: str) -> NameList | None:
    name = f"{prefix}_sasl_mechanism_filter"
    text = settings.text(name)
    return NameList(text, MapSource(settings, prefix), name=name) if text else None


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
