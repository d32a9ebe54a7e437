"""Which code stands behind the command names of master.cf and the services of dovecot.conf."""

from dataclasses import dataclass
from enum import Enum


class Reload(Enum):
    """REPLACE: new processes accept, old ones finish their connections. TELL: the process takes new settings."""

    REPLACE = "replace"
    TELL = "tell"


class Cores(Enum):
    """Where processes run, see affinity.py. ONE_EACH: each on a core of its own. UPPER: all on the upper half."""

    ANY = "any"
    ONE_EACH = "one each"
    UPPER = "upper"


@dataclass(frozen=True)
class ServiceKind:
    """entry: "module:function". root: keeps root's rights when the suite has them. eager: started without a request.

    spread: several processes share the listening sockets, by the number of cores. preload: what is imported before
    rights are dropped, besides the entry's own package.
    """

    entry: str
    reload: Reload = Reload.TELL
    root: bool = False
    eager: bool = False
    spread: bool = False
    preload: tuple[str, ...] = ()
    cores: Cores = Cores.ANY


_MAIL = ("mailsuite.queue", "mailsuite.rewrite", "mailsuite.maps", "mailsuite.database", "mailsuite.address",
         "mailsuite.net")
_SIGN = ("mailsuite.auth_results", "mailsuite.dns")
_DNS = ("mailsuite.dns", "dns.asyncresolver", "dns.rdtypes.ANY", "dns.rdtypes.IN")
_CHAINS = ("OpenSSL.crypto", "cryptography.x509", "cryptography.hazmat.primitives.serialization",
           "cryptography.hazmat.primitives.asymmetric.rsa", "cryptography.hazmat.primitives.asymmetric.ed448")
_STORE = ("mailsuite.store", "mailsuite.message", "mailsuite.sasl")

# Command names of master.cf, in the place of the programs in daemon_directory.
COMMANDS: dict[str, ServiceKind] = {
    "smtpd": ServiceKind("mailsuite.smtp.server:serve", Reload.REPLACE, eager=True, spread=True,
                         preload=(*_MAIL, *_DNS, *_SIGN, "mailsuite.anvil", "mailsuite.smtp", "mailsuite.sasl",
                                  "mailsuite.tls"), cores=Cores.ONE_EACH),
    "pickup": ServiceKind("mailsuite.queue.pickup_server:serve", eager=True, preload=(*_MAIL, *_SIGN)),
    "qmgr": ServiceKind("mailsuite.queue.server:serve", eager=True, preload=(*_MAIL, *_SIGN), cores=Cores.UPPER),
    "showq": ServiceKind("mailsuite.queue.showq_server:serve", preload=_MAIL),
    "smtp": ServiceKind("mailsuite.deliver.smtp:serve",
                        preload=(*_MAIL, *_DNS, *_CHAINS, "mailsuite.deliver", "mailsuite.smtp", "mailsuite.tls")),
    "lmtp": ServiceKind("mailsuite.deliver.smtp:serve",
                        preload=(*_MAIL, *_DNS, *_CHAINS, "mailsuite.deliver", "mailsuite.smtp", "mailsuite.tls")),
    "error": ServiceKind("mailsuite.deliver.error:serve", preload=(*_MAIL, "mailsuite.deliver")),
    "discard": ServiceKind("mailsuite.deliver.discard:serve", preload=(*_MAIL, "mailsuite.deliver")),
    "local": ServiceKind("mailsuite.deliver.local:serve", root=True,
                         preload=(*_MAIL, *_SIGN, "mailsuite.deliver", "mailsuite.store.maildir_delivery")),
    "virtual": ServiceKind("mailsuite.deliver.virtual:serve", root=True,
                           preload=(*_MAIL, "mailsuite.deliver", "mailsuite.store.maildir_delivery"),
                           cores=Cores.UPPER),
    "pipe": ServiceKind("mailsuite.deliver.pipe:serve", root=True, preload=(*_MAIL, "mailsuite.deliver")),
    "spawn": ServiceKind("mailsuite.deliver.spawn:serve", root=True, preload=(*_MAIL, "mailsuite.deliver")),
    "postscreen": ServiceKind("mailsuite.postscreen.server:serve", Reload.REPLACE, eager=True,
                              preload=(*_MAIL, *_DNS, "mailsuite.postscreen", "mailsuite.smtp", "mailsuite.tls")),
    "anvil": ServiceKind("mailsuite.anvil.server:serve", preload=("mailsuite.anvil", "mailsuite.net")),
    "verify": ServiceKind("mailsuite.verify.server:serve", preload=(*_MAIL, "mailsuite.verify")),
    "postlogd": ServiceKind("mailsuite.master.postlogd:serve", eager=True),
}

# Programs that are function calls here; their lines in master.cf are read for their -o overrides.
LIBRARY = frozenset({"cleanup", "trivial-rewrite", "bounce", "flush", "proxymap", "tlsmgr", "scache", "dnsblog",
                     "tlsproxy"})

# Commands that a line of type `pass` may name.
PASSABLE = frozenset({"smtpd"})

# Programs of Postfix that are not there yet; a line that names one is refused.
MISSING = frozenset({"qmqpd", "oqmgr", "nqmgr"})

# Services of dovecot.conf. `access` is ours: the parent of the users' workers.
ACCESS: dict[str, ServiceKind] = {
    "auth": ServiceKind("mailsuite.sasl.server:serve", root=True, eager=True,
                        preload=("mailsuite.sasl", "mailsuite.net")),
    "access": ServiceKind("mailsuite.access.server:serve", root=True, eager=True,
                          preload=("mailsuite.access", "mailsuite.imap", "mailsuite.managesieve",
                                   "mailsuite.pop3", *_STORE, "mailsuite.net")),
    "imap-login": ServiceKind("mailsuite.access.login_server:serve_imap", Reload.REPLACE, eager=True, spread=True,
                              preload=("mailsuite.access", "mailsuite.sasl", "mailsuite.tls", "mailsuite.net")),
    "pop3-login": ServiceKind("mailsuite.access.login_server:serve_pop3", Reload.REPLACE, eager=True, spread=True,
                              preload=("mailsuite.access", "mailsuite.sasl", "mailsuite.tls", "mailsuite.net")),
    "managesieve-login": ServiceKind("mailsuite.access.login_server:serve_sieve", Reload.REPLACE, eager=True,
                                     spread=True, preload=("mailsuite.access", "mailsuite.sasl", "mailsuite.tls",
                                                           "mailsuite.net")),
    "quota-status": ServiceKind("mailsuite.access.quota_status:serve", Reload.REPLACE,
                                preload=("mailsuite.access", "mailsuite.smtp", "mailsuite.sasl", "mailsuite.net")),
    "script": ServiceKind("mailsuite.access.script_service:serve", Reload.REPLACE, preload=("mailsuite.access",)),
    "lmtp": ServiceKind("mailsuite.access.lmtp_server:serve", Reload.REPLACE, eager=True, spread=True,
                        preload=("mailsuite.access", "mailsuite.smtp", "mailsuite.sasl", "mailsuite.tls",
                                 "mailsuite.net")),
}
