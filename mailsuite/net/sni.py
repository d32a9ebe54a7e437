"""tls_server_sni_maps: keys and certificate chains by the name that a client asks for.

    names = NamedChains("hash:/etc/postfix/sni", source);  names.open()      while keys can be read
    names.find("mx.example.org") -> Chains(pem, identities) | None           by the name, then ".example.org", ".org"

A value names files in a table of text (texthash, inline, pcre...), whose content is read when the table is opened; in
an indexed table it is that content in base64 (postmap -F). What was opened stays as it is until a reload: what changes
later may be readable for root alone. The handshake waits for the answer, so tables that are asked over a network are
not asked: they count as unavailable.
Raises (find): SniError, where the handshake has to fail: the table cannot be asked, or its value is no chain. A default
certificate in place of one that could not be looked up would make clients distrust the server for no visible reason.
Source: postconf(5), Postfix's tls_server_sni_maps. See tests/net/test_sni.py.
"""

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.maps.maps import MapSource, split_specs
from mailsuite.maps.opening import WRITABLE, open_table
from mailsuite.maps.table import BadTable, Table, TableError, UnavailableTable
from mailsuite.tls.identity import Identity, named_chains

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings



class SniError(Exception):
    """The handshake must fail; the text is for the log."""


class Chains(NamedTuple):
    """pem: the table's value, by which equal chains are told. identities: one for each algorithm."""

    pem: str
    identities: list[Identity]


class NamedChains:
    """The tables of one service."""

    def __init__(self, text: str, source: MapSource) -> None:
        self._specs, self._source, self.log = split_specs(text), source, source.log
        self._tables: list[Table] = []

    def open(self) -> None:
        """Open the tables anew. Never raises: what cannot be opened is logged, and fails when it is asked."""
        self._tables = [self._open(spec) for spec in self._specs]

    def _open(self, spec: str) -> Table:
        type_, _, name = spec.partition(":")
        try:
            table = open_table(spec, self._source)
        except (BadTable, TableError) as error:
            self.log.error("%s", error)
            return UnavailableTable(type_, name, str(error))
        if table.waits:
            why = "a handshake cannot wait for it; use an indexed file for tls_server_sni_maps"
            self.log.error("%s: %s", spec, why)
            return UnavailableTable(type_, name, why)
        table.freeze()
        return table

    def find(self, name: str) -> Chains | None:
        """The chains for a name. Raises SniError."""
        key = name
        while key:
            pem = self._value(name, key)
            if pem is not None:
                try:
                    return Chains(pem, named_chains(pem.encode("utf-8", "surrogateescape"), f"SNI data for {name}"))
                except ConfigError as error:
                    self.log.warning("%s", error.public)
                    raise SniError(f"error loading private keys and certificates from: SNI data for {name}: "
                                   "aborting TLS handshake") from error
            dot = key.find(".", 1)
            key = key[dot:] if dot > 0 else ""
        return None

    def _value(self, name: str, key: str) -> str | None:
        """The first table's PEM text for a key. Raises SniError."""
        for table in self._tables:
            try:
                value = table.lookup(key)
                if value is not None:
                    return _decoded(table, key, value) if table.type in WRITABLE else value
            except TemporaryError as error:
                if error.detail:
                    self.log.warning("%s", error.detail)
                raise SniError(f"tls_server_sni_maps: {name} map lookup problem") from error
        return None


def _decoded(table: Table, key: str, value: str) -> str:
    """What postmap -F stored. Raises TableError; the value is not shown unless it is the name of a file."""
    try:
        return base64.b64decode(value, validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError) as error:
        shown = f": {value}" if value.startswith("/") and "\n" not in value else ""
        raise TableError(f"table {table.spec}: key {key}: malformed BASE64 value{shown}; "
                         f"make the table with postmap -F", config=True) from error


def smtpd_names(settings: "Settings", program: str = "smtpd") -> NamedChains | None:
    """The tables of an SMTP server; None when there are none."""
    text = settings.text("tls_server_sni_maps")
    return NamedChains(text, MapSource(settings, program, values_are_files=True)) if text.strip() else None
