"""Users: a line in the passwd-file of passdb and one in the table of virtual_mailbox_maps.

    plan = add_user(site, "anna@demo.test", "{SHA512-CRYPT}$6$...")         raises Refused
    set_password, disable, enable, delete_user; list_users(site) -> [User]

A disabled user's mail arrives, but no login works, with whatever password: her line gets the fields of DISABLED, which
Dovecot obeys too. The hash stays, so `enable` gives the old password back.
Deleting moves the mail to TRASH in the folder of her domain's mailboxes; nothing is ever removed.
"""

import os
import re
import time
from dataclasses import dataclass

from mailsuite.accounts.aliases import pointing_at
from mailsuite.accounts.lines import Entry, EntryFile
from mailsuite.accounts.plan import Plan, Refused
from mailsuite.accounts.site import AccountSite, Login, Userdb
from mailsuite.address.idna import to_ascii

TRASH = ".trash"
# An address that no client has: the login fails before its password counts, for every service that asks auth.
DISABLED = ("nologin", "allow_nets=255.255.255.255/32")
_FIELDS = 8             # of a passwd-file's line; the last has the extra fields
_USERDB_FIELDS = 4      # a line with fewer is nobody's for userdb passwd-file


@dataclass(frozen=True)
class User:
    """mailbox: what virtual_mailbox_maps says; "" where the address is not there. login: in the passwd-file."""

    address: str
    mailbox: str
    login: bool
    disabled: bool
    quota: str = ""


def checked_address(address: str) -> str:
    """In lower case, its domain in ASCII. Raises Refused."""
    local, at, domain = address.strip().rpartition("@")
    if not at or not local or not domain:
        raise Refused(f"{address} is no address: NAME@DOMAIN")
    if any(char.isspace() or ord(char) < 32 or char in '"@:()<>,;[]\\|/%!' or ord(char) == 127 for char in local) or \
            local.startswith((".", "-", "#")) or local.endswith(".") or ".." in local or len(local) > 64:
        raise Refused(f"{local} cannot be a mailbox's name here: letters, digits and . _ + - are fine")
    return f"{local.lower()}@{checked_domain(domain)}"


def checked_quota(quota: str) -> str:
    """"" or a number with B, K, M, G or T. Raises Refused."""
    if quota and not re.fullmatch(r"[1-9]\d{0,11}[BbKkMmGgTt]?", quota):
        raise Refused(f"--quota {quota}: a number with K, M or G, such as 500M")
    return quota.upper()


def checked_domain(domain: str) -> str:
    """Raises Refused."""
    try:
        name = to_ascii(domain.rstrip(".")).lower()
    except ValueError:
        name = ""
    labels = name.split(".")
    if len(labels) < 2 or len(name) > 253 or any(
            not label or len(label) > 63 or label.startswith("-") or label.endswith("-")
            or not all(char.isascii() and (char.isalnum() or char in "-_") for char in label) for label in labels):
        raise Refused(f"{domain} is no domain's name")
    return name


def add_user(site: AccountSite, address: str, hashed: str, *, quota: str = "") -> Plan:
    address = checked_address(address)
    site.must_have_mailboxes(address)
    login, plan = site.login(address), Plan()
    users, boxes = login.source.read(), site.mailboxes.read()
    _must_be_new(site, address, login, users, boxes)
    value = _mailbox_like_others(boxes, address)
    users.append(_passwd_line(site, address, login, hashed, value, quota))
    boxes.append(f"{address} {value}")
    login.source.put(plan, users)
    site.mailboxes.put(plan, boxes)
    plan.done.append(f"added {address}, mailbox {value}")
    if site.lookup("virtual_alias_maps", "@" + address.rpartition("@")[2]) is not None:
        raise Refused(f"virtual_alias_maps has @{address.rpartition('@')[2]}, which takes the mail of every address "
                      f"without an alias of its own: mailsuite alias add {address} {address} first")
    return plan


