"""Aliases: addresses of our domains in virtual_alias_maps, bare names (root, postmaster) in alias_maps.

    plan = add_alias(site, "info@demo.test", ["anna@demo.test"])        raises Refused: a loop, a mailbox, nowhere
    delete_alias(site, "info@demo.test", [])        an address's destinations, or all of it
    list_aliases(site) -> [Alias]
    pointing_at(site, "anna@demo.test") -> ["info@demo.test (/etc/postfix/virtual, line 3)"]
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mailsuite.accounts.plan import Plan, Refused
from mailsuite.accounts.site import AccountSite, Source
from mailsuite.maps.table import fold

DEPTH_LIMIT = 1000          # addresses that are looked at for a loop
_COMMAND = re.compile(r'^"?(?:\||/|:include:)')
_SPLIT = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*")+')


@dataclass(frozen=True)
class Alias:
    """place: file and line."""

    name: str
    destinations: list[str]
    file: str
    line: int


def split_destinations(value: str, *, local: bool) -> list[str]:
    parts = _SPLIT.findall(value) if local else value.replace(",", " ").split()
    return [part.strip() for part in parts if part.strip()]


def _source(site: AccountSite, name: str) -> tuple[Source, bool]:
    """The file for a name, and whether it is a local one. Raises Refused."""
    local, at, domain = name.rpartition("@")
    if not at:
        return site.local_aliases, True
    source = site.aliases
    if not site.lists_of(domain):
        raise Refused(f"{domain} is not ours: mailsuite domain add {domain} (--aliases)")
    return source, False


def _existing(site: AccountSite, name: str) -> list[str] | None:
    """Where mail for a name goes on to, by the tables that can be read; None: nowhere else."""
    local = "@" not in name
    value = site.lookup("alias_maps" if local else "virtual_alias_maps", fold(name))
    return None if value is None else split_destinations(value, local=local)


def add_alias(site: AccountSite, name: str, destinations: Sequence[str], *, replace: bool = False,
              force: bool = False) -> Plan:
    name = name.strip().lower()
    source, local = _source(site, name)
    wanted = [one for text in destinations for one in split_destinations(text, local=local)]
    if not wanted or not name or any(char.isspace() or char in ':,"#' for char in name):
        raise Refused(f"alias add NAME DESTINATION...: {name!r} cannot be an alias here")
    plan, file = Plan(), source.read()
    entry = file.find(name)
    if entry is not None and not replace:
        raise Refused(f"{name} is an alias for {entry.value} ({source.path}, line {entry.line}); --replace puts "
                      "another in its place")
    if entry is None and _existing(site, name) is not None and not replace:
        raise Refused(f"{name} is an alias already, in a table that cannot be edited here")
    _no_loop(site, name, wanted)
    if not force:
        _nothing_lost(site, name, wanted, local=local)
    line = f"{name}: {', '.join(wanted)}" if local else f"{name} {', '.join(wanted)}"
    if entry is not None:
        file.replace(entry, line)
    else:
        file.append(line)
    source.put(plan, file)
    plan.done.append(f"mail for {name} goes to {', '.join(wanted)}")
    return plan


def _no_loop(site: AccountSite, name: str, wanted: Sequence[str]) -> None:
    """Raises Refused. An address among its own destinations is none: a copy stays there."""
    pending = [(one.lower(), [name, one.lower()]) for one in wanted if one.lower() != name]
    seen: set[str] = set()
    while pending:
        one, way = pending.pop()
        if one in seen or _COMMAND.match(one):
            continue
        seen.add(one)
        if len(seen) > DEPTH_LIMIT:
            raise Refused(f"{name} would go to more than {DEPTH_LIMIT} addresses")
        for following in _existing(site, one) or []:
            low = following.lower()
            if low == name:
                raise Refused(f"a loop: {' -> '.join([*way, low])}")
            if low != one:
                pending.append((low, [*way, low]))


def _nothing_lost(site: AccountSite, name: str, wanted: Sequence[str], *, local: bool) -> None:
    """Raises Refused: a mailbox's mail would all go elsewhere, or a destination of ours is not there."""
    if not local and name not in [one.lower() for one in wanted] and \
            site.lookup("virtual_mailbox_maps", name) is not None:
        raise Refused(f"{name} is a mailbox, and would get no mail any more: name it among the destinations to keep "
                      "a copy there, or say --force")
    for one in wanted:
        low, domain = one.lower(), one.lower().rpartition("@")[2]
        if _COMMAND.match(one):
            if not local:
                raise Refused(f"{one}: a file or a command can be a destination of local aliases only (no @)")
            continue
        if "@" not in low:
            continue
        # An alias among its own destinations keeps a copy, where it is a mailbox too.
        tables = ("virtual_mailbox_maps",) if low == name else ("virtual_mailbox_maps", "virtual_alias_maps")
        if "virtual_mailbox_domains" in site.lists_of(domain) and not any(
                site.lookup(parameter, key) is not None for key in (low, f"@{domain}") for parameter in tables):
            raise Refused(f"{one} is neither a mailbox nor an alias: mailsuite user add {one}, or say --force")


def delete_alias(site: AccountSite, name: str, destinations: Sequence[str]) -> Plan:
    """Raises Refused: there is none."""
    name = name.strip().lower()
    source, local = (site.local_aliases, True) if "@" not in name else (site.aliases, False)
    plan, file = Plan(), source.read()
    entry = file.find(name)
    if entry is None:
        raise Refused(f"{name} is not in {source.path}")
    gone = {one.lower() for one in destinations}
    present = split_destinations(entry.value, local=local)
    left = [one for one in present if one.lower() not in gone] if gone else []
    unknown = gone - {one.lower() for one in present}
    if unknown:
        raise Refused(f"{name} does not go to {', '.join(sorted(unknown))} ({source.path}, line {entry.line})")
    if left:
        file.replace(entry, f"{name}: {', '.join(left)}" if local else f"{name} {', '.join(left)}")
        plan.done.append(f"mail for {name} goes to {', '.join(left)}")
    else:
        file.remove(name)
        plan.done.append(f"deleted the alias {name}")
        if name.partition("@")[0] in ("postmaster", "abuse"):
            plan.notes.append(f"{name} should reach somebody (RFC 5321 section 4.5.1, RFC 2142)")
    source.put(plan, file)
    return plan


def list_aliases(site: AccountSite) -> list[Alias]:
    """Those of all tables that are files of lines, as they stand there."""
    return [Alias(entry.key, split_destinations(entry.value, local=parameter == "alias_maps"), source.path, entry.line)
            for parameter in ("virtual_alias_maps", "alias_maps") for source in site.all_tables(parameter)
            for entry in source.read().entries()]


def pointing_at(site: AccountSite, address: str) -> list[str]:
    """Aliases whose mail goes to an address, other than itself."""
    return [f"{alias.name} ({alias.file}, line {alias.line})" for alias in list_aliases(site)
            if alias.name != address and address in [one.lower() for one in alias.destinations]]
