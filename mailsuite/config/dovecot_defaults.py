"""Which settings dovecot.conf knows, where, with which default and of which kind.

    ROOT["mail_max_userip_connections"] -> "10"
    SECTIONS["passdb"]["result_success"] -> "return-ok"         settings of a section type with their defaults
    NESTED["service"] -> {"unix_listener", ...}                  section types that may stand in another; "" is the root
    default_service("imap-login") -> ({"chroot": "login", ...}, {("inet_listener", "imap"): {"port": "143"}, ...})
    check("first_valid_uid", "", "abc") raises ConfigError("Invalid number abc: Not a valid number")
    normal("auth_cache_ttl", "", "60 min") -> "1 hours"          as doveconf writes it

FREE section types (plugin, dict) take any name.
"""

import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Literal

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_table

Kind = Literal["text", "bool", "number", "octal", "time", "time_ms", "size", "port", "enum"]

_DATABASE = {"name": "", "driver": "", "args": "", "default_fields": "", "override_fields": "", "skip": "never",
             "result_success": "return-ok", "result_failure": "continue", "result_internalfail": "continue",
             "auth_verbose": "default"}
_LISTENER = {"path": "", "mode": "0600", "user": "", "group": ""}
_SERVICE = {"name": "", "chroot": "", "client_limit": "0", "drop_priv_before_exec": "no", "executable": "",
            "extra_groups": "", "group": "", "idle_kill": "0", "privileged_group": "", "process_limit": "0",
            "process_min_avail": "0", "protocol": "", "service_count": "0", "type": "", "user": "",
            "vsz_limit": "18446744073709551615 B"}
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "passdb": {**_DATABASE, "mechanisms": "", "username_filter": "", "deny": "no", "pass": "no", "master": "no"},
    "userdb": _DATABASE,
    "namespace": {"name": "", "alias_for": "", "disabled": "no", "hidden": "no", "ignore_on_failure": "no",
                  "inbox": "no", "list": "yes", "location": "", "order": "0", "prefix": "", "separator": "",
                  "subscriptions": "yes", "type": "private"},
    "mailbox": {"name": "", "auto": "no", "autoexpunge": "0", "autoexpunge_max_mails": "0", "comment": "",
                "driver": "", "special_use": ""},
    "service": _SERVICE,
    "unix_listener": _LISTENER, "fifo_listener": _LISTENER,
    "inet_listener": {"name": "", "address": "", "haproxy": "no", "port": "0", "reuse_port": "no", "ssl": "no"},
    "plugin": {}, "dict": {},
    "metric": {"metric_name": "", "fields": "", "group_by": "", "filter": "", "exporter": "", "exporter_include":
               "name hostname timestamps categories fields", "description": ""},
    "event_exporter": {"name": "", "transport": "", "transport_args": "", "transport_timeout": "250 msecs",
                       "format": "", "format_args": ""},
}
FREE = frozenset({"plugin", "dict"})
NESTED: Mapping[str, frozenset[str]] = {
    "": frozenset({"passdb", "userdb", "namespace", "service", "plugin", "dict", "metric", "event_exporter"}),
    "namespace": frozenset({"mailbox"}),
    "service": frozenset({"unix_listener", "fifo_listener", "inet_listener"})}
FILTERS = ("protocol", "local", "remote", "local_name")
# What names a section of the type; doveconf does not list it among the settings.
NAMING = {"unix_listener": "path", "fifo_listener": "path", "metric": "metric_name"}
# Sections that add up, in the order of the file, rather than merge by name.
ADDED_UP = frozenset({"passdb", "userdb"})


def _read_root() -> dict[str, str]:
    text = re.sub(r"\n +", " ", dovecot_table.ROOT.strip())
    pairs = (line.partition(" =") for line in text.split("\n"))
    return {name: value[1:] for name, _, value in pairs}


# mail_utf8_extensions: of Dovecot 2.4.
ROOT: Mapping[str, str] = {**_read_root(), "mail_utf8_extensions": "no",
                           "mail_log_prefix": "%s(%u)<%{pid}><%{session}>: ",
                           "log_timestamp": "%b %d %H:%M:%S "}

Listeners = dict[tuple[str, str], dict[str, str]]


