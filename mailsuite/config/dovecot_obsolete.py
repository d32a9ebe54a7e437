"""Settings of Dovecot 1.x and of 2.0 to 2.2, read as 2.3 reads them: as what they mean now, with a warning.

    meaning("ssl_cert_file", "/x", "") -> Meaning(("ssl_cert_file has been replaced by ssl_cert = <file",),
                                                  (("ssl_cert", "</x"),))
    meaning("mail_location", "maildir:~/Maildir", "") -> None: a setting of today

A setting's place is a name (where it was written), or a path from the root: "/service/auth/user".
`auth NAME { mechanisms = plain; passdb pam { }; socket listen { client { path = ... } } }` is read too: its settings
are those of the root with "auth_" before them (AuthBlock).
Source: doveconf 2.3.19, tried with each of them.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot_node import Node, Value

CLEAN_CONFIG = "NOTE: You can get a new clean config file with: doveconf -Pn > dovecot-new.conf"
BLOCK_WARNING = "add auth_ prefix to all settings inside auth {} and remove the auth {} section completely"
SOCKET = "socket of an auth block"


class Meaning(NamedTuple):
    """warnings: what doveconf says. settings: (place, value)."""

    warnings: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()


_NO_LONGER_NEEDED = ("ssl_dh_parameters_length", "ssl_parameters_regenerate")
_REMOVED = ("dbox_rotate_min_size", "login_dir", "maildir_copy_preserve_filename")
_FILES = {"ssl_cert_file": "ssl_cert", "ssl_key_file": "ssl_key", "ssl_ca_file": "ssl_ca"}
_LOGIN = {"login_executable": "executable", "login_max_processes_count": "process_limit", "login_chroot": "chroot",
          "login_process_per_connection": "service_count", "login_process_size": "vsz_limit",
          "login_processes_count": "process_min_avail", "login_user": "user"}
_MAIL = {"mail_executable": "executable", "mail_process_size": "vsz_limit", "max_mail_processes": "process_limit"}
_AUTH = {"auth_executable": "executable", "auth_process_size": "vsz_limit", "auth_user": "user"}
_PROTOCOLS = {"": ("imap", "managesieve", "pop3"), "imap": ("imap",), "pop3": ("pop3",), "sieve": ("managesieve",)}
_LISTENERS = {"imap": "imap", "pop3": "pop3", "managesieve": "sieve"}
_TLS_VERSIONS = ("SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")


def meaning(name: str, text: str, protocol: str) -> Meaning | None:
    """protocol: of the `protocol NAME { }` that it stands in, else "". Raises ConfigError for a bad value."""
    if name in _NO_LONGER_NEEDED:
        return Meaning((f"{name} is no longer needed",))
    if name in _REMOVED:
        return Meaning((f"{name} has been removed",))
    if name in _FILES:
        return Meaning((f"{name} has been replaced by {_FILES[name]} = <file",), ((_FILES[name], f"<{text}"),))
    if name in _LOGIN:
        return _of_service(name, _LOGIN[name], text, protocol, "-login")
    if name in _MAIL:
        return _of_service(name, _MAIL[name], text, protocol, "")
    if name in _AUTH:
        return Meaning((f"{name} has been replaced by service auth {{ {_AUTH[name]} }}",),
                       ((f"/service/auth/{_AUTH[name]}", _amount(_AUTH[name], text)),))
    read = _OTHERS.get(name)
    return read(text, protocol) if read is not None else None


def _of_service(name: str, key: str, text: str, protocol: str, suffix: str) -> Meaning:
    value = _amount(key, text)
    if key in ("chroot", "service_count"):
        value = {"chroot": ("", "login"), "service_count": ("0", "1")}[key][defaults.boolean(text)]
    services = _PROTOCOLS.get(protocol, ())
    return Meaning((f"{name} has been replaced by service {{ {key} }}",),
                   tuple((f"/service/{service}{suffix}/{key}", value) for service in services))


def _amount(key: str, text: str) -> str:
    return f"{text} M" if key == "vsz_limit" and text.isdecimal() else text


def _protocols(text: str, protocol: str) -> Meaning | None:
    words, warnings, settings = text.split(), [], []
    if "managesieve" in words:
        warnings.append("protocols=managesieve has been renamed to protocols=sieve")
    for secure in ("imaps", "pop3s"):
        plain = secure[:-1]
        if secure in words and plain in words:
            warnings.append(f"'{secure}' protocol is no longer necessary, remove it")
        elif secure in words:
            listener = f"service {plain}-login {{ inet_listener {plain} {{ port=0 }} }}"
            warnings.append(f"'{secure}' protocol can no longer be specified (use protocols={plain}). to disable "
                            f"non-ssl {plain}, use {listener}")
            settings.append((f"/service/{plain}-login/inet_listener/{plain}/port", "0"))
    if not warnings:
        return None
    today = {"managesieve": "sieve", "imaps": "imap", "pop3s": "pop3"}
    new = " ".join(dict.fromkeys(today.get(word, word) for word in words))
    return Meaning(tuple(warnings), (("protocols", new), *settings))


def _ssl_protocols(text: str, protocol: str) -> Meaning:
    """The lowest of the versions that are left. SSLv2 is not known any more: then the default stays."""
    said = "ssl_protocols has been replaced by ssl_min_protocol"
    words = text.split()
    unknown = [word for word in words if word.lstrip("!") not in _TLS_VERSIONS]
    if unknown:
        return Meaning((said, f"Could not find a minimum ssl_min_protocol setting from ssl_protocols = {text}: "
                        f"Unrecognized protocol '{unknown[0].lstrip('!')}'"))
    without = {word[1:] for word in words if word.startswith("!")}
    named = [word for word in words if not word.startswith("!")] or _TLS_VERSIONS
    left = [version for version in _TLS_VERSIONS if version in named and version not in without]
    if not left:
        raise ConfigError(f"Could not find a minimum ssl_min_protocol setting from ssl_protocols = {text}")
    return Meaning((said,), (("ssl_min_protocol", left[0]),))


def _listen(name: str, suffix: str) -> Callable[[str, str], Meaning | None]:
    """listen and ssl_listen of a protocol: HOST:PORT."""
    def read(text: str, protocol: str) -> Meaning | None:
        if not protocol and name == "listen":
            return None                             # a setting of today, too
        host, colon, port = text.rpartition(":")
        warnings = [f"protocol {{ {name} }} has been replaced by service {{ inet_listener {{ address }} }}"]
        if not colon or not port.isdecimal():
            host, port = text, ""
        else:
            warnings.insert(0, f"{name}=..:port has been replaced by service {{ inet_listener {{ port }} }}")
        settings = []
        for service in _PROTOCOLS.get(protocol, ()):
            if suffix and service == "managesieve":
                continue
            where = f"/service/{service}-login/inet_listener/{_LISTENERS[service]}{suffix}"
            settings += [(f"{where}/address", host)] if host else []
            settings += [(f"{where}/port", port)] if port else []
        return Meaning(tuple(warnings), tuple(settings))
    return read


def _workarounds(text: str, protocol: str) -> Meaning | None:
    if "outlook-idle" not in text.split():
        return None
    return Meaning(("imap_client_workarounds=outlook-idle is no longer necessary",),
                   (("imap_client_workarounds", " ".join(word for word in text.split() if word != "outlook-idle")),))


def _cache_size(text: str, protocol: str) -> Meaning | None:
    if not text.isdecimal() or not int(text):
        return None
    return Meaning((f"auth_cache_size value no longer defaults to megabytes. Use {text}M",),
                   (("auth_cache_size", f"{text} M"),))


def _count(text: str, protocol: str) -> Meaning:
    if text != "1":
        raise ConfigError("auth_count has been removed, and its value must be 1")
    return Meaning(("auth_count has been removed, and its value must be 1",))


_OTHERS: Mapping[str, Callable[[str, str], Meaning | None]] = {
    "auth_cache_size": _cache_size,
    "auth_count": _count,
    "dbox_rotate_size": lambda text, _: Meaning(("dbox_rotate_size has been renamed to mdbox_rotate_size",),
                                                (("mdbox_rotate_size", text),)),
    "fsync_disable": lambda text, _: Meaning(("fsync_disable has been renamed to mail_fsync",), (
        ("mail_fsync", "never" if defaults.boolean(text) else "optimized"),)),
    "imap_client_workarounds": _workarounds,
    "listen": _listen("listen", ""),
    "protocols": _protocols,
    "sieve": lambda text, _: Meaning(("sieve has been moved into plugin {} section",), (("/plugin/sieve", text),)),
    "ssl_disable": lambda text, _: Meaning(("ssl_disable has been renamed to ssl",), (
        ("ssl", "no" if defaults.boolean(text) else "yes"),)),
    "ssl_listen": _listen("ssl_listen", "s"),
    "ssl_protocols": _ssl_protocols,
}


def node_at(root: Node, place: str) -> tuple[Node, str]:
    """The section of an absolute place, made where it is missing, and the setting's name."""
    *sections, name = place.strip("/").split("/")
    node = root
    while sections:
        kind = sections.pop(0)
        own = sections.pop(0) if sections and kind not in defaults.FREE else ""
        child = node.child(kind, own)
        if child is None:
            child = Node(kind, own)
            node.nodes.append(child)
        node = child
    return node, name


