"""Which files of a site hold users, domains and aliases, and what cannot be edited here.

    site = AccountSite.load("/etc/postfix")
    site.mailboxes -> Source                the table of virtual_mailbox_maps that gets new lines
    site.aliases, site.local_aliases        virtual_alias_maps, alias_maps
    site.login("anna@demo.test") -> Login   the passwd-file of passdb, and her name there
    site.address_class("demo.test")         "virtual_mailbox", "local", "virtual_alias", "relay", "default"

Raises: Refused with what to do instead, where the configuration names SQL, LDAP, patterns or the system's accounts.
"""

import asyncio
import os
from collections.abc import Iterator
from enum import Enum, auto
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.accounts.lines import ALIASES, PASSWD, TABLE, EntryFile, Form
from mailsuite.accounts.plan import INDEXED, EditedFile, Plan, Refused
from mailsuite.base.errors import ConfigError, MailError
from mailsuite.check.site import Site
from mailsuite.config.variables import expand_variables, user_variables
from mailsuite.maps.maps import MapSource, open_maps, split_specs
from mailsuite.sasl.passwd_file import split_args

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings, Section

EDITABLE = (*INDEXED, "texthash")
FALLBACK_SCHEME = "SHA512-CRYPT"
DOMAIN_LISTS = {"virtual_mailbox": "virtual_mailbox_domains", "virtual_alias": "virtual_alias_domains"}
SQL = frozenset({"mysql", "pgsql", "sqlite", "sql"})


class Source(NamedTuple):
    """One file to edit. table, tool: of its index, "" where it has none."""

    path: str
    form: Form
    table: str = ""
    tool: str = ""
    mode: int = 0o644

    def read(self, plan: Plan | None = None) -> EntryFile:
        """As it will be after the plan so far. Raises Refused."""
        text = plan.text_of(self.path) if plan is not None else None
        return EntryFile(read(self.path) if text is None else text, self.form)

    def put(self, plan: Plan, file: EntryFile) -> None:
        plan.edit(EditedFile(self.path, read(self.path), file.text, self.table, self.tool, self.mode))


class Userdb(Enum):
    """What the userdb takes from the passwd-file's line."""

    NOTHING = auto()        # userdb static
    FIELDS = auto()         # extra fields; default_fields has uid, gid and home
    ALL = auto()


class Login(NamedTuple):
    """key: the user's name in the file. scheme: for new hashes. userdb: what else reads the line."""

    source: Source
    key: str
    scheme: str
    userdb: Userdb


