"""dovecot.conf as typed values.

    conf = DovecotSettings.load("/etc/dovecot/dovecot.conf")        raises ConfigErrors, all with file and line
    conf.text("mail_location")   conf.flag("ssl")   conf.number("first_valid_uid")   conf.time_s("auth_failure_delay")
    for passdb in conf.sections("passdb"): passdb.text("driver"), passdb.text("args")
    conf.section("service", "auth").sections("unix_listener")       default listeners included
    imap = conf.for_protocol("imap")                                 protocol imap { } laid over
    here = imap.for_connection(local_ip="192.0.2.1", remote_ip="192.0.2.9", local_name="mx.test")

%-variables in values are left alone (`variables.expand_variables`); $name of earlier settings and `<file` values are
resolved: `.text("ssl_cert")` is the file's content (read when asked, so the configuration loads without the right
to read keys), `.file("ssl_cert")` its path.
A DovecotSettings is immutable, can be pickled, and goes to children as JSON with to_json()/from_json().
"""

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from mailsuite.base.errors import Bug, ConfigError, ConfigErrors
from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot_filter import laid_over, overlays
from mailsuite.config.dovecot_syntax import Node, Parsed, Value, parse
from mailsuite.config.variables import variable_letters

PROTOCOLS = frozenset({"imap", "pop3", "lmtp", "submission", "sieve", "none"})


class Section:
    """A section such as `service auth { }` or the root: settings of known names, with defaults, and sections in it."""

    def __init__(self, node: Node, root: "DovecotSettings | None" = None,
                 base: Mapping[str, str] | None = None) -> None:
        self.type, self.name = node.type, node.name
        self.node = node
        self._root = root
        self._base = base or {}
        self._texts: dict[str, str] = {}
        self._words: dict[str, list[str]] = {}
        self._sections: dict[str, list[Section]] = {}

    def default(self, name: str) -> str:
        """What holds without configuration. Raises Bug for a name that the section type does not have."""
        if (own := self._base.get(name)) is not None:
            return own
        default = defaults.default_of(name, self.type)
        if default is None:
            if self.type in defaults.FREE:
                return ""
            raise Bug(f"dovecot.conf has no setting {self.type}/{name}")
        return default

    def text(self, name: str) -> str:
        """The value, or its default; `<file` gives the content. Raises ConfigError (file), Bug (unknown name)."""
        if (known := self._texts.get(name)) is not None:
            return known
        value = self.node.values.get(name)
        if value is None and name == defaults.NAMING.get(self.type, "name"):
            return self.name
        if value is not None and value.file:
            text = _file_content(name, value)
        else:
            text = value.text if value is not None else self._resolved(self.default(name))
        self._texts[name] = text
        return text

    def _resolved(self, default: str) -> str:
        """A default such as $default_internal_user."""
        if default.startswith("$") and self._root is not None:
            return self._root.text(default[1:])
        return default

    def is_set(self, name: str) -> bool:
        """Whether the configuration gives it, i.e. the default is not in force."""
        return name in self.node.values

    def where(self, name: str) -> str:
        """"FILE line N" of a setting that the configuration gives, else ""."""
        value = self.node.values.get(name)
        return f"{value.path} line {value.line}" if value is not None and value.path else ""

    def file(self, name: str) -> str:
        """The path of a `<file` value, "" when the value is not of that form."""
        value = self.node.values.get(name)
        return value.file if value is not None else ""

    def flag(self, name: str) -> bool:
        """A yes/no value; of a choice such as ssl = no/yes/required, whether it is not "no"."""
        if defaults.choices(name, self.type):
            return self.text(name) != "no"
        return defaults.boolean(self.text(name))

    def number(self, name: str) -> int:
        """A whole number; octal for `mode`."""
        return defaults.number(self.text(name), octal=defaults.kind_of(name, self.type) == "octal")

    def time_s(self, name: str) -> float:
        """A time in seconds; "2 mins" -> 120.0. The largest that Dovecot knows gives math.inf."""
        return defaults.time_s(self.text(name))

    def size(self, name: str) -> int:
        """Octets; "256 M" -> 268435456. No limit is 2**64 - 1."""
        return defaults.size_octets(self.text(name))

    def words(self, name: str) -> list[str]:
        """Split at blanks and commas."""
        known = self._words.get(name)
        if known is None:
            known = self._words[name] = [word for word in re.split(r"[\s,]+", self.text(name)) if word]
        return list(known)

    def sections(self, type: str) -> "list[Section]":
        """All sections of a type, in order: defaults merged in by name."""
        found = self._sections.get(type)
        if found is None:
            found = self._sections[type] = self._find_sections(type)
        return list(found)

    def _find_sections(self, type: str) -> "list[Section]":
        known: Mapping[str, Mapping[str, str]] = {}
        if type == "service" and not self.type:
            known = {name: values for name, (values, _) in defaults.services().items()}
        elif self.type == "service" and self.name in defaults.services():
            listeners = defaults.services()[self.name][1]
            known = {name: values for (kind, name), values in listeners.items() if kind == type}
        written = [node for node in self.node.nodes if node.type == type]
        names = {node.name for node in written}
        root = self._root or cast(DovecotSettings, self)
        return [Section(node, root, known.get(node.name)) for node in [
            *written, *(Node(type, name) for name in known if name not in names)]]

    def section(self, type: str, name: str = "") -> "Section | None":
        """The section of that type and name; None when there is none."""
        return next((section for section in self.sections(type) if section.name == name), None)

    def mapping(self) -> dict[str, str]:
        """All settings by name (for `plugin { }`: every key that is set)."""
        names = self.node.values if self.type in defaults.FREE else [
            *(defaults.SECTIONS[self.type] if self.type else defaults.ROOT)]
        return {name: self.text(name) for name in names}