def _must_be_new(site: AccountSite, address: str, login: Login, users: EntryFile, boxes: EntryFile) -> None:
    for what, entry, path in (("user", users.find(login.key), login.source.path),
                              ("mailbox", boxes.find(address), site.mailboxes.path)):
        if entry is not None:
            raise Refused(f"{address} exists: {what} in {path}, line {entry.line}")
    if site.lookup("virtual_mailbox_maps", address) is not None:
        raise Refused(f"{address} exists: virtual_mailbox_maps knows it")
    target = site.lookup("virtual_alias_maps", address)
    if target is not None and address not in target.lower().replace(",", " ").split():
        raise Refused(f"{address} is an alias for {target}: its mail would go on going there "
                      f"(mailsuite alias del {address} first)")


def _mailbox_like_others(boxes: EntryFile, address: str) -> str:
    """What an entry says of another mailbox, said of this one: "demo.test/anna/"."""
    local, _, domain = address.rpartition("@")
    entries = [entry for entry in boxes.entries() if entry.key.rpartition("@")[0]]
    entries.sort(key=lambda entry: entry.key.rpartition("@")[2] != domain)
    for entry in entries:
        their_local, _, their_domain = entry.key.rpartition("@")
        parts = entry.value.split("/")
        if their_local in parts or their_local + their_domain in parts or entry.key in parts:
            names = {their_local: local, their_domain: domain, entry.key: address}
            return "/".join([names.get(part, part) for part in parts])
        if "/" not in entry.value:
            return entry.value              # the transport decides; the value only says that the address is there
    return f"{domain}/{local}/"


def _passwd_line(site: AccountSite, address: str, login: Login, hashed: str, value: str, quota: str) -> str:
    if quota and login.userdb is Userdb.NOTHING:
        raise Refused("a quota for one user needs a userdb that reads the passwd-file; userdb static has "
                      "one for all (plugin { quota_rule = ... })")
    owner, home = _owner_and_home(site, address, value) if login.userdb is Userdb.ALL else (("", ""), "")
    extra = f"userdb_quota_rule=*:storage={quota}" if quota else ""
    return _line(login, [login.key, hashed, *owner, "", home, "", extra])


def _owner_and_home(site: AccountSite, address: str, value: str) -> tuple[tuple[str, str], str]:
    """value: the mailbox in virtual_mailbox_maps. "" for what is not known."""
    owner = site.owner(address)
    base = site.site.text("virtual_mailbox_base")
    path = (f"{base}/{value}" if base and not value.startswith("/") else value).rstrip("/")
    location = site.dovecot.text("mail_location").partition(":")[2].partition(":")[0]
    home = path.removesuffix(location[1:]) if location.startswith("~/") else path
    names = ("", "") if owner is None else (str(owner[0]), str(owner[1]))
    return names, home if home.startswith("/") else ""


def _line(login: Login, fields: list[str]) -> str:
    """Without empty fields at its end, unless a userdb reads it: for that a name and a password are no user."""
    line = ":".join(fields)
    short = line.rstrip(":")
    return line if login.userdb is not Userdb.NOTHING and short.count(":") < _USERDB_FIELDS - 1 else short


def _entry(site: AccountSite, address: str) -> tuple[str, Login, EntryFile, Entry]:
    """Raises Refused: there is no such user."""
    address = address.strip().lower()
    login = site.login(address)
    users = login.source.read()
    entry = users.find(login.key)
    if entry is None:
        raise Refused(f"{address} is not in {login.source.path}")
    return address, login, users, entry


def _fields(login: Login, entry: Entry) -> list[str]:
    parts = entry.value.split(":", _FIELDS - 2)
    return [login.key, *parts, *[""] * (_FIELDS - 1 - len(parts))]


def set_password(site: AccountSite, address: str, hashed: str) -> Plan:
    address, login, users, entry = _entry(site, address)
    fields = _fields(login, entry)
    fields[1] = hashed
    return _changed(login, users, entry, fields, f"{address} has a new password")


def _changed(login: Login, users: EntryFile, entry: Entry, fields: list[str], done: str) -> Plan:
    plan = Plan()
    users.replace(entry, _line(login, fields))
    login.source.put(plan, users)
    plan.done.append(done)
    return plan


