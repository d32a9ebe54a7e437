"""Dovecot 2.4's names of settings, read as the ones of 2.3 that they stand for.

    modern = Modern()
    modern.is_group("mail_plugins", "")            `mail_plugins { quota = yes }` and the like: a block of free names
    modern.assign(node, "ssl_server_cert_file", value) -> [("ssl_cert", Value)]; None: it is no name of 2.4
    modern.finish(root)                            what is put together of several settings, after the last line

Names of both are read in any configuration. dovecot_config_version = 2.4.x says that %-variables are 2.4's
(%{user | username}), that a passdb's or userdb's name is its driver when it has none, and that IMAP may offer more
than 2.3 has (imap_extensions = all).
Source: the manual of Dovecot 2.4 (settings, variables, upgrading from 2.3). docs/dovecot-2.4.md lists them.
Raises ConfigError for what has no counterpart here.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot_24_names import (
    BLOCKS,
    FILES,
    INVERTED,
    LISTS,
    LOCATION,
    PAM,
    PLUGIN_PREFIXES,
    RENAMED,
    RENAMED_IN,
    VARIABLES,
)
from mailsuite.config.dovecot_node import Node, Value

FREE_BLOCK = "2.4 block"        # the type of a block of free names while it is read
DATABASE_WORDS = ("default_password_scheme", "auth_username_format", "passwd_file_path", "static_password", "password")
_VERSION = re.compile(r"2\.(3|4)(\.\d+)*(-\d+)?")


class Modern:
    """State of one configuration. deferred: settings that only together mean something in 2.3, by section."""

    def __init__(self) -> None:
        self.version = ""
        self._deferred: dict[int, tuple[Node, dict[str, Value]]] = {}
        self._blocks: list[tuple[Node, Node, str]] = []         # where, the block, what it is called
        self._unindexed: list[tuple[Node, Value]] = []          # mailbox NAME { fts_autoindex = no }

    @property
    def rules(self) -> bool:
        """Whether the configuration says that it is of 2.4."""
        return self.version.startswith("2.4")

    # --- while lines are read -----------------------------------------------------------------------------------------

    def open_block(self, parent: Node, node: Node) -> Node | None:
        """A block that 2.3 does not have, to be read with free names; None for any other."""
        section = "" if parent.type in defaults.FILTERS else parent.type
        known = (not section and (node.type in LISTS or node.type in BLOCKS)
                 or section in ("passdb", "userdb") and node.type == "fields")
        if not known or (not section and node.type in defaults.NESTED[""]):
            return None
        block = Node(FREE_BLOCK, node.name, path=node.path, line=node.line)
        self._blocks.append((parent, block, node.type))
        return block

    def assign(self, node: Node, name: str, value: Value) -> list[tuple[str, Value]] | None:
        """The settings of 2.3 that a setting of 2.4 stands for, maybe none yet; None: it is no name of 2.4."""
        section = "" if node.type in defaults.FILTERS else node.type
        if name in ("dovecot_config_version", "dovecot_storage_version") and not section:
            return self._set_version(name, value)
        if section and name.startswith(f"{section}_"):
            short = name.removeprefix(f"{section}_")
            if short in defaults.SECTIONS.get(section, {}):
                return [(short, value)]
            name = short if (section, short) in RENAMED_IN else name
        if (section, name) in RENAMED_IN:
            return [(RENAMED_IN[section, name], value)]
        if section in ("passdb", "userdb"):
            return self._of_database(node, name, value)
        if (section, name) == ("mailbox", "fts_autoindex"):
            if not defaults.boolean(value.text):
                self._unindexed.append((node, value))
            return []
        if section not in ("", "namespace"):
            return None
        if name in LOCATION:
            return self._defer(node, name, value)
        return None if section else self._of_root(name, value)

    def _of_root(self, name: str, value: Value) -> list[tuple[str, Value]] | None:
        if name in FILES:
            return [(FILES[name], replace(value, written=f"<{value.text}", file=value.text, text=""))]
        if name == "auth_allow_weak_schemes":
            defaults.boolean(value.text)
            return []                   # every scheme is verified, as in 2.3
        if name in INVERTED:
            text = "no" if defaults.boolean(value.text) else "yes"
            return [(INVERTED[name], replace(value, text=text, written=text))]
        if name == "ssl_server_prefer_ciphers":
            text = "yes" if value.text == "server" else "no"
            return [("ssl_prefer_server_ciphers", replace(value, text=text, written=text))]
        return [(RENAMED[name], value)] if name in RENAMED else None

    def _set_version(self, name: str, value: Value) -> list[tuple[str, Value]]:
        if _VERSION.fullmatch(value.text) is None:
            raise ConfigError(f"{name}: {value.text} is not supported: 2.3 and 2.4 are")
        if name == "dovecot_config_version":
            self.version = value.text
        return []

    def _of_database(self, node: Node, name: str, value: Value) -> list[tuple[str, Value]] | None:
        short = name.removeprefix(f"{node.type}_")
        if short in DATABASE_WORDS or short in PAM:
            return self._defer(node, short, value)
        if short.startswith(("sql_", "ldap_", "lua_", "oauth2_")) or short in ("query", "iterate_query"):
            raise ConfigError(f"{name}: 2.4's way to write this here is not read; put it into a file as for 2.3, and "
                              "name that in args")
        return None

    def _defer(self, node: Node, name: str, value: Value) -> list[tuple[str, Value]]:
        self._deferred.setdefault(id(node), (node, {}))[1][name] = value
        return []

    def variables(self, value: Value, name: str) -> Value:
        """%{user | username} as 2.3 writes it, in a configuration of 2.4."""
        if not self.rules or "%{" not in value.text or value.file:
            return value
        text = to_23(value.text, letters=name == "pop3_uidl_format")
        return replace(value, text=text, written=text)

    # --- after the last line ------------------------------------------------------------------------------------------

    def finish(self, root: Node) -> None:
        """Put together what was deferred. Raises ConfigError."""
        for node, settings in self._deferred.values():
            if node.type in ("passdb", "userdb"):
                _database(node, settings)
            else:
                _location(node, settings, {} if node is root else self._deferred.get(id(root), (root, {}))[1])
        for parent, block, kind in self._blocks:
            if kind == "fields":
                _fields(parent, block)
            elif kind in LISTS:
                _list(root, parent, block, kind)
            else:
                _plugin_block(root, block, kind)
        for count, (node, value) in enumerate(self._unindexed):
            _set(_plugin(root), f"fts_autoindex_exclude{count + 1 if count else ''}", node.name, value)
        for node in root.nodes:
            if node.type in ("passdb", "userdb") and "driver" not in node.values and node.name in DRIVERS:
                node.values["driver"] = Value(node.name, node.name, path=node.path, line=node.line)
        if self.rules and "imap_extensions" not in root.values:
            root.values["imap_extensions"] = Value("all", "all")


DRIVERS = frozenset({"passwd-file", "passwd", "pam", "shadow", "static", "prefetch", "imap", "checkpassword", "sql",
                     "ldap", "oauth2"})


def is_plugin_setting(name: str) -> bool:
    """What 2.4 has among the ordinary settings and 2.3 in plugin { }."""
    return name.startswith(PLUGIN_PREFIXES) and name not in defaults.ROOT


def _set(node: Node, name: str, text: str, like: Value) -> None:
    node.values[name] = Value(text, text, path=like.path, line=like.line)


def _database(node: Node, settings: Mapping[str, Value]) -> None:
    """args of passdb and userdb."""
    first = next(iter(settings.values()))
    words = []
    if (scheme := settings.get("default_password_scheme")) is not None:
        words.append(f"scheme={scheme.text}")
    if (form := settings.get("auth_username_format")) is not None:
        words.append(f"username_format={form.text}")
    if (path := settings.get("passwd_file_path")) is not None:
        words.append(path.text)
    for name in ("static_password", "password"):
        if name in settings:
            words.append(f"password={settings[name].text}")
    for name, word in PAM.items():
        if name in settings:
            words.append(word if word and not word.endswith("=") else word + settings[name].text)
    old = node.values.get("args")
    _set(node, "args", " ".join([*([old.text] if old else []), *words]), first)


def _location(node: Node, settings: Mapping[str, Value], above: Mapping[str, Value]) -> None:
    """mail_driver, mail_path and the like as mail_location, or a namespace's location; above: what the root says."""
    first = next(iter(settings.values()))
    parts = {name: value.text for name, value in {**above, **settings}.items()}
    driver, path = parts.pop("mail_driver", ""), parts.pop("mail_path", "")
    if not driver and not path:
        return
    text = f"{driver or 'maildir'}:{path}"
    for name, key in LOCATION.items():
        if key and parts.get(name):
            text += f":{key}={parts[name]}"
    _set(node, "location" if node.type == "namespace" else "mail_location", text, first)