@cache
def services() -> Mapping[str, tuple[dict[str, str], Listeners]]:
    """Every service that there is without configuration: what differs from a bare one, and its listeners."""
    found: dict[str, tuple[dict[str, str], Listeners]] = {}
    current: dict[str, str] = {}
    name = ""
    for line in dovecot_table.SERVICES.strip().split("\n"):
        words = line.split()
        if words[-1] != "{" and words[0] != "}":
            key, _, value = line.strip().partition(" = ")
            current[key] = value
        elif words[0] == "service":
            name, current = words[1], {}
            found[name] = current, {}
        elif words[-1] == "{":
            current = found[name][1].setdefault((words[0], words[1]), {})
    return found


_MILLISECONDS = frozenset({"imapc_connection_retry_interval", "login_proxy_timeout",
                           "submission_relay_command_timeout", "submission_relay_connect_timeout",
                           "transport_timeout"})
_TIMES = frozenset({"imap_hibernate_timeout", "mail_max_lock_timeout", "mdbox_rotate_interval",
                    "login_proxy_max_disconnect_delay", "autoexpunge", "idle_kill"})
_SIZES = frozenset({"auth_cache_size", "imap_append_limit", "mbox_min_index_size", "submission_max_mail_size",
                    "imapc_max_line_length"})
_TEXTS = frozenset({"auth_verbose_passwords"})       # no, plain, sha1 and their lengths
_ENUMS: Mapping[str, tuple[str, ...]] = {
    "doveadm_ssl": ("no", "ssl", "starttls"), "imapc_ssl": ("no", "imaps", "starttls"),
    "pop3c_ssl": ("no", "pop3s", "starttls"), "submission_relay_ssl": ("no", "smtps", "starttls"),
    "submission_ssl": ("no", "smtps", "starttls"),
    "imap_extensions": ("dovecot", "all"),
    "imap_fetch_failure": ("disconnect-immediately", "disconnect-after", "no-after"),
    "lmtp_hdr_delivery_address": ("none", "final", "original"), "lock_method": ("fcntl", "flock", "dotlock"),
    "mail_fsync": ("optimized", "never", "always"), "mbox_md5": ("apop3d", "all"),
    "pop3_delete_type": ("default", "expunge", "flag"), "pop3_uidl_duplicates": ("allow", "rename"),
    "skip": ("never", "authenticated", "unauthenticated"),
    **dict.fromkeys(("result_success", "result_failure", "result_internalfail"),
                    ("return-ok", "return", "return-fail", "continue", "continue-ok", "continue-fail")),
    "list": ("yes", "no", "children"), "auto": ("no", "create", "subscribe")}
_ENUMS_AT: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("", "ssl"): ("no", "yes", "required"), ("namespace", "type"): ("private", "shared", "public"),
    ("userdb", "skip"): ("never", "found", "notfound"),
    ("passdb", "auth_verbose"): ("default", "yes", "no"), ("userdb", "auth_verbose"): ("default", "yes", "no")}
_SHAPES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("bool", re.compile("yes|no")), ("time", re.compile(r"\d+ (msecs|secs|mins|hours|days|weeks)")),
    ("size", re.compile(r"\d+ [BkMGT]")), ("octal", re.compile(r"0\d+")), ("number", re.compile(r"\d+")))


def default_of(name: str, section: str) -> str | None:
    """The default of a setting in a section type ("" for the root); None when it is not known there."""
    return (ROOT if not section else SECTIONS[section]).get(name)


def choices(name: str, section: str) -> tuple[str, ...]:
    """The closed set that a setting takes its value from; empty for other kinds."""
    return _ENUMS_AT.get((section, name)) or _ENUMS.get(name, ()) if section not in FREE else ()


@cache
def kind_of(name: str, section: str) -> Kind:
    """How a value is read."""
    if section in FREE:
        return "text"
    if choices(name, section):
        return "enum"
    if name in _MILLISECONDS:
        return "time_ms"
    if name in _TIMES:
        return "time"
    if name in _SIZES:
        return "size"
    if name in _TEXTS:
        return "text"
    if name == "port" or name.endswith("_port") and name != "reuse_port":
        return "port"
    default = default_of(name, section) or ""
    return next((kind for kind, shape in _SHAPES if shape.fullmatch(default)), "text")


_TIME = re.compile(r"(\d+)\s*([a-z]*)", re.ASCII | re.IGNORECASE)
_TIME_UNITS: tuple[tuple[str, str, float], ...] = (
    ("msecs", "milliseconds", 0.001), ("secs", "seconds", 1), ("mins", "minutes", 60), ("hours", "hours", 3600),
    ("days", "days", 86400), ("weeks", "weeks", 604800))
