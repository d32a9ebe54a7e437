"""ldap: tables. Source: ldap_table(5), and what Postfix 3.7 returns where the manual is silent.

    ldap:/etc/postfix/users.cf      server_host, search_base, query_filter, result_attribute, ...; all in docs/tables.md

An entry's values come in the order in which the directory sends them. Values of special_result_attribute are names or
URLs of further entries, which are searched in turn (`_Expansion`), to a depth of recursion_limit and with at most
SEARCH_LIMIT searches.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.database.errors import QueryError
from mailsuite.database.ldap import Bind, Entry, LdapConnection, LdapDriver, LdapError, LdapTls, Scope
from mailsuite.database.ldap.filters import quote_value
from mailsuite.database.ldap.names import is_url, parse_url, quote_name
from mailsuite.database.pool import Deadline, Pool
from mailsuite.maps.database import DatabaseTable
from mailsuite.maps.table import BadTable

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

TIMEOUT_S = 10              # for one search
TOTAL_S = 10                # times that, for a look-up with all its searches
SEARCH_LIMIT = 10000        # searches of one look-up: groups that contain each other
NO_SUCH_OBJECT = 32
_SCOPES = {"sub": Scope.SUBTREE, "base": Scope.BASE, "one": Scope.ONE}
_BINDS = {"no": "none", "none": "none", "yes": "simple", "simple": "simple", "sasl": "sasl"}
_BASE, _FILTER = 0, 1       # the templates


class LdapTable(DatabaseTable):
    """ldap: ."""

    function = "dict_ldap_get_values"
    retry_s = 5

    def __init__(self, type: str, name: str, source: "MapSource", *, folds: bool = True) -> None:
        super().__init__(type, name, source, folds=folds)
        parameters = self.parameters
        filter_ = parameters.text("query_filter", "mailacceptinggeneralid=%s")
        self.read_common(source, [parameters.text("search_base"), filter_])
        if self.templates.fixed(_FILTER):
            self.warn(f"dict_ldap_open: {name}: Fixed query_filter {filter_} is probably useless")
        for old in ("cache", "cache_expiry", "cache_size"):
            if parameters.has(old):
                self.warn(f"dict_ldap_open: {name} ignoring {old}")
        self._scope = _SCOPES.get(parameters.text("scope", "sub"), Scope.SUBTREE)
        if parameters.text("scope", "sub") not in _SCOPES:
            self.warn(f"dict_ldap_open: {name}: Unrecognized value {parameters.text('scope')} specified for scope; "
                      "using sub")
        # The order is of consequence: a name in two lists counts where it stands first.
        self.terminal = parameters.words("terminal_result_attribute")
        self.leaf = parameters.words("leaf_result_attribute")
        self.normal = parameters.words("result_attribute", "maildrop")
        self.special = parameters.words("special_result_attribute")
        self.recursion_limit = parameters.integer("recursion_limit", 1000, least=1)
        self.size_limit = parameters.integer("size_limit", self.expansion_limit)
        self._timeout_s = parameters.integer("timeout", TIMEOUT_S, least=1)
        options = self.pool_options(self._timeout_s)
        self.pool = Pool(self._driver(), options, warn=self.warn, total_s=self._timeout_s * TOTAL_S)

    def _driver(self) -> LdapDriver:
        parameters, name = self.parameters, self.name
        version = parameters.integer("version", 3)
        if version not in (2, 3):
            self.warn(f"dict_ldap_open: {name} Unknown version {version}, using 3.")
            version = 3
        dereference = parameters.integer("dereference", 0)
        if not 0 <= dereference <= 3:
            self.warn(f"dict_ldap_open: {name} Unrecognized value {dereference} specified for dereference; using 0")
            dereference = 0
        method = _BINDS.get(parameters.text("bind", "yes").lower())
        if method is None:
            raise BadTable(f"{name}: unsupported parameter value: bind = {parameters.text('bind')}")
        tls = LdapTls(parameters.text("tls_ca_cert_file"), parameters.text("tls_ca_cert_dir"),
                      parameters.text("tls_cert"), parameters.text("tls_key"), parameters.text("tls_cipher_suite"),
                      parameters.flag("tls_require_cert", False))
        return LdapDriver(self._urls(), tls=tls, start_tls=parameters.flag("start_tls", False), version=version,
                          dereference=dereference, size_limit=self.size_limit,
                          follow=bool(parameters.integer("chase_referrals", 0)),
                          bind=Bind(method, parameters.text("bind_dn"), parameters.secret("bind_pw"),
                                    tuple(parameters.words("sasl_mechs")), parameters.text("sasl_authz_id")))

    def _urls(self) -> list[str]:
        port = self.parameters.integer("server_port", 389)
        urls = []
        for host in self.parameters.words("server_host", "localhost") or ["localhost"]:
            if "://" in host:
                urls.append(host)
            else:
                urls.append(f"ldap://{host}" if ":" in host.rpartition("]")[2] else f"ldap://{host}:{port}")
        return urls

    # -- asking ----------------------------------------------------------------------------------------------------

    @property
    def attributes(self) -> list[str]:
        return [*self.terminal, *self.leaf, *self.normal, *self.special]

    def look_up(self, connection: LdapConnection, key: bytes, deadline: Deadline) -> bytes | None:
        base = self.templates.query(key, quote_name, _BASE)
        filter_ = self.templates.query(key, quote_value, _FILTER)
        try:
            entries = connection.search(base, self._scope, filter_, self.attributes, deadline)
        except LdapError as error:
            if error.code != NO_SUCH_OBJECT:
                raise QueryError(f"dict_ldap_lookup: Search error {error}") from error
            if not self.templates.fixed(_BASE):
                return None
            raise QueryError(f"dict_ldap_lookup: {self.name}: Search base '{base.decode('utf-8', 'replace')}' "
                             f"not found: {error}") from error
        found: list[bytes] = []
        _Expansion(self, connection, key, found, self._timeout_s).run(entries)
        return b",".join(found) if found else None


class _Expansion:
    """Reading values, and the entries that they name, depth first; without recursion of our own, for 1,000 levels."""

    def __init__(self, table: LdapTable, connection: LdapConnection, key: bytes, found: list[bytes],
                 timeout_s: float) -> None:
        self._table, self._connection, self._key, self._found = table, connection, key, found
        self._timeout_s, self._deadline = timeout_s, Deadline(timeout_s * TOTAL_S)
        self._searches = 0

    def run(self, entries: list[Entry]) -> None:
        """Raises DatabaseError."""
        levels = [self._references(entries, 1)]
        while levels:
            reference = next(levels[-1], None)
            if reference is None:
                levels.pop()
            else:
                levels.append(self._references(self._search(reference, len(levels)), len(levels) + 1))

    def _references(self, entries: list[Entry], level: int) -> Iterator[bytes]:
        """Take the values of these entries; yield each name or URL when it is its turn."""
        table = self._table
        if 0 < table.size_limit < len(entries):
            raise QueryError(f"{table.function}[{level}]: {table.name}: Query size limit ({table.size_limit}) exceeded")
        for entry in entries:
            present = [_position(name, table.attributes) for name, values in entry.attributes if values]
            terminal = any(0 <= place < len(table.terminal) for place in present)
            plain = len(table.terminal) + len(table.leaf) + len(table.normal)
            container = not terminal and any(place >= plain for place in present)
            for name, values in entry.attributes:
                place = _position(name, table.attributes)
                if place < 0 or terminal and place >= len(table.terminal):
                    continue
                if place < plain:
                    if not container or place >= len(table.terminal) + len(table.leaf):
                        table.add(self._found, values, self._key, level=f"[{level}]")
                elif values and level >= table.recursion_limit:
                    raise QueryError(f"{table.function}[{level}]: {table.name}: Recursion limit exceeded for special "
                                     f"attribute {name}={values[0].decode('utf-8', 'replace')}")
                else:
                    yield from values

    def _search(self, reference: bytes, level: int) -> list[Entry]:
        """The entries that a name or a URL stands for."""
        table = self._table
        self._searches += 1
        if self._searches > SEARCH_LIMIT:
            raise QueryError(f"{table.function}[{level}]: {table.name}: more than {SEARCH_LIMIT} searches for one key")
        self._deadline.left()
        try:
            return self._ask(reference, Deadline(self._timeout_s))
        except LdapError as error:
            if error.code == NO_SUCH_OBJECT:
                table.warn(f"{table.function}[{level}]: DN {reference.decode('utf-8', 'replace')} not found, skipping")
                return []
            raise QueryError(f"{table.function}[{level}]: search error {error}") from error

    def _ask(self, reference: bytes, deadline: Deadline) -> list[Entry]:
        text, attributes = reference.decode("utf-8", "surrogateescape"), self._table.attributes
        if not is_url(text):
            return self._connection.search(reference, Scope.BASE, b"(objectClass=*)", attributes, deadline)
        try:
            url = parse_url(text)
        except ValueError as error:
            raise QueryError(f"{self._table.function}: {self._table.name}: {error}") from error
        if url.attributes:
            attributes = _selected(url.attributes, attributes)
        if not attributes:
            return []
        return self._connection.search(url.base.encode("utf-8", "surrogateescape"), url.scope,
                                       url.filter.encode("utf-8", "surrogateescape"), attributes, deadline)


def _options(description: str) -> tuple[str, frozenset[str]]:
    name, *options = description.lower().split(";")
    return name, frozenset(options)


def _position(description: str, attributes: list[str]) -> int:
    """Where an attribute stands in the list, itself or the type that it is a subtype of ("cn;lang-de" of "cn"); -1."""
    name, options = _options(description)
    for place, wanted in enumerate(attributes):
        wanted_name, wanted_options = _options(wanted)
        if name == wanted_name and wanted_options <= options:
            return place
    return -1


def _selected(of_url: list[str], of_table: list[str]) -> list[str]:
    """Attributes that both name; the more special form of each."""
    chosen = []
    for mine in of_table:
        name, options = _options(mine)
        for theirs in of_url:
            other, other_options = _options(theirs)
            if theirs == "*" or name == other and (options == other_options or not options or not other_options):
                chosen.append(theirs if other_options and not options else mine)
                break
    return chosen