def _file_content(name: str, value: Value) -> str:
    if value.content is not None:
        return value.content
    try:
        return Path(value.file).read_text("utf-8", "surrogateescape")
    except OSError as err:
        raise ConfigError(f"Error in configuration file {value.path} line {value.line}: {name}: "
                          f"Can't open file {value.file}: {err.strerror}") from err


class DovecotSettings(Section):
    """The whole configuration."""

    def __init__(self, root: Node, path: str, warnings: tuple[str, ...] = ()) -> None:
        super().__init__(root)
        self.path, self.warnings = path, warnings
        self._layers: dict[tuple[tuple[str, str], ...], DovecotSettings] = {}
        self._protocols: dict[str, DovecotSettings] = {}        # what each login asks for
        self._facts: dict[str, str] = {}
        # What for_protocol was asked for, "" on the whole configuration; %s in mail_location.
        self.protocol = ""
        self._plain: Node = root
        # Trees by the filters in force, shared by all layers: as many as the file makes, however many clients come.
        self._trees: dict[tuple[int, ...], Node] = {}

    @classmethod
    def load(cls, path: str) -> "DovecotSettings":
        """Read the file and what it includes. Raises ConfigErrors."""
        try:
            parsed = read(path)
        except ConfigError as err:
            raise ConfigErrors([err]) from err
        return cls._checked(parsed, path)

    @classmethod
    def of(cls, text: str, path: str = "/etc/dovecot/dovecot.conf") -> "DovecotSettings":
        """From the text of a dovecot.conf, for tests. Raises ConfigErrors."""
        return cls._checked(parse(text, path, _read), path)

    @classmethod
    def _checked(cls, parsed: Parsed, path: str) -> "DovecotSettings":
        settings = cls(parsed.root, path, tuple(parsed.warnings))
        if errors := [*parsed.errors, *settings.contradictions()]:
            raise ConfigErrors(errors)
        return settings

    def contradictions(self) -> list[ConfigError]:
        """What is wrong with settings that are each well-formed."""
        texts = [f"protocols: Unknown protocol: {protocol}" for protocol in self.words("protocols")
                 if protocol not in PROTOCOLS]
        texts += [f"{kind} is missing driver" for kind in sorted(defaults.ADDED_UP)
                  for section in self.sections(kind) if not section.text("driver")]
        texts += [f"Namespace '{namespace.text('prefix')}': Hierarchy separator must be only one character long"
                  for namespace in self.sections("namespace") if len(namespace.text("separator")) > 1]
        if not self.words("listen"):
            texts.append("listen can't be set empty")
        if any(section.flag("pass") and section.text("result_success") != "return-ok"
               for section in self.sections("passdb")):
            texts.append("Obsolete pass=yes setting mixed with non-default result_success")
        if self.text("pop3_delete_type") == "flag" and not self.text("pop3_deleted_flag"):
            texts.append("pop3_delete_type=flag, but pop3_deleted_flag not set")
        texts += _uidl_format_problem(self.text("pop3_uidl_format"))
        return [ConfigError(f"Error in configuration file {self.path}: {text}") for text in texts]

    @property
    def plugin(self) -> dict[str, str]:
        """What `plugin { }` sets."""
        section = self.section("plugin")
        return section.mapping() if section is not None else {}

    def for_protocol(self, protocol: str) -> "DovecotSettings":
        """With `protocol NAME { }` laid over. protocol: imap, pop3, lmtp, lda, doveadm, sieve..."""
        found = self._protocols.get(protocol)
        if found is None:
            found = self._protocols[protocol] = self._layer(protocol=protocol)
        return found

    def for_connection(self, *, local_ip: str = "", remote_ip: str = "", local_name: str = "") -> "DovecotSettings":
        """With the matching `local`, `remote` and `local_name` sections laid over."""
        return self._layer(local=local_ip, remote=remote_ip, local_name=local_name)

    def _layer(self, **facts: str) -> "DovecotSettings":
        if not self._plain.filters:
            # Addresses make no difference then, and a layer for each client would only cost memory.
            facts = {name: value for name, value in facts.items() if name == "protocol"}
        wanted = {**self._facts, **{name: value for name, value in facts.items() if value}}
        if wanted == self._facts:
            return self
        key = tuple(sorted(wanted.items()))
        layer = self._layers.get(key)
        if layer is None:
            layer = DovecotSettings(self._tree(wanted), self.path, self.warnings)
            layer._facts, layer._plain, layer._trees = wanted, self._plain, self._trees
            layer.protocol = wanted.get("protocol", "")
            if len(self._layers) > MAX_LAYERS:
                self._layers.clear()
            self._layers[key] = layer
        return layer

    def _tree(self, facts: Mapping[str, str]) -> Node:
        layers = overlays(self._plain, facts)
        key = tuple(map(id, layers))
        if key not in self._trees:
            self._trees[key] = laid_over(self._plain, layers) if layers else self._plain
        return self._trees[key]

    def read_files(self, names: Collection[str]) -> list[ConfigError]:
        """Read what these settings name as `<file`, in filters too, and keep it: later the rights may be missing.

        Returns what cannot be read; there `text` raises as before.
        """
        errors: list[ConfigError] = []

        def visit(node: Node) -> None:
            for name in node.values.keys() & names:
                value = node.values[name]
                if value.file:
                    try:
                        value.content = None
                        value.content = _file_content(name, value)
                    except ConfigError as error:
                        errors.append(error)
            for child in node.filters:
                visit(child)

        visit(self._plain)
        return errors

    @staticmethod
    def content_of(name: str, value: Value) -> str:
        """What a `<file` value stands for. Raises ConfigError."""
        return _file_content(name, value)

    @property
    def has_filters(self) -> bool:
        """Whether addresses or names of a connection can make a difference."""
        return any(node.type != "protocol" or node.filters for node in self._plain.filters)

    def names_differ_by_address(self) -> bool:
        """Whether a local_name section has sections for addresses in it."""
        return any(node.filters for node in self._plain.filters if node.type == "local_name")

    def to_json(self) -> dict[str, object]:
        """What from_json takes, of JSON types only."""
        return {"path": self.path, "warnings": list(self.warnings), "facts": self._facts,
                "root": _node_to_json(self._plain)}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> "DovecotSettings":
        """The settings that to_json described."""
        settings = cls(_node_from_json(cast(list[Any], state["root"])), cast(str, state["path"]),
                       tuple(cast(list[str], state["warnings"])))
        return settings._layer(**cast(dict[str, str], state["facts"]))

    def __reduce__(self) -> tuple[object, tuple[dict[str, object]]]:
        return DovecotSettings.from_json, (self.to_json(),)


