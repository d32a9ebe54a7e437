"""What every command of Postfix looks at in main.cf before it does anything: identity, accounts, limits.

    refuse_unusable(settings, warn)         raises ConfigError: what to print behind "fatal: "

Only what main.cf sets is looked at: the defaults are right, and an account of theirs need not exist on a machine where
only tables are built. Words and order were seen with Postfix 3.7; config/command.py looks at types of values, this at
what they mean.
"""

import grp
import pwd
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.config.interfaces import ip_versions

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

FACILITIES = frozenset({
    "auth", "authpriv", "cron", "daemon", "ftp", "kern", "lpr", "mail", "news", "security", "syslog", "user", "uucp",
    *(f"local{number}" for number in range(8))})
# Texts that may not be empty, in the order in which they are looked at.
TEXTS = ("syslog_facility", "myhostname", "mydomain", "mail_name", "syslog_name", "mail_owner", "setgid_group",
         "myorigin", "daemon_directory", "data_directory", "command_directory", "meta_directory", "shlib_directory",
         "queue_directory", "process_id_directory", "double_bounce_sender", "default_privs", "mail_version",
         "default_database_type", "hash_queue_names", "mynetworks_style", "default_verp_delimiters",
         "verp_delimiter_filter", "bounce_service_name", "queue_service_name", "rewrite_service_name",
         "maillog_file_prefixes")
LEAST: Mapping[str, int] = {
    "max_use": 1, "line_length_limit": 512, "hash_queue_depth": 1, "header_size_limit": 1, "mime_nesting_limit": 1,
    "default_process_limit": 1}
# Of hash_queue_depth ours: names of queue files are not longer.
MOST: Mapping[str, int] = {"delay_logging_resolution_limit": 6, "hash_queue_depth": 16}
_LABEL = re.compile(r"[^A-Za-z0-9_.\-]")


def refuse_unusable(settings: "Settings", warn: Callable[[str], None]) -> None:
    """Raises ConfigError."""
    written = {name: _text(settings, name, warn) for name in TEXTS if settings.is_set(name)}
    for name, text in written.items():
        least = 2 if name == "default_verp_delimiters" else 1
        if len(text) < least:
            raise ConfigError(f"bad string length {len(text)} < {least}: {name} = {text}")
    file = f"file {settings.config_directory}/main.cf"
    if (facility := written.get("syslog_facility", "mail")) not in FACILITIES:
        raise ConfigError(f"{file}: parameter syslog_facility: unrecognized value: {facility}")
    for name in ("myhostname", "mydomain"):
        if name in written and (why := _not_a_host(written[name])):
            warn(f"valid_hostname: {why}: {written[name]}")
            raise ConfigError(f"{file}: parameter {name}: bad parameter value: {written[name]}")
    ip_versions(settings.text("inet_protocols"))
    for name in (*LEAST, *MOST):
        _in_range(settings, name)
    _check_accounts(written, file)
    if "myorigin" in written and len(re.split(r"[ \t\r\n,]+", written["myorigin"])) > 1:
        raise ConfigError(f"myorigin parameter setting must not contain multiple values: {written['myorigin']}")
    delimiters, allowed = settings.text("default_verp_delimiters"), settings.text("verp_delimiter_filter")
    for place, letter in zip(("first", "second"), delimiters, strict=False):
        if letter not in allowed:
            raise ConfigError(f"{file}: parameters default_verp_delimiters and verp_delimiter_filter: bad {place} VERP "
                              "delimiter character")


def _text(settings: "Settings", name: str, warn: Callable[[str], None]) -> str:
    try:
        return settings.text(name)
    except ConfigError as error:
        warn(error.public)
        raise ConfigError("dictionary mail_dict: macro processing error") from error


def _not_a_host(name: str) -> str:
    """What is wrong with a host name; "" for nothing."""
    if bad := _LABEL.search(name):
        return f"invalid character {ord(bad[0])}(decimal)"
    labels = name.split(".")
    if not all(labels):
        return "misplaced delimiter"
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        return "misplaced hyphen"
    return "numeric hostname" if name.replace(".", "").isdigit() else ""


def _in_range(settings: "Settings", name: str) -> None:
    if not settings.is_set(name):
        return
    number = int(settings.text(name))               # command.py has read it as a number
    if number < LEAST.get(name, number):
        raise ConfigError(f"invalid {name} parameter value {number} < {LEAST[name]}")
    if number > MOST.get(name, number):
        raise ConfigError(f"invalid {name} parameter value {number} > {MOST[name]}")


def _check_accounts(written: Mapping[str, str], file: str) -> None:
    """default_privs, mail_owner, setgid_group exist, and commands of aliases never run as root. Who runs a suite of
    their own as root may own its queue."""
    for name in ("default_privs", "mail_owner"):
        if name in written:
            try:
                user = pwd.getpwnam(written[name])
            except KeyError:
                raise ConfigError(f"{file}: parameter {name}: unknown user name value: {written[name]}") from None
            if name == "default_privs" and 0 in (user.pw_uid, user.pw_gid):
                raise ConfigError(f"{file}: parameter {name}: user {written[name]} has privileged "
                                  f"{'group' if user.pw_uid else 'user'} ID")
    if "setgid_group" in written:
        try:
            grp.getgrnam(written["setgid_group"])
        except KeyError:
            raise ConfigError(f"{file}: parameter setgid_group: unknown group name: "
                              f"{written['setgid_group']}") from None
