"""Where an account on another IMAP server is, and how to get in.

    account = Account.of(settings, {"imapc_host": "imap.example.org"})      from dovecot.conf, with overrides
    account.described() -> "alice@imap.example.org:993"                     for logs; never the password

Parameters (dovecot.conf): imapc_host, imapc_port, imapc_user, imapc_master_user, imapc_password, imapc_ssl,
imapc_ssl_verify, imapc_sasl_mechanisms, imapc_features, imapc_list_prefix, imapc_cmd_timeout,
imapc_connection_retry_count, imapc_connection_retry_interval, imapc_max_line_length, ssl_client_ca_file,
ssl_client_ca_dir.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mailsuite.base.errors import ConfigError

MAX_LINE = 4 << 20              # of a response without its literals, where imapc_max_line_length is not set
MAX_LITERAL = 1 << 20           # of anything but a message
MAX_MESSAGE = 1 << 30
CONNECT_S = 30.0


class Settings(Protocol):
    """What is used of config.dovecot.DovecotSettings."""

    def text(self, name: str) -> str: ...
    def flag(self, name: str) -> bool: ...
    def number(self, name: str) -> int: ...
    def time_s(self, name: str) -> float: ...
    def size(self, name: str) -> int: ...
    def words(self, name: str) -> list[str]: ...


@dataclass(frozen=True)
class Account:
    """Times in seconds. tls: "no", "imaps" or "starttls". mechanisms: in the order to try; none: what fits.

    user: whose mail; master_user: whose password, where that is another's. retries: how often a lost connection is
    made anew without any progress in between.
    """

    host: str
    port: int = 143
    user: str = ""
    password: str = field(default="", repr=False)
    master_user: str = ""
    tls: str = "no"
    verify: bool = True
    ca_file: str = ""
    ca_dir: str = ""
    mechanisms: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    list_prefix: str = ""
    timeout_s: float = 300.0
    connect_s: float = CONNECT_S
    retries: int = 1
    retry_s: float = 1.0
    max_line: int = MAX_LINE
    max_literal: int = MAX_LITERAL
    max_message: int = MAX_MESSAGE

    @classmethod
    def of(cls, settings: Settings, *, user: str = "") -> "Account":
        """As the configuration says. user: who it is when imapc_user is not set. Raises ConfigError."""
        host = settings.text("imapc_host")
        if not host:
            raise ConfigError("missing imapc_host")
        line = settings.size("imapc_max_line_length")
        return cls(
            host=host, port=settings.number("imapc_port"), user=settings.text("imapc_user") or user,
            password=settings.text("imapc_password"), master_user=settings.text("imapc_master_user"),
            tls=settings.text("imapc_ssl"), verify=settings.flag("imapc_ssl_verify"),
            ca_file=settings.text("ssl_client_ca_file"), ca_dir=settings.text("ssl_client_ca_dir"),
            mechanisms=tuple(word.upper() for word in settings.words("imapc_sasl_mechanisms")),
            features=frozenset(settings.words("imapc_features")), list_prefix=settings.text("imapc_list_prefix"),
            timeout_s=settings.time_s("imapc_cmd_timeout"),
            retries=settings.number("imapc_connection_retry_count"),
            retry_s=settings.time_s("imapc_connection_retry_interval"), max_line=line or MAX_LINE)

    def described(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


def lacking(account: Account) -> str:
    """What is missing before one can log in; "" when nothing is."""
    needed: Mapping[str, str] = {"imapc_user": account.user, "imapc_password": account.password}
    return ", ".join(name for name, value in needed.items() if not value)
