"""Parameters that exist because a lookup table is named in main.cf: `pgsql:users` reads users_hosts, users_query...

    table_parameters("ldap:people, hash:/etc/a") -> {"people_server_host", ...}

Such a legacy table keeps its settings in main.cf; one whose name is a path (pgsql:/etc/x.cf) keeps them in that file.
"""

import re

# "timeout", "connection_limit", "retry_interval", "idle_interval" are ours where Postfix's manual does not have them.
_COMMON = ("domain", "expansion_limit", "result_format", "timeout", "connection_limit", "retry_interval",
           "idle_interval")
_QUERY = (*_COMMON, "result_filter", "query", "select_field", "table", "where_field", "additional_conditions")
_SERVER = (*_QUERY, "hosts", "user", "password", "dbname")
_PGSQL = (*_SERVER, "select_function", "encoding")
_MYSQL = (*_SERVER, "option_file", "option_group", "require_result_set", "tls_key_file", "tls_cert_file", "tls_CAfile",
          "tls_CApath", "tls_ciphers", "tls_verify_cert", "charset")
_SQLITE = (*_QUERY, "dbpath")
_LDAP = (*_COMMON, "bind", "bind_dn", "bind_pw", "cache", "cache_expiry", "cache_size", "chase_referrals", "debuglevel",
         "dereference", "leaf_result_attribute", "query_filter", "recursion_limit", "result_attribute", "result_filter",
         "scope", "search_base", "server_host", "server_port", "size_limit", "special_result_attribute", "start_tls",
         "terminal_result_attribute", "tls_ca_cert_dir", "tls_ca_cert_file", "tls_cert", "tls_cipher_suite", "tls_key",
         "tls_random_file", "tls_require_cert", "version", "sasl_mechs", "sasl_realm", "sasl_authz_id", "sasl_minssf")
_MEMCACHE = ("memcache", "backup", "flags", "ttl", "domain", "key_format", "line_size_limit", "max_try", "retry_pause",
             "timeout", "data_size_limit", "connection_limit", "retry_interval", "idle_interval")
SUFFIXES = {"ldap": _LDAP, "mysql": _MYSQL, "pgsql": _PGSQL, "sqlite": _SQLITE, "memcache": _MEMCACHE}
_TABLE = re.compile(r"(?:^|[\s,{])(?:proxy:)?(ldap|mysql|pgsql|sqlite|memcache):([A-Za-z0-9_]+)(?=$|[\s,}])")


def table_parameters(value: str) -> set[str]:
    """The parameters that the tables named in a value may have in main.cf."""
    if ":" not in value:
        return set()
    return {f"{name}_{suffix}" for kind, name in _TABLE.findall(value) for suffix in SUFFIXES[kind]}


_FILE = re.compile(r"(?:^|[\s,{])(?:proxy:)?(ldap|mysql|pgsql|sqlite|memcache):(/[^\s,}]+)")


def table_files(value: str) -> list[tuple[str, str]]:
    """(type, path) of the tables named in a value that keep their settings in a file."""
    return _FILE.findall(value) if ":/" in value else []