def read(path: str) -> str:
    """A file's text, "" where there is none. Raises Refused."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise Refused(f"open {path}: {error.strerror}") from error


class AccountSite:
    """One site, read once."""

    def __init__(self, site: Site) -> None:
        self.site, self.settings, self.directory = site, site.settings, site.directory

    @classmethod
    def load(cls, directory: str) -> "AccountSite":
        """Raises ConfigError."""
        return cls(Site.of(os.path.abspath(directory)))

    @property
    def dovecot(self) -> "DovecotSettings":
        if self.site.dovecot is None:
            raise Refused(f"{self.directory}/dovecot.conf is missing or has errors (mailsuite check): logins are there")
        return self.site.dovecot

    # --- tables of main.cf --------------------------------------------------------------------------------------------

    @cached_property
    def mailboxes(self) -> Source:
        return self._table("virtual_mailbox_maps", "vmailbox")

    @cached_property
    def aliases(self) -> Source:
        return self._table("virtual_alias_maps", "virtual")

    @cached_property
    def local_aliases(self) -> Source:
        return self._table("alias_maps", "aliases")

    def all_tables(self, parameter: str) -> Iterator[Source]:
        """Every table of a parameter that is a file of lines."""
        for spec in split_specs(self.site.text(parameter)):
            if (source := self._source(spec, aliases=parameter == "alias_maps")) is not None:
                yield source

    def _source(self, spec: str, *, aliases: bool) -> Source | None:
        kind, _, path = spec.partition(":")
        if kind not in EDITABLE or not os.path.isabs(path):
            return None
        form = ALIASES if aliases else TABLE
        if kind == "texthash":
            return Source(path, form)
        return Source(path, form, spec, "postalias" if aliases else "postmap")

    def _table(self, parameter: str, example: str) -> Source:
        """Raises Refused."""
        specs = split_specs(self.site.text(parameter))
        for source in self.all_tables(parameter):
            if source.tool and not os.path.exists(source.path):
                continue                        # only an index without its text
            return source
        if not specs:
            raise Refused(f"{parameter} names no table: postconf -c {self.directory} -e "
                          f"'{parameter} = hash:{self.directory}/{example}', and an empty file of that name")
        raise Refused(f"{parameter} = {', '.join(specs)}: {_elsewhere(specs[0])}")

    def lookup(self, parameter: str, key: str) -> str | None:
        """What the tables say now, those included that cannot be edited. Raises Refused: they cannot be asked."""
        try:
            maps = open_maps(self.site.text(parameter), MapSource(self.settings, "accounts"))
            return asyncio.run(maps.find(key))
        except MailError as error:
            raise Refused(f"{parameter}: {error.detail or error.public}") from error

    # --- domains ------------------------------------------------------------------------------------------------------

    def lists_of(self, domain: str) -> list[str]:
        """The parameters that list a domain, in the order in which Postfix asks them."""
        from mailsuite.maps.matchlist import DomainList

        found = []
        for name in ("mydestination", "virtual_alias_domains", "virtual_mailbox_domains", "relay_domains"):
            text = self.site.text(name)
            if name == "relay_domains" and text == self.site.text("mydestination"):
                continue
            try:
                names = DomainList(text, MapSource(self.settings, "accounts"), name=name)
                if asyncio.run(names.matches(domain)):
                    found.append(name)
            except MailError as error:
                raise Refused(f"{name}: {error.detail or error.public}") from error
        return found

    def must_have_mailboxes(self, address: str) -> None:
        """Raises Refused: the domain of an address is not one of virtual_mailbox_domains alone."""
        domain = address.rpartition("@")[2]
        lists = self.lists_of(domain)
        if lists == ["virtual_mailbox_domains"]:
            return
        if len(lists) > 1:
            raise Refused(f"{domain} is in {' and '.join(lists)}: only {lists[0]} counts; take it out of the others")
        raise Refused({
            "mydestination": f"{domain} is in mydestination: its users are the accounts of this machine (adduser), "
                             "or give it to virtual_mailbox_domains instead",
            "virtual_alias_domains": f"{domain} has aliases only: mailsuite alias add {address} DESTINATION",
            "relay_domains": f"{domain} is in relay_domains: its mailboxes are on another host",
        }.get("".join(lists), f"{domain} is not ours yet: mailsuite domain add {domain}"))

    # --- logins -------------------------------------------------------------------------------------------------------

    def login(self, address: str) -> Login:
        """Raises Refused."""
        passdb = self._first("passdb")
        scheme, name_format, path = split_args(passdb.text("args"), "")
        values = self.login_values(address)
        source = Source(expand_variables(path, values), PASSWD, mode=0o600)
        mechanisms = self.dovecot.text("auth_mechanisms").lower()
        weak = scheme.upper() in ("", "CRYPT", "PLAIN", "CLEARTEXT", "PLAIN-MD5", "MD5", "SHA", "SHA1")
        best = "SCRAM-SHA-256" if "scram-sha-256" in mechanisms else FALLBACK_SCHEME
        return Login(source, expand_variables(name_format, values), best if weak else scheme.upper(),
                     self._userdb(source.path, values))

    def login_values(self, address: str) -> dict[str, str]:
        """Variables of the user as auth knows her. Raises Refused: auth would refuse the name."""
        chars = self.dovecot.text("auth_username_chars")
        for char in address:
            if chars and char not in chars:
                raise Refused(f"{address} could never log in: \"{char}\" is not in auth_username_chars")
        name = expand_variables(self.dovecot.text("auth_username_format") or "%u", user_variables(address))
        if not name:
            raise Refused(f"auth_username_format makes nothing of {address}")
        return user_variables(name)

    def _first(self, kind: str) -> "Section":
        """The passdb or userdb that new users go into. Raises Refused."""
        sections = [one for one in self.dovecot.sections(kind)
                    if not (kind == "passdb" and (_yes(one, "master") or _yes(one, "deny") or _yes(one, "pass")))]
        if not sections:
            raise Refused(f"{self.dovecot.path} has no {kind}")
        found = next((one for one in sections if one.text("driver") == "passwd-file"), None)
        if found is None:
            drivers = ", ".join(one.text("driver") for one in sections)
            raise Refused(f"{kind} {{ driver = {drivers} }} in {self.dovecot.path}: {_elsewhere(drivers)}")
        return found

    def _userdb(self, path: str, values: dict[str, str]) -> Userdb:
        """What a userdb takes from the line that passdb reads. Raises Refused: users would be missing in another."""
        for section in self.dovecot.sections("userdb"):
            driver = section.text("driver")
            if driver == "static":
                return Userdb.NOTHING
            if driver == "passwd-file":
                other = expand_variables(split_args(section.text("args"), "")[2], values)
                if os.path.realpath(other) == os.path.realpath(path):
                    return Userdb.FIELDS if "home=" in section.text("default_fields") else Userdb.ALL
                raise Refused(f"userdb reads {other}, passdb {path}: let them read one, or add the user to both")
        drivers = ", ".join(section.text("driver") for section in self.dovecot.sections("userdb")) or "nothing"
        raise Refused(f"userdb {{ driver = {drivers} }} in {self.dovecot.path}: {_elsewhere(drivers)}")

    def passwd_files(self) -> list[Source]:
        """All there are: a path with %d stands for a file of each domain."""
        template = split_args(self._first("passdb").text("args"), "")[2]
        if "%" not in template:
            return [Source(template, PASSWD)]
        domains = sorted({key.rpartition("@")[2] for source in self.all_tables("virtual_mailbox_maps")
                          for key in source.read().all_keys()})
        paths = {expand_variables(template, user_variables(f"x@{domain}")) for domain in domains}
        return [Source(path, PASSWD) for path in sorted(paths) if os.path.exists(path)]

    def mailbox_path(self, address: str) -> str | None:
        """Where virtual(8) delivers; None: nowhere, or the transport decides. Raises Refused."""
        from mailsuite.deliver.lookups import MailboxTables

        if self.site.text("virtual_transport").partition(":")[0] != "virtual":
            return None
        try:
            return asyncio.run(MailboxTables(self.settings, "accounts").mailbox(address))
        except (MailError, ConfigError) as error:
            raise Refused(f"the mailbox of {address}: {error.detail or error.public}") from error

    def owner(self, address: str) -> tuple[int, int] | None:
        """uid and gid of the mailbox; None where virtual(8) does not say."""
        from mailsuite.deliver.lookups import MailboxTables

        try:
            identity = asyncio.run(MailboxTables(self.settings, "accounts").owner(address))
        except (MailError, ConfigError):
            return None
        return identity.uid, identity.gid


def _yes(section: "Section", name: str) -> bool:
    try:
        return section.text(name) == "yes"
    except Exception:       # not in this version's table
        return False


def _elsewhere(spec: str) -> str:
    """Where to go instead of here."""
    kind = spec.partition(":")[0].strip()
    name = spec.partition(":")[2]
    if kind in SQL:
        query = f" (its query is in {name})" if name else ""
        return f"users are rows of a database: change them there, with SQL{query}"
    if kind == "ldap":
        return "users are entries of a directory: change them there (ldapadd, ldapmodify, ldappasswd)"
    if kind in ("pam", "passwd", "shadow", "bsdauth"):
        return "users are the accounts of this machine: adduser, passwd, deluser"
    if kind in ("regexp", "pcre", "cidr", "static", "inline", "union", "pipemap"):
        return "that is no list of names: edit it by hand, or name a hash: table before it"
    return f"{kind} cannot be edited here; a passwd-file or a hash: table can"

