"""What the settings say about the clients of a login service: one Site for each set of `local`, `remote` and
`local_name` sections that is in force.

    sites = Sites("imap", settings, tls, log)
    site = sites.of(peer, server_name)          cached; the same object where no section makes a difference
"""

import os
import socket
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mailsuite.access.login_log import LineFormat
from mailsuite.access.login_story import LoginFacts
from mailsuite.access.networks import Networks
from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import ConfigError
from mailsuite.config.variables import expand_variables
from mailsuite.net.dovecot_tls import DovecotTls
from mailsuite.sasl.auth_client import Mechanism

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

SITES_LIMIT = 1000


class Site:
    """The settings of one layer, in the form in which a connection needs them."""

    def __init__(self, protocol: str, settings: "DovecotSettings", tls: DovecotTls) -> None:
        self.protocol, self.settings, self.tls = protocol, settings, tls
        self.format = LineFormat(settings.text("login_log_format"), settings.text("login_log_format_elements"))
        self.trusted = Networks(settings, "login_trusted_networks")
        self.greeting = settings.text("login_greeting")
        self.greets_all_alike = "%" not in self.greeting
        self.plaintext_ok = not settings.flag("disable_plaintext_auth")
        self.certificate_required = settings.flag("auth_ssl_require_client_cert")
        self.certificate_field = settings.text("ssl_cert_username_field")
        self.verbose = settings.flag("auth_verbose")
        self._ssl = settings.text("ssl")
        self._host_name = socket.gethostname()
        self._fixed: dict[str, str] = _FIXED[protocol](settings)
        self._literal_minus = protocol == "imap" and settings.flag("imap_literal_minus")
        self._utf8 = protocol == "pop3" and settings.flag("mail_utf8_extensions")
        self._retain_id = protocol == "imap" and settings.flag("imap_id_retain")
        self._known: dict[tuple[bool, bool, bool], LoginFacts] = {}

    def facts(self, peer: Peer, mechanisms: tuple[Mechanism, ...], *, secured: bool, trusted: bool,
              server_name: str) -> LoginFacts:
        """For one connection; peer as the client's addresses are known. The same object wherever nothing differs."""
        kind = secured, trusted, self.tls.context(self.settings) is not None
        facts = self._known.get(kind)
        if facts is None or facts.mechanisms is not mechanisms:
            facts = self._known[kind] = LoginFacts(
                greeting=self.greeting, mechanisms=mechanisms, secured=secured, plaintext_ok=self.plaintext_ok,
                tls_offered=kind[2], tls_required=self._ssl == "required", host_name=self._host_name, trusted=trusted,
                certificate_required=self.certificate_required, retain_id=self._retain_id,
                literal_minus=self._literal_minus, utf8=self._utf8, **self._fixed)
        if not self.greets_all_alike:
            facts = replace(facts, greeting=self._greeting_for(peer, server_name))
        return facts

    def _greeting_for(self, peer: Peer, server_name: str) -> str:
        values = {"lip": peer.server_address, "local_ip": peer.server_address, "rip": peer.address,
                  "remote_ip": peer.address, "pid": str(os.getpid()), "service": self.protocol,
                  "local_name": server_name}
        try:
            return expand_variables(self.greeting, values)
        except ConfigError:
            return self.greeting


class Sites:
    """Those of one process."""

    def __init__(self, protocol: str, settings: "DovecotSettings", tls: DovecotTls) -> None:
        self._protocol, self._settings, self._tls = protocol, settings, tls
        self._alike = not settings.has_filters
        self.plain = Site(protocol, settings, tls)
        self._made: OrderedDict[object, Site] = OrderedDict()

    def of(self, peer: Peer, server_name: str = "") -> Site:
        """For a connection: its addresses, and the name that the client asked for (SNI), if any."""
        if self._alike:
            return self.plain
        layer = self.layer(peer, server_name)
        site = self._made.get(id(layer.node))
        if site is None:
            if len(self._made) >= SITES_LIMIT:
                self._made.popitem(last=False)
            # The site keeps the layer, and the layer its tree: the key stays valid.
            site = self._made[id(layer.node)] = Site(self._protocol, layer, self._tls)
        return site

    def layer(self, peer: Peer, server_name: str = "") -> "DovecotSettings":
        """The settings that are in force for a connection."""
        return self._settings.for_connection(local_ip=peer.server_address, remote_ip=peer.address,
                                             local_name=server_name)


def _imap(settings: "DovecotSettings") -> dict[str, str]:
    own = settings.text("imap_capability")
    if settings.text("imap_extensions") == "all" and (not own or own.startswith("+")):
        own = f"+IMAP4rev2 {own[1:]}".rstrip()
    return {"capability": own, "id_send": id_fields(settings.text("imap_id_send")),
            "id_log": settings.text("imap_id_log")}


def _pop3(settings: "DovecotSettings") -> dict[str, str]:
    return {}


def _sieve(settings: "DovecotSettings") -> dict[str, str]:
    return {"implementation": settings.text("managesieve_implementation_string"),
            "sieve": settings.text("managesieve_sieve_capability"),
            "notify": settings.text("managesieve_notify_capability")}


_FIXED = {"imap": _imap, "pop3": _pop3, "sieve": _sieve}


def id_fields(setting: str) -> str:
    """imap_id_send as an ID response's list; "*" stands for our own values."""
    words, fields = setting.split(), []
    for name, value in zip(words[::2], words[1::2], strict=False):
        own: Mapping[str, str] = {"name": "mailsuite", "version": "0.1"}
        value = own.get(name, value) if value == "*" else value
        fields += [f'"{name}"', "NIL" if value == "*" else '"' + value.replace("\\", "").replace('"', "") + '"']
    return f"({' '.join(fields)})" if fields else ""


