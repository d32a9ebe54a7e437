"""Every parameter that Postfix 3.7 to 3.11 know, with its default (that of 3.7 where versions differ).

    DEFAULTS["queue_run_delay"] -> "300s"              as written, unexpanded
    COMPUTED["myhostname"](settings) -> "mx.test"      what depends on the machine, the moment or other parameters
    transport_default("relay_destination_rate_delay") -> "$default_destination_rate_delay"
    kind_of("queue_run_delay") -> "time"               time, boolean, number or text: how a value is checked

Postfix shows `mail_name = Postfix`, and clients and log readers expect it, so it stays; mail_version is our own.
"""

import os
import re
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Literal, Protocol

from mailsuite import __version__
from mailsuite.config.postfix_later import LATER
from mailsuite.config.postfix_table import TABLE

RELEASE_DATE = "20261121"
Kind = Literal["time", "boolean", "number", "text"]


class Values(Protocol):
    """What a computed default may ask about the other parameters."""

    config_directory: str

    def text(self, name: str) -> str: ...
    def is_set(self, name: str) -> bool: ...


def _read_table(table: str) -> dict[str, str]:
    pairs = (line.partition(" =") for line in table.strip().replace("\n    ", " ").split("\n"))
    return {name: value.lstrip(" ") for name, _, value in pairs}


DEFAULTS: dict[str, str] = {
    name: value for table in (TABLE, *LATER.values()) for name, value in _read_table(table).items()}


def _myhostname(values: Values) -> str:
    name = os.uname().nodename
    return name if "." in name else f"{name}.{values.text('mydomain')}"


def _mydomain(values: Values) -> str:
    """What follows the first dot of the host name, the written one or the machine's."""
    name = values.text("myhostname") if values.is_set("myhostname") else os.uname().nodename
    return name.partition(".")[2] or "localdomain"


def _mynetworks(values: Values) -> str:
    from mailsuite.config.interfaces import trusted_networks

    return " ".join(trusted_networks(values.text("mynetworks_style"), values.text("inet_interfaces"),
                                     values.text("inet_protocols")))


COMPUTED: Mapping[str, Callable[[Values], str]] = {
    "config_directory": lambda values: values.config_directory,
    "mail_version": lambda values: __version__,
    "mail_release_date": lambda values: RELEASE_DATE,
    "mydomain": _mydomain,
    "myhostname": _myhostname,
    "mynetworks": _mynetworks,
    "process_id": lambda values: str(os.getpid()),
    "process_name": lambda values: os.path.basename(sys.argv[0]),
}

# What a delivery transport NAME may set as NAME_suffix, and what it falls back to.
_TRANSPORT_SUFFIXES: dict[str, str] = {
    suffix: f"$default_{suffix}" for suffix in (
        "delivery_slot_cost", "delivery_slot_discount", "delivery_slot_loan",
        "destination_concurrency_failed_cohort_limit", "destination_concurrency_limit",
        "destination_concurrency_negative_feedback", "destination_concurrency_positive_feedback",
        "destination_rate_delay", "destination_recipient_limit", "extra_recipient_limit", "minimum_delivery_slots",
        "recipient_limit", "recipient_refill_delay", "recipient_refill_limit", "transport_rate_delay")}
_TRANSPORT_SUFFIXES["initial_destination_concurrency"] = "$initial_destination_concurrency"
_TIME_LIMIT = "time_limit"
_SUFFIX = re.compile(f"_({'|'.join(sorted(_TRANSPORT_SUFFIXES, key=len, reverse=True))}|{_TIME_LIMIT})$")

# Commands of master.cf whose services are delivery transports, and those that run a foreign command.
TRANSPORT_COMMANDS = frozenset({"smtp", "lmtp", "local", "virtual", "pipe", "error"})
TIMED_COMMANDS = frozenset({"pipe", "spawn"})


def transport_suffixes(command: str) -> list[str]:
    """The suffixes that a service with this command adds to its name."""
    suffixes = list(_TRANSPORT_SUFFIXES) if command in TRANSPORT_COMMANDS else []
    return [*suffixes, _TIME_LIMIT] if command in TIMED_COMMANDS else suffixes


def transport_default(name: str) -> str | None:
    """The default of NAME_destination_rate_delay and its like, whether or not a service NAME exists; else None."""
    match = _SUFFIX.search(name)
    if match is None or not match.start():
        return None
    return "$command_time_limit" if match[1] == _TIME_LIMIT else _TRANSPORT_SUFFIXES[match[1]]


def transport_of(name: str) -> str | None:
    """"relay_destination_rate_delay" -> "relay"; None for other names."""
    match = _SUFFIX.search(name)
    return name[:match.start()] or None if match else None


# Parameters whose default looks like a number or a time, but that take other texts as well.
_TEXTS = frozenset({
    "compatibility_level", "default_destination_concurrency_negative_feedback", "lmtp_tcp_port",
    "default_destination_concurrency_positive_feedback", "postscreen_dnsbl_threshold"})
# Words that a boolean-looking parameter takes besides yes and no.
_WORDS = frozenset({"smtpd_forbid_bare_newline", "smtpd_forbid_unauth_pipelining"})
_SHAPES: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("boolean", re.compile("yes|no")), ("time", re.compile(r"\d+[smhdw]")), ("number", re.compile(r"-?\d+")))
_ALIAS = re.compile(r"\$(\w+)")


def kind_of(name: str) -> Kind:
    """How the value of a Postfix parameter is checked, as its default tells; "text" for all that is not certain."""
    default = ""
    for _ in range(5):
        default = DEFAULTS.get(name) or transport_default(name) or ""
        if name in _TEXTS or name in _WORDS or transport_of(name) and name.endswith("_feedback"):
            return "text"
        match = _ALIAS.fullmatch(default)
        if match is None:
            break
        name = match[1]
    return next((kind for kind, shape in _SHAPES if shape.fullmatch(_plain(default))), "text")


def _plain(default: str) -> str:
    """One branch of a default that depends on something: it has the kind of the whole."""
    match = re.fullmatch(r"\$\{.*?\? ?\{(\w*)\} ?: ?\{\w*\}\}([smhdw]?)", default)
    return match[1] + match[2] if match else default


def names() -> Collection[str]:
    """All names, transport-derived ones left out."""
    return DEFAULTS.keys() | COMPUTED.keys()
