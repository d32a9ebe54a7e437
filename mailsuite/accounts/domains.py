"""Domains whose mail ends here: those with mailboxes (virtual_mailbox_domains) and those with aliases only.

    plan = add_domain(site, "demo.test", aliases_only=False)            raises Refused: another list has it
    delete_domain(site, "demo.test", force=False)                       with force: users too; their mail goes to TRASH
    list_domains(site) -> [Domain]

A list may be a table (a line "demo.test OK"), a file of names, or written in main.cf itself, which is then changed as
`postconf -e` would; only that needs a reload.
"""

import os
from collections import Counter
from dataclasses import dataclass

from mailsuite.accounts.aliases import list_aliases
from mailsuite.accounts.lines import TABLE, WORDS
from mailsuite.accounts.plan import EditedFile, Plan, Refused
from mailsuite.accounts.site import DOMAIN_LISTS, EDITABLE, AccountSite, Source, read
from mailsuite.accounts.users import User, checked_domain, list_users, take_out
from mailsuite.check.domains import listed_domains
from mailsuite.config.maincf import edit_text
from mailsuite.maps.maps import split_specs


@dataclass(frozen=True)
class Domain:
    """kind: "virtual_mailbox", "virtual_alias", "relay" or "local"."""

    name: str
    kind: str
    users: int
    aliases: int


_KINDS = {"virtual_mailbox_domains": "virtual_mailbox", "virtual_alias_domains": "virtual_alias",
          "relay_domains": "relay", "mydestination": "local"}


def list_domains(site: AccountSite) -> list[Domain]:
    """Of tables that cannot be listed (SQL, LDAP, patterns) nothing is known."""
    users = Counter(user.address.rpartition("@")[2] for user in _users(site))
    aliases = Counter(alias.name.rpartition("@")[2] for alias in list_aliases(site) if "@" in alias.name)
    return [Domain(name, kind, users[name], aliases[name]) for parameter, kind in _KINDS.items()
            for name in sorted(listed_domains(site.site, parameter))]


def _users(site: AccountSite) -> list[User]:
    try:
        return [user for user in list_users(site) if user.mailbox]
    except Refused:
        return []


def add_domain(site: AccountSite, name: str, *, aliases_only: bool = False) -> Plan:
    name, parameter = checked_domain(name), DOMAIN_LISTS["virtual_alias" if aliases_only else "virtual_mailbox"]
    if lists := site.lists_of(name):
        other = f": a domain has one class; take it out there first ({_place(site, lists[0])})"
        raise Refused(f"{name} is in {lists[0]} already{'' if lists[0] == parameter else other}")
    plan = Plan()
    source = _list_file(site, parameter)
    if source is not None:
        file = source.read()
        file.append(name if source.form is WORDS else f"{name} OK")
        source.put(plan, file)
    else:
        words = split_specs(_raw(site, parameter))
        _put_main_cf(site, plan, parameter, [*words, name])
    what = "aliases" if aliases_only else "mailboxes"
    plan.done.append(f"{name} has {what} here ({parameter})")
    plan.notes.append(f"mailsuite {'alias' if aliases_only else 'user'} add NAME@{name}; "
                      f"postmaster@{name} should reach somebody")
    if site.site.text("dkim_sign_domains"):
        plan.notes.append(f"to sign its mail: mailsuite dkim key {name}")
    return plan


def _place(site: AccountSite, parameter: str) -> str:
    file, line = site.site.place(parameter)
    return f"{file}, line {line}" if line else f"{parameter} has its default"


def _raw(site: AccountSite, parameter: str) -> str:
    """As it is written; the default of virtual_alias_domains is the table of aliases itself."""
    if site.settings.is_set(parameter):
        return site.settings.raw(parameter)
    if parameter == "virtual_alias_domains":
        return "$virtual_alias_maps"
    return ""


