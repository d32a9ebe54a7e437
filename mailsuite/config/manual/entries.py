"""The manual of main.cf: what is known of each parameter, put together from its declaration and from the tables.

    entry("smtpd_tls_chain_files") -> Entry(name, default, kind, meaning, since, differs, ...), None: no parameter
    every_name() -> all names, sorted; transport_X stands for what every transport of master.cf has
    nearest("relayhots") -> ["relayhost", ...]
"""

import difflib
import re
from dataclasses import dataclass

from mailsuite.config import registry
from mailsuite.config.manual.since import since
from mailsuite.config.manual.tables import GROUPS, LINES
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS, kind_of, transport_default, transport_of
from mailsuite.config.postfix_later import CHANGED

# What the defaults are that the machine gives.
COMPUTED_DEFAULTS = {
    "config_directory": "/etc/postfix, or what -c or MAIL_CONFIG say", "mail_version": "our version",
    "mail_release_date": "the day of our release", "mydomain": "$myhostname without its first part, or localdomain",
    "myhostname": "the machine's name, with $mydomain where it has no dot",
    "mynetworks": "networks of the machine's addresses, by mynetworks_style",
    "process_id": "the process", "process_name": "the program"}
# Where we obey a parameter otherwise than Postfix does.
DIFFERS = {
    "smtpd_timeout": "stress is not looked at in the default: always 300s",
    "smtpd_hard_error_limit": "stress is not looked at in the default: always 20",
    "smtpd_junk_command_limit": "stress is not looked at in the default: always 100",
    "smtputf8_enable": "the default is yes at every compatibility_level",
    "alias_maps": "nis: tables are not supported",
    "daemon_directory": "commands of master.cf are found by name, wherever this points",
    "default_database_type": "hash: files are LMDB inside",
    "mail_version": "shows the version of mailsuite"}
_KINDS = {"time": "time; without a unit: s", "boolean": "yes or no", "number": "number", "text": "text"}
_SHAPES = ((r".*_restrictions$", "list of restrictions"), (r".*(_checks|_maps|_map|_filter)$", "lookup tables"),
           (r".*(_directory|_path|_file)$", "path"),
           (r"mynetworks|mydestination|.*_(networks|clients|hosts|domains|classes|addresses|list)", "list"))
OWN = "not in Postfix"


@dataclass(frozen=True)
class Entry:
    """What the manual says of one parameter.

    default: as written in main.cf; computed: it depends on the machine, default then describes it. kind: what values
    look like, with unit and limits. since: version of Postfix, "" for the oldest. differs: sentences. obeyed: whether
    our code reads it; else `reason` says why not. acts_as: values (besides the default) that are what we do.
    """

    name: str
    default: str
    kind: str
    meaning: str
    since: str
    differs: tuple[str, ...]
    own: bool = False
    computed: bool = False
    obeyed: bool = True
    reason: str = ""
    silent: bool = False
    acts_as: tuple[str, ...] = ()


def every_name() -> list[str]:
    """Postfix's names and our own, sorted."""
    registry.import_all()
    return sorted({*DEFAULTS, *COMPUTED, *registry.declared()})


def nearest(name: str, *, most: int = 3) -> list[str]:
    """Known names that look like this one, the nearest first."""
    return difflib.get_close_matches(name, every_name(), n=most, cutoff=0.7)


def entry(name: str) -> Entry | None:
    """The entry of a name, also of one made from a transport (relay_destination_rate_delay); None: unknown."""
    registry.import_all()
    param = registry.declared().get(name)
    if name not in DEFAULTS and name not in COMPUTED and param is None:
        return _of_transport(name)
    own = name not in DEFAULTS and name not in COMPUTED
    line = LINES.get(name)
    group = GROUPS[line.group] if line and line.group else None
    differs = [OWN] if own else []
    if name in DIFFERS:
        differs.append(DIFFERS[name])
    if name in CHANGED:
        version, default = CHANGED[name]
        differs.append(f"from Postfix {version} on: {default}")
    if group:
        differs.append(f"not obeyed: {group.reason}")
    computed = name in COMPUTED
    default = COMPUTED_DEFAULTS[name] if computed else DEFAULTS[name] if param is None or not own else param.default
    return Entry(name, default, _kind(name), meaning(name), since(name), tuple(differs), own=own, computed=computed,
                 obeyed=group is None, reason=group.reason if group else "", silent=bool(group and group.silent),
                 acts_as=line.acts_as if line else ())


def _of_transport(name: str) -> Entry | None:
    default, transport = transport_default(name), transport_of(name)
    if default is None or transport is None:
        return None
    origin = default.lstrip("$")
    general = entry(origin)
    assert general is not None
    return Entry(name, default, general.kind, f"{origin}, for the transport {transport}. {general.meaning}",
                 general.since, general.differs, obeyed=general.obeyed, reason=general.reason,
                 acts_as=general.acts_as)


def _kind(name: str) -> str:
    param = registry.declared().get(name)
    if param is not None and (text := registry.kind_text(param.parse)) and text != "text":
        return text
    kind = kind_of(name)
    if kind == "text":
        return next((text for shape, text in _SHAPES if re.fullmatch(shape, name)), "text")
    return _KINDS[kind]


def meaning(name: str) -> str:
    """What the parameter means, a sentence or two; "" when nobody wrote it yet."""
    param = registry.declared().get(name)
    if param is not None:
        return param.doc
    line = LINES.get(name)
    text = line.meaning if line else ""
    if text.startswith("="):
        return f"As {text[1:]}, for {_WHO[name.partition('_')[0]]}: {meaning(text[1:])}"
    if text:
        return text
    if name.startswith("lmtp_"):
        twin = meaning("smtp_" + name[5:])
        return f"As smtp_{name[5:]}, for LMTP: {twin}" if twin else ""
    origin = (transport_default(name) or "").lstrip("$")
    return f"{origin}, for the transport {transport_of(name)}. {meaning(origin)}" if origin else ""


_WHO = {"tlsproxy": "tlsproxy", "postscreen": "postscreen"}
