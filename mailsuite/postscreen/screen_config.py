"""postscreen's parameters as values, made once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import Maps, MapSource, open_maps
from mailsuite.maps.matchlist import AddressList, NameList
from mailsuite.postscreen import params
from mailsuite.postscreen.access import AccessList
from mailsuite.postscreen.cache import Check
from mailsuite.postscreen.dnsbl import Site, parse_sites
from mailsuite.smtp.reply import with_footer

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

log = logger("postscreen")


@dataclass(frozen=True)
class ScreenConfig:
    """Names are the parameters' without "postscreen_". teaser "": no greeting test. allow_threshold None: not used."""

    settings: "Settings"
    hostname: str
    banner: str
    teaser: str
    greet_wait_s: float
    stress_greet_wait_s: float
    greet_action: str
    denylist_action: str
    words: tuple[str, str]              # for ALLOWLIST and DENYLIST in the log
    sites: tuple[Site, ...]
    threshold: int
    allow_threshold: int | None
    dnsbl_action: str
    dnsbl_min_ttl_s: float
    dnsbl_max_ttl_s: float
    dnsbl_timeout_s: float
    enabled: frozenset[Check]
    ttls: dict[Check, float]
    actions: dict[Check, str]
    access: AccessList
    here: AddressList
    forbidden: NameList
    reply_map: Maps
    command_filter: Maps
    cache_path: str
    cache_name: str
    cache_limit: int
    connections: int
    commands: int
    command_time_s: float
    stress_command_time_s: float
    line_limit: int
    pre_queue: int
    post_queue: int
    haproxy: bool
    proxy_timeout_s: float
    tls: bool
    tls_required: bool
    tls_loglevel: int
    helo_required: bool
    disable_vrfy: bool
    discard: frozenset[str]
    size_limit: int
    smtputf8: bool
    smtpd_path: str

    @classmethod
    def of(cls, settings: "Settings", *, tls_ready: bool) -> "ScreenConfig":
        """Raises ConfigError."""
        source = MapSource(settings, "postscreen")
        stressed = settings.with_overrides({"stress": "yes"})
        mynetworks = AddressList(settings.text("mynetworks"), source, name="mynetworks")
        sites = tuple(parse_sites(settings[params.DNSBL_SITES]))
        teaser = settings[params.GREET_BANNER]
        enabled = {Check.PREGREET: bool(teaser), Check.DNSBL: bool(sites),
                   Check.PIPELINING: settings[params.PIPELINING_ENABLE],
                   Check.NON_SMTP: settings[params.NON_SMTP_ENABLE],
                   Check.BARE_NEWLINE: settings[params.BARE_NEWLINE_ENABLE]}
        level = settings[params.TLS_SECURITY_LEVEL]
        name = settings.text("postscreen_cache_map")
        path = name.partition(":")[2] if name.partition(":")[0] not in ("memcache", "proxy") else ""
        return cls(
            settings=settings, hostname=settings.text("myhostname"), banner=settings.text("smtpd_banner"),
            teaser=teaser, greet_wait_s=settings[params.GREET_WAIT], stress_greet_wait_s=stressed[params.GREET_WAIT],
            greet_action=settings[params.GREET_ACTION], denylist_action=settings[params.DENYLIST_ACTION],
            words=("ALLOW", "DENY") if settings[params.RESPECTFUL_LOGGING] else ("WHITE", "BLACK"),
            sites=sites, threshold=settings[params.DNSBL_THRESHOLD],
            allow_threshold=_allow_threshold(settings), dnsbl_action=settings[params.DNSBL_ACTION],
            dnsbl_min_ttl_s=settings[params.DNSBL_MIN_TTL], dnsbl_max_ttl_s=settings[params.DNSBL_MAX_TTL],
            dnsbl_timeout_s=settings[params.DNSBL_TIMEOUT],
            enabled=frozenset(test for test, on in enabled.items() if on),
            ttls={Check.PREGREET: settings[params.GREET_TTL], Check.PIPELINING: settings[params.PIPELINING_TTL],
                  Check.NON_SMTP: settings[params.NON_SMTP_TTL],
                  Check.BARE_NEWLINE: settings[params.BARE_NEWLINE_TTL]},
            actions={Check.PIPELINING: settings[params.PIPELINING_ACTION],
                     Check.NON_SMTP: settings[params.NON_SMTP_ACTION],
                     Check.BARE_NEWLINE: settings[params.BARE_NEWLINE_ACTION]},
            access=AccessList(settings[params.ACCESS_LIST], source, mynetworks),
            here=AddressList(settings.text("postscreen_allowlist_interfaces"), source,
                             name="postscreen_allowlist_interfaces"),
            forbidden=NameList(settings.text("postscreen_forbidden_commands"), source,
                               name="postscreen_forbidden_commands"),
            reply_map=open_maps(settings.text("postscreen_dnsbl_reply_map"), source),
            command_filter=open_maps(settings.text("postscreen_command_filter"), source),
            cache_path=f"{path}.sqlite" if path.startswith("/") else "", cache_name=name,
            cache_limit=settings[params.CACHE_LIMIT], connections=settings[params.CONNECTION_COUNT_LIMIT],
            commands=settings[params.COMMAND_COUNT_LIMIT], command_time_s=settings[params.COMMAND_TIME_LIMIT],
            stress_command_time_s=stressed[params.COMMAND_TIME_LIMIT],
            line_limit=int(settings.text("line_length_limit")), pre_queue=settings[params.PRE_QUEUE_LIMIT],
            post_queue=settings[params.POST_QUEUE_LIMIT], haproxy=settings[params.PROXY_PROTOCOL] == "haproxy",
            proxy_timeout_s=settings[params.PROXY_TIMEOUT], tls=tls_ready and level in ("may", "encrypt"),
            tls_required=level == "encrypt", tls_loglevel=int(settings.text("smtpd_tls_loglevel") or 0),
            helo_required=settings.text("postscreen_helo_required") == "yes",
            disable_vrfy=settings.text("postscreen_disable_vrfy_command") == "yes",
            discard=frozenset(settings.text("postscreen_discard_ehlo_keywords").lower().replace(",", " ").split()),
            size_limit=int(settings.text("message_size_limit")), smtputf8=settings.text("smtputf8_enable") == "yes",
            smtpd_path=f"{settings.text('queue_directory')}/private/{settings[params.SMTPD_SERVICE_NAME]}")

    async def may_pass_here(self, server_address: str) -> bool:
        """postscreen_allowlist_interfaces."""
        try:
            return await self.here.matches(server_address)
        except TemporaryError:
            return True

    async def shown_domain(self, domain: str) -> str:
        """postscreen_dnsbl_reply_map: what a client is told of a list whose name holds a secret."""
        if self.reply_map.empty:
            return domain
        try:
            return await self.reply_map.find(domain) or domain
        except TemporaryError as error:
            log.warning("postscreen_dnsbl_reply_map: %s", error.detail or error.public)
            return domain

    def with_footer(self, reply: str, **known: str) -> str:
        """postscreen_reject_footer behind a 4xx or 5xx reply."""
        raw = self.settings.raw("postscreen_reject_footer")
        if raw == "$smtpd_reject_footer":
            raw = self.settings.raw("smtpd_reject_footer")
        return with_footer(reply, self.settings.expand(raw, known)) if raw and reply[0] in "45" else reply


def _allow_threshold(settings: "Settings") -> int | None:
    text = settings.text("postscreen_dnsbl_allowlist_threshold") or "0"
    try:
        number = int(text)
    except ValueError:
        raise ConfigError(f"bad postscreen_dnsbl_allowlist_threshold: {text}") from None
    return number if number < 0 else None
