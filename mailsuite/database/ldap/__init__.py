"""A small LDAP v3 client: bind, search, StartTLS. Enough to look things up; it changes nothing in a directory.

    driver = LdapDriver(["ldap://a.test", "ldaps://b.test", "ldapi://%2Frun%2Fldapi"], bind=Bind(dn, Secret(b"x")))
    entries = connection.search("dc=a,dc=test", Scope.SUBTREE, "(mail=a@b.test)", ["maildrop"], deadline)

ber.py        the encoding            messages.py    requests and replies, octets only
filters.py    RFC 4515 filters        names.py       quoting of names (RFC 4514), URLs (RFC 4516)
connection.py the driver, with sockets and TLS
Source: RFC 4511.
"""

from mailsuite.database.ldap.connection import Bind, LdapConnection, LdapDriver, LdapError, LdapTls
from mailsuite.database.ldap.messages import Entry, Scope

__all__ = ["Bind", "Entry", "LdapConnection", "LdapDriver", "LdapError", "LdapTls", "Scope"]
