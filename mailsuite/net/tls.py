"""SSLContexts for servers, from parameters; those for clients are net/client_tls.py.

    tls = ServerTls(smtpd_tls(settings), smtpd_names(settings))
    tls.load()                                               while keys can be read; raises ConfigError
    tls.context() -> ssl.SSLContext | None                   what Acceptor(tls=...) and StartTls want
    tls.refresh()                                            takes new files, when they changed and fit

A server without a certificate has no context (None) and says why in `tls.failure`: the dialogue goes on, a handshake
is refused. SNI: a context of its own for each name in `ServerSpec.names`, and for what the tables of sni.py have, made
at the first handshake that needs it. The name a client sent is noted on the SSL object as `mailsuite_server_name`, what
became of it as `mailsuite_name_use`; the driver reads both.
"""

import os
import ssl
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailsuite.base.dialogue import NameUse
from mailsuite.base.errors import ConfigError
from mailsuite.net.sni import NamedChains, SniError
from mailsuite.smtp.syntax import is_hostname
from mailsuite.tls import binding, ciphers, protocols
from mailsuite.tls.failures import TellingContext
from mailsuite.tls.identity import Identity, install, read_identity, split_chain_file
from mailsuite.tls.options import Options
from mailsuite.tls.protocols import Protocols

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

NO_OPTIONS = Options()
CONTEXTS_LIMIT = 1000       # chains out of tables that are kept ready


@dataclass(frozen=True)
class Pair:
    """A certificate and a key: paths, or PEM text. key "": in the certificate's file. password: of an encrypted key."""

    certificate: str
    key: str = field(default="", repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True)
class ServerSpec:
    """What a server's contexts are made of.

    chain_files: key and certificates in one file, several algorithms one behind the other. names: SNI.
    ask / require: a client certificate is asked for / without a good one the handshake fails. authorities: PEM text, of
    certificates and, with check_revoked, of revocation lists. curve: the one for key exchange; "": OpenSSL's choice.
    """

    pairs: tuple[Pair, ...] = ()
    chain_files: tuple[str, ...] = ()
    names: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)
    protocols: Protocols = protocols.DEFAULT
    cipher_list: str = ""
    prefer_server_ciphers: bool = False
    ca_file: str = ""
    ca_path: str = ""
    ask: bool = False
    require: bool = False
    authorities: str = field(default="", repr=False)
    check_revoked: bool = False
    curve: str = ""
    tickets: bool = True
    options: Options = NO_OPTIONS