def _list_file(site: AccountSite, parameter: str) -> Source | None:
    """The first table or file of a list; None: its names stand in main.cf. Raises Refused."""
    if not site.settings.is_set(parameter):
        return None
    specs = split_specs(site.site.text(parameter))
    shared = {source.path for name in ("virtual_alias_maps", "virtual_mailbox_maps")
              for source in site.all_tables(name)}
    for spec in specs:
        kind, colon, path = spec.partition(":")
        if spec.startswith("/"):
            return Source(spec, WORDS)
        if colon and kind in EDITABLE and os.path.isabs(path) and path not in shared:
            return Source(path, TABLE, spec if kind != "texthash" else "",
                          "postmap" if kind != "texthash" else "")
    tables = [spec for spec in specs if ":" in spec and spec.partition(":")[2] not in shared
              and spec.partition(":")[0] not in EDITABLE]
    if tables and len(tables) == len(specs):
        raise Refused(f"{parameter} = {', '.join(specs)}: change it there; "
                      f"{tables[0].partition(':')[0]} tables are not edited here")
    return None


def _put_main_cf(site: AccountSite, plan: Plan, parameter: str, words: list[str]) -> None:
    path = os.path.join(site.directory, "main.cf")
    old = read(path)
    new, _ = edit_text(old, {parameter: ", ".join(words)})
    plan.edit(EditedFile(path, old, new))
    plan.main_cf = True


def delete_domain(site: AccountSite, name: str, *, force: bool = False) -> Plan:
    """Raises Refused."""
    name = checked_domain(name)
    parameter = next((one for one in DOMAIN_LISTS.values() if one in site.lists_of(name)), "")
    if not parameter:
        lists = site.lists_of(name)
        raise Refused(f"{name} is in {lists[0]}: that is not for this command ({_place(site, lists[0])})" if lists
                      else f"{name} is not ours")
    _must_not_break(site, name, force=force)
    plan = Plan()
    if parameter == "virtual_mailbox_domains":
        for user in _users_of(site, name):
            take_out(site, plan, user, keep_mail=False)
            plan.done.append(f"deleted {user}")
    for source in site.all_tables("virtual_alias_maps"):
        file = source.read(plan)
        for key in {key for key in file.all_keys() if key.rpartition("@")[2] == name and "@" in key}:
            file.remove(key)
            plan.done.append(f"deleted the alias {key}")
        source.put(plan, file)
    _take_from_list(site, plan, parameter, name)
    plan.done.append(f"deleted {name} from {parameter}")
    return plan


def _users_of(site: AccountSite, name: str) -> list[str]:
    return [user.address for user in list_users(site) if user.address.rpartition("@")[2] == name]


def _must_not_break(site: AccountSite, name: str, *, force: bool) -> None:
    """Raises Refused: there are mailboxes, aliases lead there, or it is the name of this machine's own mail."""
    own = [parameter for parameter in ("myorigin", "mydomain") if site.site.text(parameter).lower() == name]
    if own and not force:
        raise Refused(f"{name} is {own[0]}, the domain of the mail of this machine itself; --force, if you mean it")
    if force:
        return
    if users := _users_of(site, name):
        some = ", ".join(users[:3]) + (" ..." if len(users) > 3 else "")
        raise Refused(f"{name} has {len(users)} mailbox{'es' if len(users) > 1 else ''} ({some}): --force deletes "
                      "them, and moves their mail to a trash folder")
    if leading := [f"{alias.name} ({alias.file}, line {alias.line})" for alias in list_aliases(site)
                   if alias.name.rpartition("@")[2] != name
                   and any(one.lower().rpartition("@")[2] == name for one in alias.destinations)]:
        raise Refused(f"{', '.join(leading[:5])} would lead nowhere: change that first, or say --force")


def _take_from_list(site: AccountSite, plan: Plan, parameter: str, name: str) -> None:
    """Raises Refused: its line cannot be found."""
    gone = False
    if site.settings.is_set(parameter):
        words = split_specs(_raw(site, parameter))
        left = [word for word in words if word.lower() != name]
        if left != words:
            _put_main_cf(site, plan, parameter, left)
            gone = True
    for spec in split_specs(site.site.text(parameter)):
        kind, _, path = spec.partition(":")
        source = Source(spec, WORDS) if spec.startswith("/") else \
            Source(path, TABLE, spec if kind != "texthash" else "", "postmap" if kind != "texthash" else "") \
            if kind in EDITABLE else None
        if source is not None:
            file = source.read(plan)
            if file.remove(name):
                source.put(plan, file)
                gone = True
    if not gone:
        raise Refused(f"{name} is not written in {parameter} itself ({_place(site, parameter)}): take it out by hand")
