"""How a command reads main.cf: it warns, it ends at the first thing that every program needs and that is wrong.

    settings = load_for_command("/etc/postfix", warn)        raises ConfigError: what to print behind "fatal: "

Unlike a strict load this does not look at parameters of other programs: a slip in one of qmgr's must not keep
postqueue from working. The words are Postfix's.

When an entry is there twice and the file was written less than a second ago, someone may be editing it right now: the
file is read again (and the warnings given again, as Postfix does) once it has settled.
"""

import os
import time
from collections.abc import Callable

from mailsuite.base.errors import ConfigError
from mailsuite.config.expansion import compatibility_level
from mailsuite.config.maincf import MainCf, read_main_cf
from mailsuite.config.postfix_defaults import kind_of
from mailsuite.config.registry import boolean, integer, seconds
from mailsuite.config.settings import Settings

Warn = Callable[[str], None]

# What every program of the mail system reads, in the order in which it is looked at.
COMMON = (
    "daemon_timeout", "max_use", "dont_remove", "line_length_limit", "hash_queue_depth", "fork_attempts",
    "deliver_lock_attempts", "debug_peer_level", "fault_injection_code", "header_size_limit",
    "header_address_token_limit", "mime_nesting_limit", "mime_boundary_length_limit", "default_process_limit",
    "delay_logging_resolution_limit", "berkeley_db_create_buffer_size", "berkeley_db_read_buffer_size",
    "lmdb_map_size", "tcp_windowsize", "message_size_limit",
    "smtputf8_enable", "daemon_table_open_error_is_fatal", "soft_bounce", "owner_request_special",
    "disable_dns_lookups", "disable_mime_input_processing", "disable_mime_output_conversion", "strict_7bit_headers",
    "strict_8bitmime", "strict_8bitmime_body", "strict_mime_encoding_domain", "strict_smtputf8", "helpful_warnings",
    "address_verify_negative_cache", "backwards_bounce_logfile_compatibility", "dns_ncache_ttl_fix_enable",
    "enable_idna2003_compatibility", "enable_long_queue_ids", "enable_original_recipient", "multi_instance_enable",
    "respectful_logging", "send_cyrus_sasl_authzid",
    "application_event_drain_time", "deliver_lock_delay", "fork_delay", "in_flow_delay", "ipc_idle", "ipc_timeout",
    "ipc_ttl", "max_idle", "stale_lock_time", "trigger_timeout")
_ORDER = {"number": 0, "boolean": 1, "time": 2}
# A file older than this is not being written any more.
SETTLED_S = 1.0


def read_settled(path: str, warn: Warn) -> MainCf:
    """Read main.cf with its warnings; again when it may have been half-written. Raises ConfigError."""
    main_cf = _read(path, warn)
    if not main_cf.overridden():
        return main_cf
    waited = False
    while (age := _age_s(path)) < SETTLED_S:
        time.sleep(max(0.01, SETTLED_S - age))
        waited = True
    if not waited:
        return main_cf
    # Read over what is there already: the first entry of a name now replaces the last.
    final = {entry.name: entry.value for entry in main_cf.entries}
    again = _read(path, warn)
    counts: dict[str, int] = {}
    for entry in again.entries:
        counts[entry.name] = counts.get(entry.name, 0) + 1
    seen: set[str] = set()
    for entry in again.entries:
        if counts[entry.name] > 1 and entry.name not in seen:
            warn(f"{path}, line {entry.first_line}: overriding earlier entry: "
                 f"{entry.name}={final.get(entry.name, '')}")
        seen.add(entry.name)
    return again


def _age_s(path: str) -> float:
    """Seconds since the last change; a time in the future counts as settled."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        return SETTLED_S
    return age if age >= 0 else SETTLED_S


def _read(path: str, warn: Warn) -> MainCf:
    main_cf = read_main_cf(path)
    stop = main_cf.errors[0] if main_cf.errors else None
    for warning in (*main_cf.stray_warnings(), *main_cf.overridden()):
        warn(warning)
    if stop is not None:
        raise stop
    return main_cf


def load_for_command(config_directory: str, warn: Warn, *, thorough: bool = False) -> Settings:
    """Settings for a command that needs main.cf only in part. Raises ConfigError.

    thorough: identity, accounts and ranges are looked at as well, as Postfix's own commands do (not postconf).
    """
    main_cf = read_settled(f"{config_directory}/main.cf", warn)
    settings = Settings.from_main_cf(main_cf, config_directory, strict=False)
    compatibility_level(settings.text("compatibility_level"))
    for name in sorted((name for name in COMMON if settings.is_set(name)),
                       key=lambda name: _ORDER.get(kind_of(name), 3)):
        _check(name, settings.text(name))
    if thorough:
        from mailsuite.config.command_checks import refuse_unusable

        refuse_unusable(settings, warn)
    return settings


def _check(name: str, text: str) -> None:
    kind = kind_of(name)
    try:
        if kind == "number":
            integer(least=-2**31, most=2**63 - 1)(text)
        elif kind == "boolean":
            boolean()(text)
        elif kind == "time":
            seconds()(text)
    except ConfigError as error:
        raise ConfigError(f"parameter {name}: {error.public}" if kind == "time" else
                          f"bad {'numerical' if kind == 'number' else kind} configuration: {name} = {text}") from error