def _fields(parent: Node, block: Node) -> None:
    """fields { uid = vmail } of a passdb or userdb: the static driver's args, else what overrides."""
    words = [f"{name}={value.text}" for name, value in block.values.items()]
    like = next(iter(block.values.values()), Value(""))
    static = parent.values.get("driver", Value(parent.name)).text == "static"
    name = "args" if static else "override_fields"
    old = parent.values.get(name)
    _set(parent, name, " ".join([*([old.text] if old and old.text else []), *words]), like)


def _list(root: Node, parent: Node, block: Node, name: str) -> None:
    """mail_plugins { quota = yes }: words; in a filter they are added to those of the whole."""
    said = {key: defaults.boolean(value.text) for key, value in block.values.items()}
    old = parent.values.get(name) or (root.values.get(name) if parent is not root else None)
    words = [word for word in (old.text.split() if old else ()) if said.get(word, True)]
    words += [key for key, on in said.items() if on and key not in words]
    _set(parent, name, " ".join(words), next(iter(block.values.values()), Value("")))


def _plugin(root: Node) -> Node:
    """plugin { }, made when there is none."""
    plugin = root.child("plugin", "")
    if plugin is None:
        plugin = Node("plugin")
        root.nodes.append(plugin)
    return plugin


def _plugin_block(root: Node, block: Node, kind: str) -> None:
    """quota NAME { } and sieve_script NAME { } as settings of plugin { }."""
    plugin = _plugin(root)
    for name, text in BLOCKS[kind](block.name, {key: value.text for key, value in block.values.items()}, plugin.values):
        _set(plugin, name, text, next(iter(block.values.values()), Value("")))


