"""What delivers and what reads must mean the same mailbox, as the same user, under the same locks.

The two sides are asked themselves: where would local or virtual deliver for a user, and what would Dovecot's side open?
"""

import asyncio
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass

from mailsuite.access.identity import NotAllowed, identity_of
from mailsuite.access.user_store import location_of
from mailsuite.base.errors import ConfigError, MailError
from mailsuite.check.domains import keys_of
from mailsuite.check.finding import Finding, Severity, error, note, warning
from mailsuite.check.site import Site, may
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.deliver.endpoints import mailbox_place
from mailsuite.deliver.lookups import MailboxTables
from mailsuite.deliver.params import VIRTUAL_MAILBOX_BASE
from mailsuite.deliver.passwd import Account
from mailsuite.maps.maps import split_specs
from mailsuite.sasl.master_client import user_info
from mailsuite.sasl.service import AuthService
from mailsuite.sasl.user import UserInfo
from mailsuite.store.location import parse_location
from mailsuite.store.options import StoreOptions

USERS_LIMIT = 50        # of each kind that are looked at
MBOX, MAILDIR = "mbox", "maildir"


@dataclass(frozen=True)
class Delivered:
    """Where the delivering side puts a user's mail. parameters: that say so."""

    user: str
    path: str
    uid: int | None
    gid: int | None
    parameters: tuple[str, ...]

    @property
    def format(self) -> str:
        return MAILDIR if self.path.endswith("/") else MBOX


def check_formats(site: Site) -> Iterator[Finding]:
    """Mailbox formats of Dovecot that are not there: dbox, virtual..."""
    if site.dovecot is None or not {"imap", "pop3", "lmtp"} & set(site.dovecot.words("protocols")):
        return
    places = [("mail_location", site.dovecot.text("mail_location"), site.dovecot_place("mail_location"), True)]
    namespaces = list(site.dovecot.sections("namespace"))
    for namespace in namespaces:
        file, _, line = namespace.where("location").rpartition(" line ")
        places.append((f"location of namespace {namespace.name}", namespace.text("location"),
                       (file, int(line)) if file else (site.dovecot.path, 0),
                       len(namespaces) == 1 or namespace.text("inbox") == "yes"))
    for name, location, place, vital in places:
        kind, colon, _ = location.partition(":")
        if colon and kind not in (MAILDIR, MBOX) and "/" not in kind and "%" not in kind:
            say, effect = (error, "users cannot open their mail") if vital else (warning, "the namespace is left out")
            yield say(f"{name}: there is no mailbox format {kind} here: {effect}", place,
                      "maildir: or mbox: (Dovecot's own doveadm sync brings the mail there)" if "dbox" in kind else
                      "take it out")


def check_mailbox_places(site: Site) -> Iterator[Finding]:
    """One finding for each way of delivery: all users of it are wrong alike."""
    dovecot = site.dovecot
    if dovecot is None or not {"imap", "pop3"} & set(dovecot.words("protocols")):
        return
    for delivered in (local_deliveries(site), virtual_deliveries(site)):
        try:
            found = asyncio.run(_compared(site, dovecot, delivered))
        except ConfigError:
            continue                # authentication's own errors: a strict load tells them
        yield from found


async def _compared(site: Site, dovecot: DovecotSettings, delivered: list[Delivered]) -> list[Finding]:
    service = AuthService(dovecot)
    kinds: dict[str, Finding] = {}
    try:
        for one in delivered:
            try:
                known = await service.userdb(one.user, "imap", {})
            except MailError:
                continue
            if known is None:
                continue
            info = user_info(*known)
            for kind, finding in (("place", _other_place(site, dovecot, one, info)),
                                  ("rights", _other_rights(site, dovecot, one, info))):
                if finding is not None:
                    kinds.setdefault(kind, finding)
    finally:
        service.close()
    return list(kinds.values())


def _other_place(site: Site, dovecot: DovecotSettings, delivered: Delivered, info: UserInfo) -> Finding | None:
    """Another format or another path."""
    try:
        read = parse_location(info.user, info.home, location_of(info, dovecot.for_protocol("imap")))
    except ConfigError:
        return None
    file, line = site.dovecot_place("mail_location")
    named = ", ".join(delivered.parameters)
    mend = f"mail_location = {_location_for(site, delivered, info)}\nor {_parameter_for(read.kind, delivered)}"
    if read.kind != delivered.format:
        text = f"{named} delivers {delivered.format} for {delivered.user} ({delivered.path}), mail_location reads " \
               f"{read.kind} ({read.inbox}): users do not see their mail"
    elif os.path.realpath(read.inbox) != os.path.realpath(delivered.path.rstrip("/")):
        text = f"{named} delivers to {delivered.path} for {delivered.user}, mail_location reads {read.inbox}: users " \
               "do not see their mail"
    else:
        return None
    return Finding(Severity.ERROR, text, file, line, mend)


