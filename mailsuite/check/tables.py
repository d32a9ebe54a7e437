"""Lookup tables that are named but not there, not built, older than their text, or closed to who asks them."""

import os
import re
import time
from collections.abc import Iterator

from mailsuite.check.finding import Finding, error, warning
from mailsuite.check.site import Site, may
from mailsuite.maps.indexed import SUFFIX
from mailsuite.maps.maps import split_specs
from mailsuite.maps.opening import check_type
from mailsuite.maps.table import BadTable

_SPEC = re.compile(r"(?<![\w.:/-])(?:proxy:)*(" + "|".join(SUFFIX) +
                   r"|cdb|texthash|regexp|pcre|cidr):(/[^\s,}]+)")
_FILE_LISTS = ("mynetworks", "mydestination", "relay_domains", "virtual_alias_domains", "virtual_mailbox_domains",
               "virtual_mailbox_maps", "inet_interfaces", "proxy_interfaces", "fast_flush_domains",
               "smtpd_client_event_limit_exceptions", "permit_mx_backup_networks")
INDEXED = {**SUFFIX, "cdb": ".cdb"}
# Tables that a service makes when it needs them.
_CACHES = ("_cache_database", "_cache_map", "address_verify_map", "greylist_map", "smtpd_sasl_rate_map")
EDITING_S = 5.0         # a text that is younger is being worked on


def named_tables(site: Site) -> Iterator[tuple[str, str, str, tuple[str, int]]]:
    """(parameter, type, path, place) of every table file that the configuration names, each once a parameter."""
    seen: set[tuple[str, str]] = set()
    given = list(site.parameters())
    names = {name for name, _, _ in given}
    if any(entry.command == "local" for entry in site.entries) and site.words("mydestination"):
        # Debian's and Postfix's defaults count as well, where they are used.
        given += [(name, site.text(name), site.place(name)) for name in ("alias_maps",) if name not in names]
    for name, text, place in given:
        for kind, path in _SPEC.findall(text):
            if (name, path) not in seen:
                seen.add((name, path))
                yield name, kind, path, place


def check_tables(site: Site) -> Iterator[Finding]:
    """Missing, not built, older than the text."""
    told: set[str] = set()
    for name, kind, path, place in named_tables(site):
        if path in told or name.endswith(_CACHES):
            continue
        told.add(path)
        tool = "postalias" if name in ("alias_maps", "alias_database") else "postmap"
        if kind in INDEXED:
            yield from _indexed(name, kind, path, f"{tool} {kind}:{path}", place)
        elif not os.path.exists(path):
            yield error(f"{name}: the table {kind}:{path} does not exist: mail that needs it waits", place,
                        f"make {path}, or take {kind}:{path} out of {name}")


def _indexed(name: str, kind: str, path: str, tool: str, place: tuple[str, int]) -> Iterator[Finding]:
    built = path + INDEXED[kind]
    if not os.path.exists(built):
        if os.path.exists(path):
            yield error(f"{name}: {built} does not exist: mail that needs it waits", place, tool)
        else:
            yield error(f"{name}: the table {kind}:{path} does not exist: mail that needs it waits", place,
                        f"make {path} and run {tool}")
    elif not os.path.exists(path):
        yield warning(f"{name}: the text {path} of {built} is missing: the table cannot be built anew", place,
                      f"restore {path} (postmap -s {kind}:{path} lists what the table holds)")
    else:
        source, made = os.stat(path).st_mtime, os.stat(built).st_mtime
        if made < source < time.time() - EDITING_S:
            yield warning(f"database {built} is older than source file {path}", (path, 0), tool)


def check_table_rights(site: Site) -> Iterator[Finding]:
    """Tables are opened by services that run as mail_owner."""
    owner = site.mail_owner()
    if not site.privileged or owner is None:
        return
    told: set[str] = set()
    for name, kind, path, place in named_tables(site):
        file = path + INDEXED.get(kind, "")
        if file in told or not os.path.exists(file):
            continue
        told.add(file)
        if not may(4, file, owner.pw_uid, owner.pw_gid):
            yield error(f"{name}: {owner.pw_name} cannot read {file}: mail that needs it waits", place,
                        f"chgrp {owner.pw_name} {file}; chmod g+r {file} (and o+x on the folders above)")


def check_table_types(site: Site) -> Iterator[Finding]:
    """Types that do not exist, or not here."""
    for name, text, place in site.parameters():
        if not name.endswith(("_maps", "_checks", "alias_database")):
            continue
        for spec in split_specs(text):
            kind, colon, _ = spec.partition(":")
            if not colon or not kind.isalnum():
                continue
            try:
                check_type(kind)
            except BadTable as bad:
                yield error(f"{name}: {bad}", place, "\"postconf -m\" lists the types there are")


def check_list_files(site: Site) -> Iterator[Finding]:
    """mynetworks = /file and its kind."""
    for name in _FILE_LISTS:
        if not site.settings.is_set(name):
            continue
        for word in split_specs(site.text(name)):
            path = word.lstrip("!")
            if path.startswith("/") and not os.path.exists(path):
                yield error(f"{name}: the file {path} does not exist", site.place(name), f"make {path}")
