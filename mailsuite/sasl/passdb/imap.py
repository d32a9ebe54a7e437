"""passdb { driver = imap }: another IMAP server says whether a password is right.

args = host=imap.%d [port=143] [username=%n] [ssl=imaps|starttls] [ssl_ca_file=F] [ssl_ca_dir=D]
       [allow_invalid_cert=yes]
"""

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret
from mailsuite.sasl.outside import Asks
from mailsuite.sasl.passdb import Found, NoLookup, PasswordExpired, WrongPassword, split_fields
from mailsuite.sasl.request import AuthRequest

_PORTS = {"no": 143, "starttls": 143, "imaps": 993}
_NAMES = "host port username ssl ssl_ca_dir ssl_ca_file allow_invalid_cert rawlog_dir"     # the last has no effect


class ImapPassdb:
    """Nothing but the password can be asked."""

    driver = "imap"
    checks = True
    looks_up = False

    def __init__(self, args: str, servers: Asks) -> None:
        words = dict(split_fields(args))
        unknown = next((name for name in words if name not in _NAMES.split()), None)
        if unknown is not None:
            raise ConfigError(f"passdb imap: Unknown parameter: {unknown}")
        if not words.get("host"):
            raise ConfigError("passdb imap: Missing host parameter")
        tls = words.get("ssl", "no") or "no"
        if tls not in _PORTS:
            raise ConfigError(f"passdb imap: Invalid ssl mode: {tls} (there are imaps, starttls)")
        port = words.get("port", str(_PORTS[tls]))
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ConfigError(f"passdb imap: Invalid port number: {port}")
        self._host, self._port, self._user = words["host"], int(port), words.get("username", "%u")
        self._servers = servers
        self._spec = {"tls": tls, "ca_file": words.get("ssl_ca_file", ""), "ca_path": words.get("ssl_ca_dir", ""),
                      "any_certificate": words.get("allow_invalid_cert", "no") == "yes"}
        self.cache_key = f"{self._host}\t{self._user}\t%u"

    async def find(self, request: AuthRequest) -> Found | None:
        raise NoLookup("passdb imap cannot look up users")

    async def check(self, request: AuthRequest, password: Secret) -> Found | None:
        answer = await self._servers.ask("imap", self._spec, {
            "host": request.expand(self._host), "port": self._port, "user": request.expand(self._user),
            "password": password.reveal().decode("utf-8", "surrogateescape")})
        if answer["result"] == "expired":
            raise PasswordExpired("Password expired", detail=answer["text"])
        if answer["result"] != "ok":
            raise WrongPassword(f"Password mismatch ({answer['text']})")
        return Found((), "")

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        return None