class ServerTls:
    """The TLS side of one service. names: tls_server_sni_maps, where it has such tables.

    choose: the context for a name; None leaves the one that was begun with, ConfigError ends the handshake.
    """

    def __init__(self, spec: ServerSpec, names: NamedChains | None = None,
                 choose: Callable[[str], ssl.SSLContext | None] | None = None) -> None:
        self.spec, self._names, self._choose = spec, names, choose
        self.failure = "no certificate is configured"
        self._default: ssl.SSLContext | None = None
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._by_chain: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._stamp: tuple[object, ...] = ()

    @property
    def configured(self) -> bool:
        """Whether a certificate is named at all."""
        return bool(self.spec.pairs or self.spec.chain_files)

    def load(self) -> None:
        """Read all files and make the contexts; what was loaded before stays in force on ConfigError."""
        if not self.configured:
            return
        binding.prepare()
        try:
            self._stamp = self._file_stamp()
            identities = [read_identity(pair.certificate, pair.key, pair.password) for pair in self.spec.pairs]
            for path in self.spec.chain_files:
                identities += split_chain_file(path)
            default = self._make(identities)
            by_name = {name.lower(): self._make([read_identity(pair.certificate, pair.key) for pair in pairs])
                       for name, pairs in self.spec.names.items()}
        except ConfigError as error:
            self.failure = error.public
            raise
        if self._names is not None:
            self._names.open()
            self._by_chain.clear()
        self._default, self._by_name, self.failure = default, by_name, ""

    def context(self) -> ssl.SSLContext | None:
        """The context for a handshake, None when there is no usable certificate."""
        return self._default

    def refresh(self) -> bool:
        """Load again when a file changed; False when nothing changed. Raises ConfigError; the old stay in force."""
        if not self.configured or self._stamp == self._file_stamp():
            return False
        self.load()
        return True

    def _file_stamp(self) -> tuple[object, ...]:
        paths = [path for pair in self.spec.pairs for path in (pair.certificate, pair.key)]
        paths += [path for pairs in self.spec.names.values() for pair in pairs
                  for path in (pair.certificate, pair.key)]
        return tuple(_stamp_of(path) for path in [*paths, *self.spec.chain_files])

    def _make(self, identities: list[Identity]) -> ssl.SSLContext:
        spec = self.spec
        context = TellingContext(ssl.PROTOCOL_TLS_SERVER)
        protocols.apply(context, spec.protocols)
        context.options |= ssl.OP_NO_RENEGOTIATION
        if spec.prefer_server_ciphers:
            context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
        else:
            context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
        spec.options.apply(context)
        if spec.cipher_list:
            set_ciphers(context, spec.cipher_list)
        for identity in identities:
            install(context, identity)
        if spec.ca_file or spec.ca_path:
            load_authorities(context, spec.ca_file, spec.ca_path)
        if spec.authorities:
            _add_authorities(context, spec)
        if spec.curve:
            _set_curve(context, spec.curve)
        if not spec.tickets:
            context.options |= ssl.OP_NO_TICKET
            context.num_tickets = 0
        if spec.require:
            context.verify_mode = ssl.CERT_REQUIRED
        elif spec.ask:
            context.verify_mode = ssl.CERT_OPTIONAL
        context.sni_callback = self._on_server_name
        return context

    def _on_server_name(self, ssl_object: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> int | None:
        """Called in the handshake; what is returned is an alert, with which it fails."""
        if not name:
            return None
        ssl_object.mailsuite_server_name = name     # type: ignore[attr-defined]  # read by the driver
        use, named = NameUse.NONE, self._find_name(name.lower())
        if named is None and self._names is not None:
            try:
                use, named = self._ask_tables(self._names, name)
            except SniError as error:
                self._names.log.warning("%s", error)
                return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        if named is None and self._choose is not None:
            try:
                named = self._choose(name)
            except ConfigError:                     # told where it arose
                return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        ssl_object.mailsuite_name_use = use         # type: ignore[attr-defined]
        if named is not None:
            ssl_object.context = named
        return None

    def _ask_tables(self, names: NamedChains, name: str) -> tuple[NameUse, ssl.SSLContext | None]:
        """Raises SniError."""
        if not is_hostname(name):
            return NameUse.INVALID, None
        chains = names.find(name)
        if chains is None:
            return NameUse.UNMATCHED, None
        context = self._by_chain.pop(chains.pem, None)
        if context is None:
            try:
                context = self._make(chains.identities)
            except ConfigError as error:
                raise SniError(error.public) from error
            if len(self._by_chain) >= CONTEXTS_LIMIT:
                self._by_chain.popitem(last=False)
        self._by_chain[chains.pem] = context        # the last used is the last
        return NameUse.MATCHED, context

    def _find_name(self, name: str) -> ssl.SSLContext | None:
        """By the name itself, then by its parents written ".parent" or "*.parent"."""
        if not self._by_name:
            return None
        found = self._by_name.get(name)
        while found is None and "." in name:
            name = name.partition(".")[2]
            found = self._by_name.get("." + name) or self._by_name.get("*." + name)
        return found


def _stamp_of(path: str) -> object:
    if not path or "-----BEGIN " in path:
        return None
    try:
        status = os.stat(path)
    except OSError as error:
        return error.errno
    return status.st_mtime_ns, status.st_ino, status.st_size


def set_ciphers(context: ssl.SSLContext, text: str) -> None:
    """Raises ConfigError."""
    try:
        context.set_ciphers(text)
    except ssl.SSLError as error:
        raise ConfigError(f'OpenSSL knows no cipher of the list "{text}"') from error


def load_authorities(context: ssl.SSLContext, ca_file: str, ca_path: str) -> None:
    """Raises ConfigError."""
    try:
        context.load_verify_locations(ca_file or None, ca_path or None)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot load the certificate authorities in {ca_file or ca_path}: {reason}") from error


def _add_authorities(context: ssl.SSLContext, spec: ServerSpec) -> None:
    """Certificates and revocation lists from text: OpenSSL takes the latter from files only. Raises ConfigError."""
    with tempfile.NamedTemporaryFile(prefix="mailsuite-ca-") as file:
        file.write(spec.authorities.encode("utf-8", "surrogateescape"))
        file.flush()
        load_authorities(context, file.name, "")
    if spec.check_revoked:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN


def _set_curve(context: ssl.SSLContext, name: str) -> None:
    try:
        context.set_ecdh_curve(name)
    except (ValueError, ssl.SSLError) as error:
        raise ConfigError(f"OpenSSL knows no curve {name}") from error


# --- parameters -> spec -----------------------------------------------------------------------------------------

def _yes(text: str) -> bool:
    return text.strip().lower() == "yes"


def _none_is_empty(text: str) -> str:
    return "" if text.strip() in ("none", "") else text.strip()


def postfix_ciphers(settings: "Settings", grade: str, exclude: str) -> str:
    """The OpenSSL list of a cipher grade with the administrator's own lists. Raises ConfigError."""
    own = {name: settings.text(f"tls_{name}_cipherlist") for name in ("high", "medium", "null")}
    return ciphers.cipher_list(grade or "medium", exclude, grades=own)


def smtpd_tls(settings: "Settings") -> ServerSpec:
    """The smtpd_tls_* parameters. Raises ConfigError."""
    must = settings.text("smtpd_tls_security_level") == "encrypt" or _yes(settings.text("smtpd_tls_wrappermode"))
    kind = "mandatory_" if must else ""
    exclude = settings.text("smtpd_tls_exclude_ciphers")
    if must:
        exclude += " " + settings.text("smtpd_tls_mandatory_exclude_ciphers")
    require = must and _yes(settings.text("smtpd_tls_req_ccert"))
    asks = require or _yes(settings.text("smtpd_tls_ask_ccert"))
    chains = tuple(_words(settings.text("smtpd_tls_chain_files")))
    return ServerSpec(
        pairs=() if chains else tuple(certificate_pairs(settings, "smtpd")),
        chain_files=chains,
        protocols=protocols.parse_protocols(settings.text(f"smtpd_tls_{kind}protocols")),
        # Old clients, and those that look at no certificate, are better off with any TLS than with none.
        cipher_list=postfix_ciphers(settings, settings.text(f"smtpd_tls_{kind}ciphers"), exclude)
        + (":!aNULL" if asks else "") + ":@SECLEVEL=0",
        prefer_server_ciphers=_yes(settings.text("tls_preempt_cipherlist")),
        ca_file=settings.text("smtpd_tls_CAfile"), ca_path=settings.text("smtpd_tls_CApath"),
        ask=asks, require=require, options=Options.of(settings))


def certificate_pairs(settings: "Settings", side: str) -> list[Pair]:
    """Those of SIDE_tls_cert_file, eccert_file and dcert_file. side: smtpd, smtp, lmtp."""
    pairs = []
    for algorithm in ("", "ec", "d"):
        path = _none_is_empty(settings.text(f"{side}_tls_{algorithm}cert_file"))
        if path:
            pairs.append(Pair(path, settings.text(f"{side}_tls_{algorithm}key_file").strip()))
    return pairs


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()