_SIZE = re.compile(r"(\d+)\s*([a-z%]*)", re.ASCII | re.IGNORECASE)
_SIZE_UNITS = {"b": 1, "%": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
INFINITE_S = 4294967295


def _time_unit(word: str) -> float | None:
    lower = word.lower()
    if lower in ("ms", "msec", "msecs", "millisec", "millisecs", "millisecond", "milliseconds"):
        return 0.001
    return next((factor for short, long, factor in _TIME_UNITS[1:]
                 if lower and (long.startswith(lower) or short.startswith(lower))), None)


def time_s(text: str) -> float:
    """"2 mins" -> 120. Raises ConfigError in Dovecot's words."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ConfigError(f"Invalid time interval: {text}")
    if not match[2]:
        if int(match[1]) == 0:
            return 0
        raise ConfigError(f"Time interval '{text}' is missing units (add e.g. 's' for seconds)")
    factor = _time_unit(match[2])
    if factor is None:
        raise ConfigError(f"Invalid time interval: {text}")
    seconds = int(match[1]) * factor
    return math.inf if seconds >= INFINITE_S else seconds


def size_octets(text: str) -> int:
    """"256 M" -> 268435456. Raises ConfigError in Dovecot's words."""
    match = _SIZE.fullmatch(text.strip())
    unit = match[2].lower() if match else ""
    if match is not None and unit in ("", *_SIZE_UNITS, "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib"):
        return int(match[1]) * (_SIZE_UNITS[unit[0]] if unit else 1)
    raise ConfigError(f"Invalid size: {text}")


def boolean(text: str) -> bool:
    """yes, y, 1 and no in any case. Raises ConfigError in Dovecot's words."""
    word = text.strip().lower()
    if word in ("yes", "y", "1"):
        return True
    if word == "no":
        return False
    raise ConfigError(f"Invalid boolean value: {text} (use yes or no)")


def number(text: str, *, octal: bool = False) -> int:
    """A whole number of 32 bits; octal: as in C, a leading zero means base 8. Raises ConfigError."""
    if octal:
        if not re.fullmatch(r"0[0-7]*|[1-9]\d*", text, re.ASCII):
            raise ConfigError(f"Invalid number: {text}" if text[:1] == "0"
                              else f"Invalid number {text}: Not a valid number")
        return int(text, 8 if text[0] == "0" else 10)
    if not re.fullmatch(r"-?\d+", text, re.ASCII):
        raise ConfigError(f"Invalid number {text}: Not a valid number")
    if text[0] == "-":
        raise ConfigError(f"Invalid number {text}: Number too small")
    if int(text) >= 2**32:
        raise ConfigError(f"Invalid number {text}: Number too large")
    return int(text)


def check(name: str, section: str, text: str) -> None:
    """Raises ConfigError when the value is not of the setting's kind."""
    kind = kind_of(name, section)
    if kind == "bool":
        boolean(text)
    elif kind in ("number", "octal"):
        number(text, octal=kind == "octal")
    elif kind == "port":
        if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) > 65535:
            raise ConfigError(f"Invalid port number {text}")
    elif kind in ("time", "time_ms"):
        if time_s(text) % 1 and kind == "time":
            raise ConfigError(f"Milliseconds not supported for this setting: {text}")
    elif kind == "size":
        size_octets(text)
    elif kind == "enum" and text not in choices(name, section):
        raise ConfigError(f"Invalid value: {text}")


def normal(name: str, section: str, text: str) -> str:
    """The value as doveconf writes it: yes/no, the largest unit that fits. A value that cannot be read stays."""
    kind = kind_of(name, section)
    try:
        if kind == "bool":
            return "yes" if boolean(text) else "no"
        if kind in ("number", "port"):
            return str(number(text))
        if kind == "octal":
            return f"0{number(text, octal=True):o}"
        if kind == "time":
            return _written_time(time_s(text), text)
        if kind == "size":
            octets = size_octets(text)
            unit = max((unit for unit in "bkmgt" if octets % _SIZE_UNITS[unit] == 0), key=_SIZE_UNITS.__getitem__)
            return f"{octets // _SIZE_UNITS[unit]} {'B' if unit == 'b' else unit if unit == 'k' else unit.upper()}" \
                if octets else "0"
    except ConfigError:
        pass
    return text


def _written_time(seconds: float, text: str) -> str:
    if seconds in (0, math.inf):
        return text if seconds else "0"
    word, factor = [(short, factor) for short, _, factor in _TIME_UNITS[1:] if seconds % factor == 0][-1]
    return f"{int(seconds // factor)} {word}"
