"""proxy: tables. Postfix's proxymap opens a table for others, if proxy_read_maps names it; here it is opened in place.

    table = open_proxied("hash:/etc/postfix/users", source, folds=True)       raises BadTable: not approved

Only what proxy_read_maps names with its "proxy:" in front may be asked, as there: the list says what an administrator
meant to share. Agents that run commands and write files as others open the table themselves, as in Postfix, and need no
approval.
"""

from typing import TYPE_CHECKING

from mailsuite.maps.maps import split_specs
from mailsuite.maps.table import BadTable, Table

if TYPE_CHECKING:
    from mailsuite.maps.maps import MapSource


def approved(name: str, source: "MapSource") -> bool:
    """Whether proxy_read_maps has proxy:NAME."""
    listed = source.settings.text("proxy_read_maps")
    return "proxy:" in listed and f"proxy:{name}" in split_specs(listed)


def open_proxied(name: str, source: "MapSource", *, folds: bool = True) -> Table:
    """Raises BadTable, TableError."""
    from mailsuite.maps.opening import open_table

    if not source.restricted and not approved(name, source):
        source.log.warning("request for unapproved table: \"%s\"", name)
        source.log.warning("to approve this table for read-only access, list proxy:%s in main.cf:proxy_read_maps", name)
        raise BadTable(f"proxymap service is not configured for table \"{name}\"")
    return open_table(name, source, folds=folds)
