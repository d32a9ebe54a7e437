"""Domains in more than one address class, and tables that hide others."""

from collections.abc import Iterator
from itertools import combinations

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.check.finding import Finding, note, warning
from mailsuite.check.site import Site
from mailsuite.maps.maps import MapSource, split_specs
from mailsuite.maps.opening import open_table
from mailsuite.maps.sources import logical_lines, read_text

LISTS = ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains")
LISTABLE = frozenset({"hash", "btree", "lmdb", "texthash", "inline"})
KEYS_LIMIT = 100_000        # of one table
REPORTED = 20


def keys_of(site: Site, spec: str) -> list[str]:
    """The keys of a table in lower case; none where it cannot list them."""
    try:
        table = open_table(spec, MapSource(site.settings, "check"))
    except (ConfigError, TemporaryError):
        return []
    found: list[str] = []
    try:
        for key, _ in table.items():
            found.append(key.lower())
            if len(found) >= KEYS_LIMIT:
                break
    except (ConfigError, TemporaryError, NotImplementedError):
        return []
    finally:
        table.close()
    return found


def listed_domains(site: Site, name: str) -> set[str]:
    """Names in a list of domains: written, in files, keys of tables; patterns are left out."""
    found: set[str] = set()
    pending = split_specs(site.text(name))
    for depth, word in enumerate(pending):
        if depth > KEYS_LIMIT or word.startswith("!"):
            continue
        if word.startswith("/"):
            try:
                pending += [one for line in logical_lines(read_text(word)) for one in line.text.split()]
            except TemporaryError:
                continue
        elif ":" in word and not word.startswith("["):
            found |= {key for key in keys_of(site, word) if "@" not in key and "." in key}
        else:
            found.add(word.lower())
    return found


def check_overlaps(site: Site) -> Iterator[Finding]:
    """A domain has one class; the first in Postfix's order wins, and the other list says nothing."""
    listed = {name: listed_domains(site, name) for name in LISTS}
    if site.text("relay_domains") == site.text("mydestination"):
        listed["relay_domains"] = set()             # Postfix's default before 3.0
    for first, second in combinations(LISTS, 2):
        for domain in sorted(listed[first] & listed[second])[:REPORTED]:
            text = f"do not list domain {domain} in BOTH {first} and {second}"
            yield warning(f"{text}: only {first} counts", site.place(second),
                          f"take {domain} out of {second} (or out of {first}: {_written(site, first)})")


def _written(site: Site, name: str) -> str:
    file, line = site.place(name)
    return f"{file}, line {line}" if line else "its default"


def check_catch_alls(site: Site) -> Iterator[Finding]:
    """"@domain" in virtual_alias_maps takes the mail of every mailbox of that domain that has no alias of its own."""
    mailboxes = {domain: name for name in ("virtual_mailbox_domains", "mydestination", "relay_domains")
                 for domain in listed_domains(site, name)}
    for spec in split_specs(site.text("virtual_alias_maps")):
        for key in [key for key in keys_of(site, spec) if key.startswith("@")][:REPORTED]:
            if key[1:] in mailboxes:
                yield note(f"{spec} has {key}: it takes the mail of every address of {mailboxes[key[1:]]} that has no "
                           "alias of its own", site.place("virtual_alias_maps"),
                           f"give each mailbox a line \"user{key} user{key}\", or remove {key}")


def check_own_domain(site: Site) -> Iterator[Finding]:
    """myorigin in no list: mail for bare names leaves the machine."""
    origin = site.text("myorigin").lower()
    everywhere = [listed_domains(site, name) for name in LISTS]
    if not site.words("mydestination") or site.text("relayhost") or any(origin in listed for listed in everywhere):
        return
    specs = [spec for name in LISTS for spec in split_specs(site.text(name)) if ":" in spec]
    if any(spec.partition(":")[0] not in LISTABLE for spec in specs):
        return                                      # a table that cannot be listed may know it
    hint = f"mydestination = {site.text('mydestination')}, {origin}"
    yield warning(f"myorigin {origin} is in no list of domains: mail for \"root\" would be sent to another machine",
                  site.place("mydestination"), hint)
