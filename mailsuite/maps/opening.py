"""From "type:name" to an open table.

    table = open_table("hash:/etc/postfix/access", source)

Raises BadTable (unknown type, malformed name) and TableError (file missing or broken), with Postfix's words.
"""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from mailsuite.maps import elsewhere
from mailsuite.maps.table import BadTable, Table

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource

# type -> module, function or class called with (type, name, source, folds=)
_TYPES = {
    "hash": ("indexed", "IndexedTable"), "btree": ("indexed", "IndexedTable"), "lmdb": ("indexed", "IndexedTable"),
    "cdb": ("cdb", "CdbTable"),
    "texthash": ("texthash", "TextTable"),
    "regexp": ("regex", "RegexTable"), "pcre": ("regex", "RegexTable"),
    "cidr": ("cidr", "CidrTable"),
    "static": ("simple", "StaticTable"), "inline": ("simple", "InlineTable"), "environ": ("simple", "EnvironTable"),
    "fail": ("simple", "FailTable"), "internal": ("simple", "InternalTable"), "nis": ("simple", "NisTable"),
    "unix": ("system", "UnixTable"),
    "tcp": ("network", "TcpTable"), "socketmap": ("network", "SocketmapTable"),
    "pgsql": ("sql", "PgsqlTable"), "mysql": ("sql", "MysqlTable"), "sqlite": ("sql", "SqliteTable"),
    "ldap": ("ldap", "LdapTable"), "memcache": ("memcache", "MemcacheTable"),
    "unionmap": ("combined", "UnionTable"), "pipemap": ("combined", "PipeTable"),
    "randmap": ("combined", "RandomTable"),
}
WRITABLE = ("hash", "btree", "lmdb", "cdb")


def known_types() -> list[str]:
    """The types that can be opened (postconf -m)."""
    return sorted([*_TYPES, "proxy"])


def check_type(type: str) -> None:
    """Raises BadTable for a type that is not known."""
    if type not in _TYPES and type != "proxy":
        raise BadTable(f"unsupported dictionary type: {type}")


def open_table(spec: str, source: "MapSource", *, folds: bool = True) -> Table:
    """Open one table. folds: keys of indexed tables are folded to lower case. Raises BadTable, TableError."""
    type, colon, name = spec.partition(":")
    if not colon or not type or not name:
        raise BadTable(f"open dictionary: expecting \"type:name\" form instead of \"{spec}\"")
    if type == "proxy":
        from mailsuite.maps.proxied import open_proxied

        return open_proxied(name, source, folds=folds)
    entry = _TYPES.get(type)
    if entry is None:
        raise BadTable(f"unsupported dictionary type: {type}")
    if elsewhere.is_elsewhere(type):
        return elsewhere.RemoteTable(type, name, source, folds=folds)
    module = import_module("mailsuite.maps." + entry[0])
    make: Callable[..., Table] = getattr(module, entry[1])
    return make(type, name, source, folds=folds)