def _location_for(site: Site, delivered: Delivered, info: UserInfo) -> str:
    """The mail_location that reads what is delivered, with variables for what is the user's own."""
    path, (name, _, domain) = delivered.path.rstrip("/"), info.user.partition("@")
    if info.home and path.startswith(info.home.rstrip("/") + "/"):
        path = "~" + path[len(info.home.rstrip("/")):]
    elif domain:
        path = path.replace(domain, "%d").replace(f"/{name}", "/%n")
    else:
        path = path.replace(f"/{name}", "/%u")
    return f"maildir:{path}" if delivered.format == MAILDIR else f"mbox:~/mail:INBOX={path}"


def _parameter_for(kind: str, delivered: Delivered) -> str:
    sign = "with" if kind == MAILDIR else "without"
    if "virtual_mailbox_maps" in delivered.parameters:
        return f"values of virtual_mailbox_maps {sign} a slash at the end, below the folder that mail_location names"
    return "home_mailbox = Maildir/" if kind == MAILDIR else "home_mailbox = (empty), mail_spool_directory = /var/mail"


def _other_rights(site: Site, dovecot: DovecotSettings, delivered: Delivered, info: UserInfo) -> Finding | None:
    """A uid that may not log in, or another one than the delivery's."""
    if not site.privileged or delivered.uid is None:
        return None
    try:
        reader = identity_of(info, dovecot)
    except NotAllowed as no:
        bound = "first_valid_uid" if "UID" in no.detail else "first_valid_gid"
        wanted = delivered.uid if bound == "first_valid_uid" else delivered.gid
        if delivered.uid == 0:
            return None                 # root's mail is not read over the net
        return Finding(Severity.ERROR, f"{no.detail.rstrip('.')}: {delivered.user} cannot log in",
                       *site.dovecot_place(bound), f"{bound} = {wanted}")
    if reader.uid != delivered.uid:
        named = ", ".join(delivered.parameters)
        return Finding(Severity.ERROR, f"{named} delivers as uid {delivered.uid} for {delivered.user}, the userdb "
                       f"reads as uid {reader.uid}: the mail cannot be read", *site.place(delivered.parameters[-1]),
                       f"uid {delivered.uid} in the userdb of {dovecot.path}\n"
                       f"or virtual_uid_maps = static:{reader.uid}")
    return None


def local_deliveries(site: Site) -> list[Delivered]:
    """Where local(8) delivers for the accounts of this machine."""
    if not site.words("mydestination") or any(site.text(name) for name in (
            "mailbox_transport", "mailbox_transport_maps", "mailbox_command", "mailbox_command_maps")) \
            or site.text("local_transport").partition(":")[0] != "local":
        return []
    parameter = "home_mailbox" if site.text("home_mailbox") else "mail_spool_directory"
    found = []
    for entry in pwd.getpwall():
        if 1000 <= entry.pw_uid < 60000 and not entry.pw_shell.endswith(("nologin", "false")):
            account = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell)
            path, identity = mailbox_place(account, site.text("home_mailbox"), site.text("mail_spool_directory"))
            found.append(Delivered(entry.pw_name, path, identity.uid, identity.gid, (parameter,)))
    return found[:USERS_LIMIT]


def virtual_deliveries(site: Site) -> list[Delivered]:
    """Where virtual(8) delivers for the addresses of virtual_mailbox_maps."""
    if site.text("virtual_transport").partition(":")[0] != "virtual" or not site.words("virtual_mailbox_domains"):
        return []
    keys = [key for spec in split_specs(site.text("virtual_mailbox_maps")) for key in keys_of(site, spec)]
    addresses = [key for key in keys if key.partition("@")[0] and "@" in key][:USERS_LIMIT]

    async def found() -> list[Delivered]:
        tables = MailboxTables(site.settings, "check")
        places = []
        for address in addresses:
            try:
                path = await tables.mailbox(address)
                owner = await tables.owner(address)
            except (MailError, ConfigError):
                continue                # check_virtual_owners tells it
            if path is not None:
                places.append(Delivered(address, path, owner.uid, owner.gid, (
                    "virtual_mailbox_base", "virtual_mailbox_maps", "virtual_uid_maps")))
        return places

    return asyncio.run(found())