# --- variables ----------------------------------------------------------------------------------------------------

_EXPRESSION = re.compile(r"%\{([^{}]*)\}")
_FILTER = re.compile(r"\s*([a-z0-9_]+)\s*(?:\(\s*([^()]*?)\s*\))?\s*")


def to_23(text: str, *, letters: bool = False) -> str:
    """%{user | username | lower} -> %L{username}. letters: pop3_uidl_format's, which 2.3 has one letter for."""
    return _EXPRESSION.sub(lambda match: _expression(match[1], letters), text)


def _expression(body: str, letters: bool) -> str:
    name, *filters = body.split("|")
    name = VARIABLES.get(name.strip(), name.strip())
    modifiers, width, function = "", "", ""
    for each in filters:
        match = _FILTER.fullmatch(each)
        if match is None:
            raise ConfigError(f"%{{{body}}}: cannot be understood")
        kind, argument = match[1], (match[2] or "").replace("'", "").replace('"', "")
        if name == "user" and kind in ("username", "domain"):
            name = kind
        elif kind in ("lower", "upper", "reverse"):
            modifiers += {"lower": "L", "upper": "U", "reverse": "R"}[kind]
        elif kind == "hex" and argument.isdecimal():
            modifiers, width = modifiers + "X", f"0{argument}"
        elif kind == "hex" and not argument and function:
            continue                                    # digests come as hexadecimal digits
        elif kind in ("md5", "sha1", "sha256", "sha384", "sha512") and not modifiers:
            function = f"{kind}:"
        elif kind in ("substr", "truncate") and re.fullmatch(r"(\d+\s*,\s*)?\d+", argument):
            start, comma, length = argument.replace(" ", "").rpartition(",")
            width = f"{start}.{length}" if comma else length
        else:
            raise ConfigError(f"%{{{body}}}: the filter {kind} is not read here")
    if letters and name in _UIDL:
        return f"%{width}{modifiers}{_UIDL[name]}"
    return f"%{width}{modifiers}{{{function}{name}}}"


_UIDL = {"uid": "u", "uidvalidity": "v", "guid": "g", "md5": "m", "filename": "f"}
