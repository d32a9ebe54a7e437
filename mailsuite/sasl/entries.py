"""The passdb and userdb sections of dovecot.conf, as typed values, in their order.

    databases = Databases.of(settings, pool)          raises ConfigErrors: all that is wrong with them
    databases.passdbs   databases.userdbs
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.base.log import access_logger
from mailsuite.sasl.checkpassword import Checkpassword
from mailsuite.sasl.ldap_database import LdapDatabase
from mailsuite.sasl.outside.process import Inside, Outside
from mailsuite.sasl.outside.sources import make_source
from mailsuite.sasl.passdb import Passdb, split_fields
from mailsuite.sasl.passdb.checkpassword import CheckpasswordPassdb
from mailsuite.sasl.passdb.imap import ImapPassdb
from mailsuite.sasl.passdb.ldap import LdapPassdb
from mailsuite.sasl.passdb.oauth2 import OAuth2Passdb
from mailsuite.sasl.passdb.pam import PamPassdb
from mailsuite.sasl.passdb.passwd_file import PasswdFilePassdb
from mailsuite.sasl.passdb.sql import SqlPassdb
from mailsuite.sasl.passdb.static import StaticPassdb
from mailsuite.sasl.passdb.system import PasswdPassdb, ShadowPassdb
from mailsuite.sasl.passwd_file import PasswdFiles
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest
from mailsuite.sasl.sql_database import SqlDatabase
from mailsuite.sasl.userdb import Userdb
from mailsuite.sasl.userdb.checkpassword import CheckpasswordUserdb
from mailsuite.sasl.userdb.ldap import LdapUserdb
from mailsuite.sasl.userdb.passwd_file import PasswdFileUserdb
from mailsuite.sasl.userdb.sql import SqlUserdb
from mailsuite.sasl.userdb.static import StaticUserdb
from mailsuite.sasl.userdb.system import PasswdUserdb, PrefetchUserdb

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings, Section

Fields = list[tuple[str, str]]
log = access_logger("auth")


class Rule(Enum):
    """What a result means for the chain: result_success, result_failure, result_internalfail."""

    RETURN = "return"
    RETURN_OK = "return-ok"
    RETURN_FAIL = "return-fail"
    CONTINUE = "continue"
    CONTINUE_OK = "continue-ok"
    CONTINUE_FAIL = "continue-fail"


@dataclass(frozen=True)
class Entry:
    """What passdb and userdb sections have in common."""

    default_fields: Fields
    override_fields: Fields
    skip: str
    on_success: Rule
    on_failure: Rule
    on_internal_failure: Rule
    auth_verbose: str

    def verbose(self, general: bool) -> bool:
        """auth_verbose of the section, or of all."""
        return general if self.auth_verbose == "default" else self.auth_verbose == "yes"

    def _key(self, own: str) -> str:
        if not own:
            return ""
        return own + "".join(f"\t{value}" for _, value in (*self.default_fields, *self.override_fields) if "%" in value)


@dataclass(frozen=True)
class PassdbEntry(Entry):
    db: Passdb
    deny: bool
    master: bool
    mechanisms: tuple[str, ...]
    user_filter: tuple[str, ...]

    @cached_property
    def cache_key(self) -> str:
        """A text with the %-variables that decide what this section says; "" where that must not be cached."""
        return self._key(self.db.cache_key)

    @cached_property
    def for_all(self) -> bool:
        """It `wants` whatever comes."""
        return not self.mechanisms and not self.user_filter and self.skip == "never"

    def wants(self, request: AuthRequest) -> bool:
        """mechanisms, username_filter and skip."""
        if self.mechanisms and (request.mechanism.upper() or "NONE") not in self.mechanisms:
            return False
        if self.skip != "never" and (self.skip == "authenticated") == request.no_password:
            return False
        return self._accepts(request.user)

    def _accepts(self, user: str) -> bool:
        """The first pattern that fits decides; with none, whether there are only exclusions."""
        for word in self.user_filter:
            if matches(word.removeprefix("!"), user):
                return not word.startswith("!")
        return all(word.startswith("!") for word in self.user_filter)


def matches(pattern: str, text: str) -> bool:
    """"*" and "?" as in a shell; nothing else is special."""
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(char) or re.escape(char) for char in pattern), text,
                        re.DOTALL) is not None


@dataclass(frozen=True)
class UserdbEntry(Entry):
    db: Userdb

    @cached_property
    def cache_key(self) -> str:
        """As for a passdb."""
        return self._key(self.db.cache_key)


@dataclass(frozen=True)
class Databases:
    """All of them; masters first asked for whoever logs in as another."""

    passdbs: list[PassdbEntry]
    userdbs: list[UserdbEntry]
    files: PasswdFiles
    places: "Places"

    @classmethod
    def of(cls, settings: "DovecotSettings", pool: HashPool,
           exists: Callable[[AuthRequest], Awaitable[bool]]) -> "Databases":
        """exists: asks the passdbs, for userdb static. Raises ConfigErrors."""
        errors: list[ConfigError] = []
        files = PasswdFiles(pool)
        places = Places(settings)
        passdbs, userdbs = [], []
        for section in settings.sections("passdb"):
            try:
                passdbs.append(_passdb(section, files, pool, places))
            except ConfigError as error:
                errors.append(error)
        for section in settings.sections("userdb"):
            try:
                userdbs.append(_userdb(section, settings, files, pool, exists, places))
            except ConfigError as error:
                errors.append(error)
        if not any(not entry.master and not entry.deny for entry in passdbs) and not errors:
            errors.append(ConfigError("auth: no passdbs are configured, and nobody could log in"))
        if errors:
            raise ConfigErrors(errors)
        return cls(passdbs, userdbs, files, places)

    def close(self) -> None:
        """Helper processes and connections: what is under way ends first."""
        self.places.close()
        for db in (*(entry.db for entry in self.passdbs), *(entry.db for entry in self.userdbs)):
            close = getattr(db, "close", None)
            if close is not None:
                close()


class Places:
    """Who asks servers and files for the databases of one configuration."""

    def __init__(self, settings: "DovecotSettings") -> None:
        self.servers = Outside(settings.text("default_internal_user"))
        auth = settings.section("service", "auth")
        self.account = (auth.text("user") if auth is not None else "") or settings.text("default_internal_user")
        self.files = Inside(lambda kind, spec: make_source(kind, spec, lambda text: log.error("%s", text)))

    def sql(self, path: str) -> SqlDatabase:
        """Raises ConfigError."""
        return SqlDatabase.of(path, self.servers, self.files)

    def ldap(self, path: str) -> LdapDatabase:
        """Raises ConfigError."""
        return LdapDatabase.of(path, self.servers)

    def close(self) -> None:
        self.servers.close()
        self.files.close()


def _common(section: "Section") -> tuple[Fields, Fields, str, Rule, Rule, Rule, str]:
    rules = []
    for name in ("result_success", "result_failure", "result_internalfail"):
        text = section.text(name)
        try:
            rules.append(Rule(text))
        except ValueError:
            raise ConfigError(f"{section.type}: {name} = {text}: unknown value") from None
    return (split_fields(section.text("default_fields")), split_fields(section.text("override_fields")),
            section.text("skip"), rules[0], rules[1], rules[2], section.text("auth_verbose"))


# Drivers of Dovecot that are not here, and what to use.
_ELSEWHERE = {"lua": "sql, checkpassword", "dict": "sql, passwd-file", "bsdauth": "pam", "nss": "passwd", "sia": "pam",
              "vpopmail": "sql, checkpassword"}


def _no_driver(kind: str, driver: str, known: Mapping[str, object]) -> str:
    if driver in _ELSEWHERE:
        return f"{kind}: the driver \"{driver}\" is not supported here (use {_ELSEWHERE[driver]})"
    return f"{kind}: unknown driver \"{driver}\" (there are {', '.join(known)})"


def _passdb(section: "Section", files: PasswdFiles, pool: HashPool, places: Places) -> PassdbEntry:
    driver, args = section.text("driver"), section.text("args")
    makers: dict[str, Callable[[], Passdb]] = {
        "passwd-file": lambda: PasswdFilePassdb(args, files),
        "static": lambda: StaticPassdb(args),
        "passwd": lambda: PasswdPassdb(args, pool),
        "shadow": lambda: ShadowPassdb(args, pool),
        "pam": lambda: PamPassdb(args),
        "oauth2": lambda: OAuth2Passdb(args, pool),
        "sql": lambda: SqlPassdb(places.sql(args)),
        "ldap": lambda: LdapPassdb(places.ldap(args)),
        "imap": lambda: ImapPassdb(args, places.servers),
        "checkpassword": lambda: CheckpasswordPassdb(Checkpassword(args, places.account)),
    }
    if driver not in makers:
        raise ConfigError(_no_driver("passdb", driver, makers))
    default, override, skip, success, failure, internal, verbose = _common(section)
    if section.flag("pass") and success is Rule.RETURN_OK:
        success = Rule.CONTINUE
    mechanisms = tuple(word.upper() for word in section.text("mechanisms").replace(",", " ").split())
    return PassdbEntry(default, override, skip, success, failure, internal, verbose, makers[driver](),
                       section.flag("deny"), section.flag("master"), mechanisms,
                       tuple(section.text("username_filter").replace(",", " ").split()))


def _userdb(section: "Section", settings: "DovecotSettings", files: PasswdFiles, pool: HashPool,
            exists: Callable[[AuthRequest], Awaitable[bool]], places: Places) -> UserdbEntry:
    driver, args = section.text("driver"), section.text("args")
    makers: dict[str, Callable[[], Userdb]] = {
        "passwd-file": lambda: PasswdFileUserdb(args, files, sole=len(settings.sections("userdb")) == 1),
        "static": lambda: StaticUserdb(args, exists),
        "passwd": lambda: PasswdUserdb(args, pool, settings.number("first_valid_uid"),
                                       settings.number("last_valid_uid")),
        "prefetch": PrefetchUserdb,
        "sql": lambda: SqlUserdb(places.sql(args)),
        "ldap": lambda: LdapUserdb(places.ldap(args)),
        "checkpassword": lambda: CheckpasswordUserdb(Checkpassword(args, places.account)),
    }
    if driver not in makers:
        raise ConfigError(_no_driver("userdb", driver, makers))
    return UserdbEntry(*_common(section), makers[driver]())