# Combinations of protocol and addresses that are kept laid out; each client address is one where `remote` is used.
MAX_LAYERS = 256


def _uidl_format_problem(text: str) -> list[str]:
    letters = variable_letters(text)
    unknown = [letter for letter in letters if letter not in "uvmfg%"]
    if unknown:
        return [f"Unknown pop3_uidl_format variable: %{unknown[0]}"]
    return [] if set(letters) - {"%"} else ["pop3_uidl_format setting doesn't contain any %% variables."]


def _node_to_json(node: Node) -> list[Any]:
    values = {name: [value.text, value.written, value.file, value.path, value.line]
              for name, value in node.values.items()}
    return [node.type, node.name, values, [_node_to_json(child) for child in node.nodes],
            [_node_to_json(child) for child in node.filters]]


def _node_from_json(state: list[Any]) -> Node:
    type, name, values, nodes, filters = state
    return Node(type, name, {key: Value(*value) for key, value in values.items()},
                [_node_from_json(child) for child in nodes], [_node_from_json(child) for child in filters])


def _read(path: str) -> str:
    return Path(path).read_text("utf-8", "surrogateescape")


def read(path: str, *, expand: bool = True) -> Parsed:
    """The file's tree, errors and warnings. Raises ConfigError when it cannot be opened."""
    try:
        text = _read(path)
    except OSError as err:
        raise ConfigError(f"open({path}) failed: {os.strerror(err.errno or 0)}") from err
    return parse(text, path, _read, expand=expand)
