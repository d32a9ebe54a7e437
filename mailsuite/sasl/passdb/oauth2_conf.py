"""The file that `passdb { driver = oauth2 args = FILE }` names: Dovecot's dovecot-oauth2.conf.ext.

    settings = read_oauth2("/etc/dovecot/dovecot-oauth2.conf.ext")       raises ConfigError

Lines "name = value"; "#" begins a comment.
"""

import os
import ssl
from dataclasses import dataclass, field, fields
from pathlib import Path

from mailsuite.base.errors import ConfigError
from mailsuite.database.http import check_url
from mailsuite.sasl.passdb import split_fields

DEFAULT_TIMEOUT_MS = 10_000      # where timeout_msecs is 0
_DICT = "fs:posix:prefix="
_URLS = ("grant_url", "tokeninfo_url", "introspection_url")
_MODES = ("", "auth", "get", "post", "local")


@dataclass(frozen=True)
class OAuth2Settings:
    """Named as in Dovecot's file.

    keys: the folder of local_validation_key_dict; a key is in the file AZP/ALGORITHM/KID there. scopes: all of them are
    wanted. pass_attrs: fields with %{oauth2:NAME}.
    """

    grant_url: str = ""
    tokeninfo_url: str = ""
    introspection_url: str = ""
    introspection_mode: str = "auth"
    force_introspection: bool = False
    keys: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    scope: str = ""
    issuers: tuple[str, ...] = ()
    username_attribute: str = "email"
    username_format: str = "%Lu"
    active_attribute: str = ""
    active_value: str = ""
    openid_configuration_url: str = ""
    pass_attrs: tuple[tuple[str, str], ...] = ()
    timeout_s: float = DEFAULT_TIMEOUT_MS / 1000
    use_grant_password: bool = False
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    @property
    def scopes(self) -> list[str]:
        return self.scope.split()


_PLAIN = {each.name for each in fields(OAuth2Settings)} - {
    "force_introspection", "keys", "issuers", "pass_attrs", "timeout_s", "tls", "use_grant_password"}
_TLS = ("tls_ca_cert_file", "tls_ca_cert_dir", "tls_cert_file", "tls_key_file", "tls_cipher_suite",
        "tls_allow_invalid_cert")
# Known to Dovecot, of no use here: how its own HTTP client shares connections, and what it writes down.
_UNUSED = "debug max_parallel_connections max_pipelined_requests rawlog_dir send_auth_headers"
_IGNORED = frozenset(_UNUSED.split())


def read_oauth2(path: str) -> OAuth2Settings:
    """What a file says. Raises ConfigError with file and line."""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"passdb oauth2: {path}: {getattr(error, 'strerror', '') or error}") from error
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        name, value = name.strip(), value.strip()
        if not equals:
            raise ConfigError(f"{path}, line {number}: expected name = value")
        if name not in _PLAIN | _IGNORED | {*_TLS, "force_introspection", "local_validation_key_dict", "issuers",
                                           "pass_attrs", "timeout_msecs", "use_grant_password"}:
            raise ConfigError(f"{path}, line {number}: Unknown setting: {name}")
        values[name] = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value
    try:
        return _settings(values, path)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _settings(values: dict[str, str], path: str) -> OAuth2Settings:
    mode = values.get("introspection_mode", "")
    if mode not in _MODES:
        raise ValueError(f"Invalid value '{mode}' for introspection mode, must be on auth, get, post or local")
    keys = values.get("local_validation_key_dict", "")
    if keys and not keys.startswith(_DICT):
        raise ValueError(f"local_validation_key_dict: only {_DICT}FOLDER/ is supported")
    if mode == "local" and not keys:
        raise ValueError("local_validation_key_dict is required for local introspection.")
    for name in _URLS:
        if values.get(name):
            check_url(values[name])
    if not keys and not any(values.get(name) for name in _URLS):
        raise ValueError("Password grant, tokeninfo, introspection URL or validation key dictionary must be given")
    if values.get("active_value") and not values.get("active_attribute"):
        raise ValueError("Cannot have empty active_attribute is active_value is set")
    milliseconds = values.get("timeout_msecs", "0") or "0"
    if not milliseconds.isdecimal():
        raise ValueError("timeout_msecs is not a number")
    plain = {name: value for name, value in values.items() if name in _PLAIN}
    plain["introspection_mode"] = mode or "auth"
    return OAuth2Settings(
        **plain, force_introspection=_flag(values, "force_introspection"),
        use_grant_password=_flag(values, "use_grant_password"),
        keys=keys.removeprefix(_DICT), issuers=tuple(values.get("issuers", "").split()),
        pass_attrs=tuple(split_fields(values.get("pass_attrs", ""))),
        timeout_s=(int(milliseconds) or DEFAULT_TIMEOUT_MS) / 1000, tls=_tls(values))


def _flag(values: dict[str, str], name: str) -> bool:
    return values.get(name, "no").lower() in ("yes", "y", "true", "1")


def _tls(values: dict[str, str]) -> ssl.SSLContext | None:
    """How servers are verified; None: by the system's authorities, made when first needed."""
    if not any(values.get(name) for name in _TLS):
        return None
    try:
        file, folder = values.get("tls_ca_cert_file") or None, values.get("tls_ca_cert_dir") or None
        context = ssl.create_default_context(cafile=file, capath=folder)
        if values.get("tls_cert_file"):
            context.load_cert_chain(values["tls_cert_file"], values.get("tls_key_file") or None)
        if values.get("tls_cipher_suite"):
            context.set_ciphers(values["tls_cipher_suite"])
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"tls_*: {getattr(error, 'strerror', '') or error}") from error
    if _flag(values, "tls_allow_invalid_cert"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def key_path(folder: str, azp: str, algorithm: str, key_id: str) -> str:
    """The file of a key. A "/" in a token's own words must not lead elsewhere."""
    safe = [word.replace("%", "%25").replace("/", "%2f") for word in (azp, algorithm, key_id)]
    if any(word in ("", ".", "..") or "\0" in word for word in safe):
        raise ValueError("bad key name")
    return os.path.join(folder, *safe)
