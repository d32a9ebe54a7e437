"""One authentication or lookup under way: who asks, from where, and what is known so far."""

import ipaddress
from collections.abc import Mapping

from msgspec import Struct, field

from mailsuite.base.secret import Secret
from mailsuite.config.variables import expand_variables, of_user, user_variables

HIDDEN = frozenset({"allow_nets", "allow_real_nets", "nopassword", "password", "password_noscheme", "delay_until",
                    "fail", "login_user", "user", "username", "domain", "noauthenticate"})


class AuthRequest(Struct, eq=False):
    """user: as it stands now (translated, formatted, perhaps replaced by a passdb). original_user: as it came.

    facts: the words of the request (rip, lip, session, secured...). fields: the passdb's extra fields for the client;
    userdb_fields: those for the user database. master_user: who logs in, when he logs in as another.
    """

    service: str
    facts: Mapping[str, str] = field(default_factory=dict)
    mechanism: str = ""
    user: str = ""
    original_user: str | None = None
    wanted_user: str = ""            # as whom a master user logs in
    master_user: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    userdb_fields: dict[str, str] = field(default_factory=dict)
    passdb_success: bool = False
    no_password: bool = False
    password: Secret | None = None   # what the peer claims, while databases are asked: %w
    wanted_scheme: str = ""          # in which a mechanism wants the password
    failed: bool = False             # a field said no (allow_nets, fail): this database's answer does not count
    delay_until: float = 0.0         # no answer before this time (time.time)
    prefetched: bool = False         # a passdb brought userdb fields, if only NULLs
    bad_name: bool = False           # the name that came is none that may exist
    from_cache: tuple[tuple[str, int, bytes], ...] = ()          # which answers the cache gave
    oauth_hints: dict[str, str] = field(default_factory=dict)    # what a client with a bad token is told (RFC 7628)

    @property
    def remote(self) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
        return address(self.facts.get("rip", ""))

    @property
    def who(self) -> str:
        """"alice,192.0.2.9,<session>", as Dovecot's log lines have it."""
        parts = [self.user or "?"]
        if self.facts.get("rip"):
            parts.append(self.facts["rip"])
        if self.wanted_user:
            parts.append("master")
        if self.facts.get("session"):
            parts.append(f"<{self.facts['session']}>")
        return ",".join(parts)

    def variables(self) -> dict[str, str]:
        facts = self.facts
        names = {"lport": "lport", "rport": "rport", "mechanism": "mech", "secured": "secured"}
        extra = {name: facts.get(key, "") for key, name in names.items() if key in facts}
        extra["mech"] = self.mechanism
        login = self.wanted_user or self.user
        extra |= {"orig_user": self.original_user or self.user, "login_user": login, "auth_user": self.user,
                  "master_user": self.master_user}
        extra["password"] = "" if self.password is None else self.password.reveal().decode("utf-8", "surrogateescape")
        extra |= {f"userdb:{key}": value for key, value in self.userdb_fields.items()}
        extra |= {f"passdb:{key}": value for key, value in self.fields.items()}
        return user_variables(self.user, service=self.service, local_ip=facts.get("lip", ""),
                              remote_ip=facts.get("rip", ""), session=facts.get("session", ""), extra=extra)

    def expand(self, text: str) -> str:
        """text with its %-variables replaced."""
        if "%" not in text:
            return text
        value = of_user(text)
        return expand_variables(text, self.variables()) if value is None else value(self.user)

    def client_fields(self) -> dict[str, str]:
        """The fields that a client is told."""
        return {key: value for key, value in self.fields.items() if key not in HIDDEN}


def address(text: str) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def is_network(word: str) -> bool:
    """Whether in_networks can make something of one of its words."""
    return word == "local" or _network(word) is not None


def _network(word: str) -> "ipaddress.IPv4Network | ipaddress.IPv6Network | None":
    try:
        return ipaddress.ip_network(word, strict=False)
    except ValueError:
        return None


def in_networks(where: "ipaddress.IPv4Address | ipaddress.IPv6Address | None", networks: str) -> bool:
    """allow_nets: addresses and networks between commas or blanks; "local": a request without address (a Unix socket).

    An IPv4 address in IPv6's clothes (::ffff:192.0.2.9) counts as what it is.
    """
    if isinstance(where, ipaddress.IPv6Address) and where.ipv4_mapped is not None:
        where = where.ipv4_mapped
    for word in networks.replace(",", " ").split():
        if word == "local":
            if where is None:
                return True
        elif where is not None and (network := _network(word)) is not None and where.version == network.version and (
                where in network):
            return True
    return False