def check_virtual_owners(site: Site) -> Iterator[Finding]:
    """virtual_uid_maps and virtual_gid_maps: there, and not below virtual_minimum_uid."""
    if not site.words("virtual_mailbox_domains") or site.text("virtual_transport").partition(":")[0] != "virtual":
        return
    for name, what, least in (("virtual_uid_maps", "uid", _number(site.text("virtual_minimum_uid"), 100)),
                              ("virtual_gid_maps", "gid", 1)):
        specs = split_specs(site.text(name))
        if not specs:
            yield error(f"{name} is empty: mail for {site.text('virtual_mailbox_domains')} waits", site.place(name),
                        f"{name} = static:5000")
        for spec in specs:
            if spec.startswith("static:"):
                text = spec.removeprefix("static:").strip("{} ")
                if not text.isdigit():
                    yield error(f"{name}: {text} is no {what}: mail waits", site.place(name), f"{name} = static:5000")
                elif int(text) < least:
                    limit = f"virtual_minimum_uid {least}" if what == "uid" else str(least)
                    yield error(f"{name}: {what} {text} is below {limit}: mail waits", site.place(name),
                                f"virtual_minimum_uid = {text}" if what == "uid" else f"{name} = static:{least}")
    yield from _base(site)


def _base(site: Site) -> Iterator[Finding]:
    """virtual_mailbox_base: there, and writable by those who deliver."""
    base, place = site.settings[VIRTUAL_MAILBOX_BASE], site.place("virtual_mailbox_base")
    uids = [spec.removeprefix("static:") for spec in split_specs(site.text("virtual_uid_maps"))]
    if not base:
        return
    uid, gid = (uids or ["UID"])[0], site.text("virtual_gid_maps").removeprefix("static:")
    if not os.path.isdir(base):
        yield error(f"virtual_mailbox_base {base} does not exist: mail waits", place,
                    f"mkdir -p {base}; chown {uid}:{gid} {base}")
    elif site.privileged and uid.isdigit() and gid.isdigit():
        folders = [base, *(entry.path for entry in sorted(os.scandir(base), key=lambda entry: entry.name)
                           if entry.is_dir(follow_symlinks=False))][:USERS_LIMIT]
        # One level below will do: domains may be made by root, and the base then needs no more than to be passed.
        closed = [folder for folder in folders if not may(3, folder, int(uid), int(gid))]
        if closed and (len(folders) == 1 or closed != [base]):
            folder = closed[-1]
            yield error(f"uid {uid}, gid {gid} of virtual_uid_maps cannot write in {folder}: mail waits", place,
                        f"chown -R {uid}:{gid} {folder}")


def _number(text: str, default: int) -> int:
    return int(text) if text.isdigit() else default


def check_locks(site: Site) -> Iterator[Finding]:
    """mbox files: a lock that both sides take, in one order."""
    dovecot = site.dovecot
    if dovecot is None:
        return
    try:
        options = StoreOptions.of(dovecot)
    except ConfigError:
        return
    for name, delivered in (("mailbox_delivery_lock", local_deliveries(site)),
                            ("virtual_mailbox_lock", virtual_deliveries(site))):
        if not any(one.format == MBOX for one in delivered):
            continue
        ours = [word.lower() for word in site.words(name)]
        theirs = [word.lower() for word in options.write_locks]
        shared = [word for word in ours if word in theirs]
        if not shared:
            yield error(f"{name} = {' '.join(ours)} and mbox_write_locks = {' '.join(theirs)} have no lock in common: "
                        "mailboxes get damaged", site.place(name), f"{name} = {', '.join(theirs)}")
        elif [word for word in theirs if word in shared] != shared:
            yield warning(f"{name} = {' '.join(ours)} takes locks in another order than mbox_write_locks = "
                          f"{' '.join(theirs)}: the two can wait for each other", site.place(name),
                          f"{name} = {', '.join(theirs)}")
        elif set(theirs) != set(ours):
            yield note(f"{name} = {' '.join(ours)}, mbox_write_locks = {' '.join(theirs)}: only {' '.join(shared)} "
                       "keeps the two apart", site.place(name), f"{name} = {', '.join(theirs)}")