class AuthBlock:
    """`auth NAME { }` while it is read: the parser has the root on its stack a second time."""

    def __init__(self, root: Node) -> None:
        self._root = root

    def opens(self, stack: list[Node], node: Node) -> bool:
        return node.type == "auth" and len(stack) == 1

    def open(self, stack: list[Node], node: Node, block: str) -> Node | None:
        """The section that a line in the block opens; None for one of today. block: the type of free blocks."""
        parent = stack[-1]
        if parent is self._root and len(stack) > 1 and node.type == "socket":
            return Node(SOCKET, node.name, path=node.path, line=node.line)
        if parent.type == SOCKET and node.type in ("client", "master"):
            listener = Node(block, node.name, path=node.path, line=node.line)
            parent.nodes.append(listener)
            return listener
        if parent is self._root and len(stack) > 1 and node.type in defaults.ADDED_UP and node.name:
            made = Node(node.type, path=node.path, line=node.line)
            made.values["driver"] = Value(node.name, node.name, path=node.path, line=node.line)
            self._root.nodes.append(made)
            return made
        return None

    def close(self, node: Node) -> None:
        """A socket's end: its clients become listeners of service auth. Raises ConfigError."""
        if node.type != SOCKET or node.name != "listen":
            return
        for found in node.nodes:
            path = found.values.pop("path", None)
            if path is None:
                raise ConfigError("socket listen {} is missing path")
            for name, value in found.values.items():
                listener, key = node_at(self._root, f"/service/auth/{name}")
                listener = _listener(listener, path.text)
                if defaults.default_of(key, "unix_listener") is None:
                    raise ConfigError(f"Unknown setting: auth {{ socket {{ {key}")
                listener.values[key] = value
            if not found.values:
                _listener(node_at(self._root, "/service/auth/mode")[0], path.text)

    def name(self, stack: list[Node], key: str) -> str:
        """A setting's name of today: in the block with auth_ before it."""
        inside = stack[-1] is self._root and len(stack) > 1
        return f"auth_{key}" if inside and not re.match(r"auth_|[^/]*/", key) else key


def _listener(service: Node, path: str) -> Node:
    known = service.child("unix_listener", path)
    if known is None:
        known = Node("unix_listener", path)
        service.nodes.append(known)
    return known
