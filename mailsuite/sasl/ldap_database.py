"""A dovecot-ldap.conf.ext: what passdb and userdb { driver = ldap } have in common.

    database = LdapDatabase.of("/etc/dovecot/dovecot-ldap.conf.ext", servers)       raises ConfigError
    entries = await database.search("pass_filter", request, attributes)              raises TemporaryError
    code = await database.bind("uid=alice,ou=people,dc=example,dc=test", password)
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret
from mailsuite.config.variables import expand_variables
from mailsuite.database.ldap import Scope
from mailsuite.database.ldap.filters import FilterError, encode_filter, quote_value
from mailsuite.database.ldap.names import parse_url, quote_name
from mailsuite.sasl.conf_file import flag, read_conf_file
from mailsuite.sasl.ldap_fields import DN, Attributes
from mailsuite.sasl.outside import Asks
from mailsuite.sasl.quoting import Quoted
from mailsuite.sasl.request import AuthRequest

SETTINGS = {
    "hosts": "", "uris": "", "dn": "", "dnpass": "", "auth_bind": "no", "auth_bind_userdn": "", "tls": "no",
    "sasl_bind": "no", "sasl_mech": "", "sasl_realm": "", "sasl_authz_id": "", "tls_ca_cert_file": "",
    "tls_ca_cert_dir": "", "tls_cert_file": "", "tls_key_file": "", "tls_cipher_suite": "", "tls_require_cert": "",
    "deref": "never", "scope": "subtree", "base": "", "ldap_version": "3", "debug_level": "0", "ldaprc_path": "",
    "user_attrs": "homeDirectory=home,uidNumber=uid,gidNumber=gid",
    "user_filter": "(&(objectClass=posixAccount)(uid=%u))", "pass_attrs": "uid=user,userPassword=password",
    "pass_filter": "(&(objectClass=posixAccount)(uid=%u))", "iterate_attrs": "uid=user",
    "iterate_filter": "(objectClass=posixAccount)", "default_pass_scheme": "crypt", "userdb_warning_disable": "no",
    "blocking": "no"}
_SCOPES = {"base": Scope.BASE, "onelevel": Scope.ONE, "subtree": Scope.SUBTREE}
_DEREFERENCE = {"never": 0, "searching": 1, "finding": 2, "always": 3}
_REQUIRE = {"": True, "never": False, "allow": False, "try": True, "hard": True, "demand": True}
_MECHANISMS = ("EXTERNAL", "PLAIN")


@dataclass(frozen=True)
class Entry:
    """values: attributes by their names in lower case; those of entries pointed to as "attr@pointer"."""

    dn: str
    values: dict[str, list[str]]


class LdapDatabase:
    """One configuration file."""

    def __init__(self, path: str, values: Mapping[str, str], servers: Asks) -> None:
        self.path, self.settings, self._servers = path, values, servers
        self.auth_bind = flag(values, "auth_bind", path)
        self._spec = _spec(values, path)
        self._scope = _choice(_SCOPES, values, "scope", path)

    @classmethod
    def of(cls, path: str, servers: Asks) -> "LdapDatabase":
        """Raises ConfigError."""
        if not path:
            raise ConfigError("ldap: Configuration file path not given")
        values = read_conf_file(path, SETTINGS)
        if not values["base"]:
            raise ConfigError(f"LDAP {path}: No base given")
        if not values["uris"] and not values["hosts"]:
            raise ConfigError(f"LDAP {path}: No uris or hosts set")
        for name in ("pass_filter", "user_filter", "iterate_filter"):
            try:
                encode_filter(expand_variables(values[name], {}).encode("utf-8", "surrogateescape"))
            except FilterError as error:
                raise ConfigError(f"LDAP {path}: {name} = {values[name]}: {error}") from error
        return cls(path, values, servers)

    def attributes(self, setting: str, *, skip: str = "") -> Attributes:
        """Raises ConfigError."""
        try:
            return Attributes(self.settings[setting], skip=skip)
        except ConfigError as error:
            raise ConfigError(f"LDAP {self.path}: {setting}: {error.public}") from error

    def name(self, setting: str, request: AuthRequest) -> str:
        """A setting that is a distinguished name, with variables."""
        return expand_variables(self.settings[setting], Quoted(request.variables(), quote_name))

    async def search(self, setting: str, request: AuthRequest, attributes: Attributes) -> list[Entry]:
        """The entries of a filter, with what their pointers point to. Raises TemporaryError."""
        text = expand_variables(self.settings[setting], Quoted(request.variables(), quote_value))
        entries = await self._search(self.name("base", request), int(self._scope), text, attributes.wanted)
        for entry in entries if attributes.pointers else []:
            await self._follow(entry, request, attributes)
        return entries

    async def _search(self, base: str, scope: int, filter: str, attributes: list[str]) -> list[Entry]:
        answer = await self._servers.ask("ldap", self._spec, {"search": {
            "base": base, "scope": scope, "filter": filter, "attributes": attributes}})
        return [Entry(found["dn"], found["values"] | {DN: [found["dn"]]}) for found in answer["entries"]]

    async def _follow(self, entry: Entry, request: AuthRequest, attributes: Attributes) -> None:
        for name, (_, wanted) in attributes.pointers.items():
            dn = attributes.pointed(name, entry.values, request)
            if not dn or not wanted:
                continue
            for other in await self._search(dn, int(Scope.BASE), "(objectClass=*)", wanted):
                entry.values.update({f"{attribute}@{name}".lower(): found for attribute, found in other.values.items()
                                     if attribute})

    async def bind(self, dn: str, password: Secret) -> tuple[int, str]:
        """The server's result code for a bind with the user's password, and its text. Raises TemporaryError."""
        answer = await self._servers.ask("ldap", self._spec, {"bind": {
            "dn": dn, "password": password.reveal().decode("utf-8", "surrogateescape")}})
        return answer["code"], answer["text"]


def _choice(known: Mapping[str, int], values: Mapping[str, str], name: str, path: str) -> int:
    if values[name].lower() not in known:
        raise ConfigError(f"LDAP {path}: Unknown {name} option '{values[name]}' (there are {', '.join(known)})")
    return known[values[name].lower()]


def _spec(values: Mapping[str, str], path: str) -> dict[str, object]:
    urls = values["uris"].split() or [f"ldap://{host}" for host in values["hosts"].split()]
    for url in urls:
        try:
            parse_url(url)
        except ValueError as error:
            raise ConfigError(f"LDAP {path}: {error}") from error
    mechanism = ""
    if flag(values, "sasl_bind", path):
        mechanism = values["sasl_mech"].upper()
        if mechanism not in _MECHANISMS:
            raise ConfigError(f"LDAP {path}: sasl_mech = {values['sasl_mech']}: there are {', '.join(_MECHANISMS)}")
    if values["ldap_version"] not in ("2", "3"):
        raise ConfigError(f"LDAP {path}: ldap_version = {values['ldap_version']}: there are 2 and 3")
    require = _REQUIRE.get(values["tls_require_cert"].lower())
    if require is None:
        raise ConfigError(f"LDAP {path}: Unknown tls_require_cert value '{values['tls_require_cert']}'")
    tls = {"ca_file": values["tls_ca_cert_file"], "ca_path": values["tls_ca_cert_dir"],
           "cert_file": values["tls_cert_file"], "key_file": values["tls_key_file"],
           "ciphers": values["tls_cipher_suite"], "require": require}
    return {"urls": urls, "dn": values["dn"], "password": values["dnpass"], "mechanism": mechanism,
            "authzid": values["sasl_authz_id"], "start_tls": flag(values, "tls", path), "tls": tls,
            "dereference": _choice(_DEREFERENCE, values, "deref", path), "version": int(values["ldap_version"])}
