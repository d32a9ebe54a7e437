"""Lookup tables: keys to values, wherever they are kept.

    source = MapSource(settings, program="smtpd")
    maps = open_maps("hash:/etc/a, regexp:/etc/b", source)        never raises: what cannot be opened fails when asked
    await maps.find("key") -> "value" | None                      raises TemporaryError: could not be asked

table.py      what a table is; errors           opening.py    "type:name" -> table
maps.py       Maps: several tables in a row     lookup.py     the orders in which an address or a domain is looked up
matchlist.py  mynetworks and other lists        sources.py    reading "key value" and "name: value" files
One module per family of types: indexed.py (hash, btree, lmdb), texthash.py, regex.py (regexp, pcre), cidr.py,
cdb.py, simple.py (static, inline, environ, fail, internal), system.py (unix), network.py (tcp, socketmap), combined.py
(unionmap, pipemap, randmap), sql.py (pgsql, mysql, sqlite), ldap.py, memcache.py; proxied.py (proxy). What those in
databases share: database.py, parameters.py, template.py; the clients are in mailsuite/database.
"""

from mailsuite.maps.maps import Found, Maps, MapSource, open_maps

__all__ = ["Found", "MapSource", "Maps", "open_maps"]
