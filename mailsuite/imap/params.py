"""What dovecot.conf says about IMAP sessions, read once per session.

    params = Params.of(settings.for_protocol("imap"))

imap_max_line_length   octets of a command with its literals (not APPEND's messages)
imap_extensions        dovecot: what Dovecot 2.3 has; all: everything of extensions.py
imap_capability        replaces the list of capabilities, or with "+" in front adds to it
imap_literal_minus     LITERAL- in place of LITERAL+
imap_progress_interval "* OK [INPROGRESS ...]" while a command takes long; 0 for never
imap_output_timeout    how long a client may read nothing of what it asked for
imap_append_limit      octets of a message in APPEND (APPENDLIMIT); 0: any that the quota allows
imap_message_limit     messages that FETCH, STORE, SEARCH, COPY, MOVE... work on at once (MESSAGELIMIT); 0: any
imap_save_limit        the same for COPY and APPEND alone (SAVELIMIT)
imap_idle_notify_interval   "* OK Still here" while a client idles; 0 for never
imap_id_send           what ID answers: pairs of name and value; "*" stands for the suite's own
imap_logout_format     the log line's text at the end of a session
mail_max_keyword_length
imap_metadata          with mail_attribute_dict: METADATA; imap_urlauth_host with it: URLAUTH
imap_urlauth_max_size  octets of another user's message that a URL may give
imap_metadata_max_size, imap_metadata_max_entries       octets of an entry's value; entries of a mailbox
imap_notify_max_mailboxes, imap_notify_max_watches      what one session's NOTIFY may watch; the rest of them is polled
imap_search_max_mailboxes       mailboxes that one ESEARCH may look into
mail_plugins           imap_quota switches QUOTA on, imap_zlib COMPRESS
plugin/imap_compress_deflate_level      0 (none) to 9 (most); 6
mail_max_userip_connections is the login's business.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mailsuite.imap.extensions import capabilities_of, offer, withheld

T = TypeVar("T")

OFFERED = offer(extended=False)
CAPABILITIES = capabilities_of(OFFERED)


class Settings(Protocol):
    """What is used of config.dovecot.DovecotSettings."""

    def text(self, name: str) -> str: ...
    def size(self, name: str) -> int: ...
    def time_s(self, name: str) -> float: ...
    def flag(self, name: str) -> bool: ...
    def sections(self, type: str) -> Sequence[Any]: ...
    @property
    def plugin(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Params:
    """Limits and texts of an IMAP session. idle_notify_s, progress_s: 0 for never. output_timeout_s: 0 for no limit.

    offered: names in extensions.py. withheld: commands that are answered as unknown. urlauth_any_domain: URLs may name
    the user's mail domain in place of the host. append_limit: octets of a message
    in APPEND; message_limit, save_limit: messages that one command may work on (RFC 9738); 0: any.
    """

    max_line_length: int = 65536
    capability: str = CAPABILITIES
    idle_notify_s: float = 120.0
    id_send: str = "name *"
    max_keyword_length: int = 50
    offered: frozenset[str] = frozenset(each.name for each in OFFERED)
    withheld: frozenset[str] = withheld(OFFERED)
    compress_level: int = 6
    literal_minus: bool = False
    progress_s: float = 0.0
    output_timeout_s: float = 1800.0
    append_limit: int = 0
    message_limit: int = 0
    save_limit: int = 0
    urlauth_host: str = ""
    urlauth_any_domain: bool = False
    urlauth_port: int = 143
    urlauth_max_size: int = 64 << 20
    metadata_max_size: int = 32 * 1024
    metadata_max_entries: int = 1000
    notify_max_mailboxes: int = 10_000
    notify_max_watches: int = 4000
    search_max_mailboxes: int = 1000
    logout_format: str = ("in=%i out=%o deleted=%{deleted} expunged=%{expunged} trashed=%{trashed} "
                          "hdr_count=%{fetch_hdr_count} hdr_bytes=%{fetch_hdr_bytes} "
                          "body_count=%{fetch_body_count} body_bytes=%{fetch_body_bytes}")

    @classmethod
    def of(cls, settings: Settings) -> "Params":
        default = cls()
        plugins = _get(lambda: settings.text("mail_plugins"), "").split()
        offered = offer(extended=_get(lambda: settings.text("imap_extensions"), "") == "all", plugins=plugins,
                        is_on=lambda name: _is_on(settings, name))
        names = frozenset(each.name for each in offered)
        limits = {name: _number(settings, f"imap_{name}_limit") for name in ("append", "message", "save")}
        return cls(
            offered=names, withheld=withheld(offered),
            progress_s=_get(lambda: settings.time_s("imap_progress_interval"), 10.0) if "INPROGRESS" in names else 0.0,
            output_timeout_s=_get(lambda: settings.time_s("imap_output_timeout"), default.output_timeout_s),
            literal_minus=_get(lambda: settings.flag("imap_literal_minus"), False),
            append_limit=limits["append"], message_limit=limits["message"], save_limit=limits["save"],
            compress_level=_level(settings) if "COMPRESS" in names else default.compress_level,
            max_line_length=int(_get(lambda: settings.size("imap_max_line_length"), default.max_line_length)),
            capability=capabilities(_get(lambda: settings.text("imap_capability"), ""),
                                    capabilities_of(offered, _words(settings, limits))),
            idle_notify_s=float(_get(lambda: settings.time_s("imap_idle_notify_interval"), default.idle_notify_s)),
            urlauth_host=_get(lambda: settings.text("imap_urlauth_host"), "") or _get(
                lambda: settings.text("hostname"), "") or socket.gethostname(),
            urlauth_any_domain=not _get(lambda: settings.text("imap_urlauth_host"), ""),
            urlauth_port=_number(settings, "imap_urlauth_port", default.urlauth_port),
            urlauth_max_size=_number(settings, "imap_urlauth_max_size", default.urlauth_max_size),
            metadata_max_size=_number(settings, "imap_metadata_max_size", default.metadata_max_size),
            metadata_max_entries=_number(settings, "imap_metadata_max_entries", default.metadata_max_entries),
            notify_max_mailboxes=_number(settings, "imap_notify_max_mailboxes", default.notify_max_mailboxes),
            notify_max_watches=_number(settings, "imap_notify_max_watches", default.notify_max_watches),
            search_max_mailboxes=_number(settings, "imap_search_max_mailboxes", default.search_max_mailboxes),
            max_keyword_length=int(_get(lambda: settings.text("mail_max_keyword_length"), "") or 50),
            id_send=_get(lambda: settings.text("imap_id_send"), "") or default.id_send,
            logout_format=_get(lambda: settings.text("imap_logout_format"), "") or default.logout_format)


def _is_on(settings: Settings, name: str) -> bool:
    """Whether a condition of an extension holds: a flag is "yes", a text is not empty."""
    if name == "special_use":
        return any(mailbox.text("special_use") for namespace in settings.sections("namespace")
                   for mailbox in namespace.sections("mailbox"))
    on = _get(lambda: settings.text(name), "") not in ("", "no", "0")
    if name in ("imap_metadata", "imap_urlauth_host"):      # both keep something in the dictionary
        return on and _get(lambda: settings.text("mail_attribute_dict"), "").startswith("file:")
    return on


def _number(settings: Settings, name: str, default: int = 0) -> int:
    return int(_get(lambda: settings.size(name), default))


def _words(settings: Settings, limits: Mapping[str, int]) -> dict[str, str]:
    """Capability words that depend on settings, by their extension."""
    words = {}
    if _get(lambda: settings.flag("imap_literal_minus"), False):
        words["LITERAL"] = "LITERAL-"
    if limits["append"]:
        words["APPENDLIMIT"] = f"APPENDLIMIT={limits['append']}"
    for name in ("message", "save"):
        if limits[name]:
            words[f"{name.upper()}LIMIT"] = f"{name.upper()}LIMIT={limits[name]}"
    return words


def _level(settings: Settings) -> int:
    text = settings.plugin.get("imap_compress_deflate_level", "")
    return int(text) if text.isdecimal() and int(text) <= 9 else 6


def _get(read: Callable[[], T], default: T) -> T:
    try:
        return read()
    except KeyError:
        return default


def capabilities(setting: str, default: str = CAPABILITIES) -> str:
    """imap_capability: "" leaves the default, "+A B" adds to it, all else replaces it."""
    if setting.startswith("+"):
        return f"{default} {setting[1:].strip()}"
    return setting or default
