"""The ssl_* settings of dovecot.conf: what a login process shows to which client.

    tls = DovecotTls(settings, log);  tls.load()            while keys can be read
    tls.context(layer) -> ssl.SSLContext | None             layer: settings.for_connection(local_ip=..., remote_ip=...)

`local`, `remote` and `local_name` sections may each have certificates of their own: a client that asks for a name (SNI)
gets what its `local_name` says, together with the addresses of its connection. Files are read in `load`; contexts are
made of them when they are first needed, so a hundred names cost nothing until somebody asks for them.
A layer whose certificate cannot be used has no context (None), which is logged once.
Limits: CONTEXTS_LIMIT contexts at once.
Source: Dovecot 2.3's SSL configuration. See docs/logins.md, tests/net/test_dovecot_tls.py.
"""

import logging
import ssl
from collections import OrderedDict
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError
from mailsuite.net.tls import Pair, ServerSpec, ServerTls
from mailsuite.tls import protocols

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.dovecot_syntax import Node

CONTEXTS_LIMIT = 1000

FILES = frozenset({"ssl_cert", "ssl_key", "ssl_alt_cert", "ssl_alt_key", "ssl_ca", "ssl_key_password", "ssl_dh"})


def dovecot_tls(dovecot: "DovecotSettings") -> ServerSpec:
    """The ssl_* settings of one layer. Raises ConfigError."""
    password = dovecot.text("ssl_key_password").rstrip("\r\n")
    certificate, key = dovecot.text("ssl_cert"), dovecot.text("ssl_key")
    pairs = [Pair(certificate, key or certificate, password)] if certificate else []
    other, other_key = dovecot.text("ssl_alt_cert"), dovecot.text("ssl_alt_key")
    if other:
        pairs.append(Pair(other, other_key or other, password))
    verify = dovecot.flag("ssl_verify_client_cert") or dovecot.flag("auth_ssl_require_client_cert")
    curves = dovecot.text("ssl_curve_list").replace(",", ":").split(":")
    return ServerSpec(
        pairs=tuple(pairs), protocols=protocols.parse_least(dovecot.text("ssl_min_protocol") or "TLSv1.2"),
        cipher_list=dovecot.text("ssl_cipher_list"), prefer_server_ciphers=dovecot.flag("ssl_prefer_server_ciphers"),
        ask=verify, authorities=dovecot.text("ssl_ca") if verify else "",
        check_revoked=verify and dovecot.flag("ssl_require_crl"), curve=curves[0].strip() if len(curves) == 1 else "",
        tickets="no_ticket" not in dovecot.words("ssl_options"))


def not_obeyed(dovecot: "DovecotSettings") -> list[str]:
    """What is set and Python's TLS library cannot do; for a warning each."""
    found = []
    if ":" in dovecot.text("ssl_curve_list"):
        found.append("ssl_curve_list: only a single curve can be set; OpenSSL's own order of curves is used")
    if dovecot.text("ssl_cipher_suites"):
        found.append("ssl_cipher_suites is not obeyed: OpenSSL's own choice of TLSv1.3 suites is used")
    if dovecot.text("ssl_crypto_device"):
        found.append("ssl_crypto_device is not obeyed")
    return found


class DovecotTls:
    """One service's contexts."""

    def __init__(self, settings: "DovecotSettings", log: logging.Logger) -> None:
        self._settings, self._log = settings, log
        self._by_name_and_address = settings.names_differ_by_address()
        self._made: OrderedDict[object, tuple[DovecotSettings, ssl.SSLContext | None]] = OrderedDict()

    @property
    def enabled(self) -> bool:
        """Whether any layer has TLS."""
        return self._settings.text("ssl") != "no"

    def load(self) -> None:
        """Read the files, and make the context that most clients get. What cannot be used is logged."""
        for error in self._settings.read_files(FILES):
            self._log.error("%s", error.public)
        for warning in not_obeyed(self._settings):
            self._log.warning("%s", warning)
        self.context(self._settings)

    def context(self, layer: "DovecotSettings") -> ssl.SSLContext | None:
        """For the clients of a layer."""
        # Layers of many addresses share one tree; only where a name has sections for addresses may they still differ.
        key: object = layer if self._by_name_and_address else id(layer.node)
        known = self._made.get(key)
        if known is None:
            if len(self._made) >= CONTEXTS_LIMIT:
                self._made.popitem(last=False)
            known = self._made[key] = layer, self._make(layer)
        return known[1]

    def _make(self, layer: "DovecotSettings") -> ssl.SSLContext | None:
        def choose(name: str) -> ssl.SSLContext | None:
            named = layer.for_connection(local_name=name)
            if named.node is layer.node:
                return None
            context = self.context(named)
            if context is None:
                raise ConfigError(f"no usable certificate for {name}")
            return context

        if layer.text("ssl") == "no":
            return None
        try:
            tls = ServerTls(dovecot_tls(layer), choose=choose)
            tls.load()
        except ConfigError as error:
            self._log.error("%s", _told(layer, error).public)
            return None
        return tls.context()


def certificate_errors(dovecot: "DovecotSettings") -> list[ConfigError]:
    """What is wrong with the certificates of all services and names, for a check before a start or a reload."""
    errors = dovecot.read_files(FILES)
    if errors:
        return errors
    found: dict[str, ConfigError] = {}
    for layer in _layers(dovecot):
        if layer.text("ssl") == "no":
            continue
        try:
            ServerTls(dovecot_tls(layer)).load()
        except ConfigError as error:
            told = _told(layer, error)
            found.setdefault(told.public, told)
    return list(found.values())


def _told(layer: "DovecotSettings", error: ConfigError) -> ConfigError:
    """With the files' names: what was read knows only "(configuration)"."""
    files = [f"{name} = <{path}" for name in ("ssl_cert", "ssl_key") if (path := layer.file(name))]
    return ConfigError(f"{error.public} ({', '.join(files)})") if files else error


def _layers(dovecot: "DovecotSettings") -> "list[DovecotSettings]":
    """The plain settings, and each section that says something about TLS with those around it."""
    layers = [dovecot]

    def visit(node: "Node", facts: dict[str, str]) -> None:
        for child in node.filters:
            inner = {**facts, child.type: child.name.split()[0].partition("/")[0] if child.name else ""}
            if any(name.startswith("ssl") for name in child.values):
                layers.append(_layer(dovecot, inner))
            visit(child, inner)

    visit(dovecot.node, {})
    return layers


def _layer(dovecot: "DovecotSettings", facts: dict[str, str]) -> "DovecotSettings":
    layer = dovecot.for_protocol(facts["protocol"].lstrip("!")) if "protocol" in facts else dovecot
    return layer.for_connection(local_ip=facts.get("local", ""), remote_ip=facts.get("remote", ""),
                                local_name=facts.get("local_name", "").replace("*", "any"))