def disable(site: AccountSite, address: str) -> Plan:
    address, login, users, entry = _entry(site, address)
    fields = _fields(login, entry)
    words = fields[7].split()
    if DISABLED[1] in words:
        raise Refused(f"{address} is disabled already")
    fields[7] = " ".join([*words, *(word for word in DISABLED if word not in words)])
    plan = _changed(login, users, entry, fields, f"{address} cannot log in any more; mail still arrives")
    plan.notes.append(f"who is logged in stays so: doveadm -c {site.directory}/dovecot.conf kick {address}")
    return plan


def enable(site: AccountSite, address: str) -> Plan:
    address, login, users, entry = _entry(site, address)
    fields = _fields(login, entry)
    words = fields[7].split()
    if DISABLED[1] not in words:
        raise Refused(f"{address} is not disabled")
    fields[7] = " ".join(word for word in words if word not in DISABLED)
    return _changed(login, users, entry, fields, f"{address} can log in again, with the old password")


def delete_user(site: AccountSite, address: str, *, keep_mail: bool = False, force: bool = False) -> Plan:
    address, plan = address.strip().lower(), Plan()
    login = site.login(address)
    users, boxes = login.source.read(), site.mailboxes.read()
    if users.find(login.key) is None and boxes.find(address) is None:
        raise Refused(f"there is no {address}: neither in {login.source.path} nor in {site.mailboxes.path}")
    if not force and (sources := pointing_at(site, address)):
        raise Refused(f"{', '.join(sources)} would lead nowhere: change what forwards to {address} first "
                      "(mailsuite alias), or say --force")
    take_out(site, plan, address, keep_mail=keep_mail)
    plan.done.append(f"deleted {address}")
    plan.notes.append(f"who is logged in stays so: doveadm -c {site.directory}/dovecot.conf kick {address}")
    return plan


def take_out(site: AccountSite, plan: Plan, address: str, *, keep_mail: bool) -> None:
    """Add to the plan that a user goes, and where her mail goes."""
    login = site.login(address)
    users, boxes = login.source.read(plan), site.mailboxes.read(plan)
    path = site.mailbox_path(address) if boxes.find(address) is not None else None
    boxes.remove(address)
    users.remove(login.key)
    site.mailboxes.put(plan, boxes)
    login.source.put(plan, users)
    if path is None or not os.path.lexists(path.rstrip("/")):
        return
    if keep_mail:
        plan.notes.append(f"the mail stays in {path}: whoever gets this address next will find it")
        return
    folder = _whole(path.rstrip("/"), address)
    # Beside the mailbox: a move is one rename, and no other file system is filled.
    target = os.path.join(os.path.dirname(folder), TRASH, f"{address}.{time.strftime('%Y%m%dT%H%M%S')}")
    plan.moves.append((folder, target))
    plan.notes.append(f"the mail is in {target}")


def _whole(path: str, address: str) -> str:
    """What belongs to the user: /vmail/demo.test/anna for a mailbox /vmail/demo.test/anna/Maildir."""
    local = address.rpartition("@")[0]
    folder = path
    while os.path.dirname(folder) != folder:
        if os.path.basename(folder).lower() in (local, address):
            return folder
        folder = os.path.dirname(folder)
    return path


def list_users(site: AccountSite) -> list[User]:
    """All addresses of the passwd-files and of the table, sorted by domain."""
    boxes = {entry.key: entry.value for source in site.all_tables("virtual_mailbox_maps")
             for entry in source.read().entries() if "@" in entry.key.lstrip("@")}
    logins: dict[str, list[str]] = {}
    for source in site.passwd_files():
        for entry in source.read().entries():
            logins.setdefault(entry.key, entry.value.split(":", _FIELDS - 2))
    users = []
    for address in sorted({*boxes, *logins}, key=lambda one: (one.rpartition("@")[2], one)):
        fields = logins.get(address, [])
        words = fields[6].split() if len(fields) > 6 else []
        quota = next((word.partition("storage=")[2] for word in words if word.startswith("userdb_quota_rule=")), "")
        users.append(User(address, boxes.get(address, ""), address in logins, DISABLED[0] in words, quota))
    return users
