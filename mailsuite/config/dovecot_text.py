"""dovecot.conf's tree back to text, as doveconf shows it.

    Writer(settings, sys.stdout, changed=True).everything()        what differs from the defaults, sections sorted
    Writer(settings, sys.stdout).names(["mail_location", "namespace/inbox", "service/imap/user"])

Settings and sections are sorted together by name; protocol, local and remote sections come last, in their order.
"""

import re
from typing import TextIO

from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot import DovecotSettings, Section
from mailsuite.config.dovecot_filter import by_weight
from mailsuite.config.dovecot_modules import LATER, OBSCURE, names_of
from mailsuite.config.dovecot_syntax import Node

SECRETS = frozenset({"ssl_key", "ssl_key_password", "ssl_client_key", "ssl_dh", "doveadm_password", "doveadm_api_key",
                     "imapc_password", "pop3c_password", "submission_relay_password", "auth_policy_hash_nonce",
                     "auth_policy_server_api_header", "ssl_alt_key"})
HIDDEN = "# hidden, use -P to show it"
# What a namespace always shows: it has no default that holds for all.
ALWAYS = {"namespace": ("location", "prefix")}
# Sections whose settings are left out by -n when they say what holds anyway.
COMPARED = frozenset({"", "passdb", "userdb"})


def quoted(value: str) -> str:
    """The value as dovecot.conf needs it: in quotes when blanks at its ends or a "#" would be lost."""
    if value and (value != value.strip() or "#" in value):
        return '"' + re.sub(r"([\"'\\])", r"\\\1", value) + '"'
    return value


def sortable(name: str) -> str:
    """A section's name as Dovecot compares it: a blank comes late."""
    return name.replace(" ", "\\s")


class Writer:
    """One run of doveconf."""

    def __init__(self, settings: DovecotSettings, out: TextIO, *, changed: bool = False, all_set: bool = False,
                 values_only: bool = False, secrets: bool = False, expand: bool = False, simple: bool = False,
                 module: str = "", hidden: bool = False) -> None:
        self.settings, self.out = settings, out
        self.changed, self.all_set, self.values_only = changed, all_set, values_only
        self.secrets, self.expand, self.simple = secrets, expand, simple
        self._wanted = names_of(module) if module else None
        self._hidden = hidden
        self.shown_sections: list[str] = []
        self.whole = False             # a whole configuration is written, as one could read it in again

    def line(self, text: str) -> None:
        """One line; octets that are not UTF-8 come out as they went in."""
        self.out.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")

    # -- values

    def value(self, section: Section, name: str) -> str:
        """The setting's text as it is shown."""
        written = section.node.values.get(name)
        if name in SECRETS and self.whole and not self.secrets and written is not None:
            return HIDDEN
        if self.expand and written is not None:
            return defaults.normal(name, section.type, section.text(name))
        text = written.written if written is not None else section.default(name)
        if written is None and name == defaults.NAMING.get(section.type, "name"):
            text = section.name
        return defaults.normal(name, section.type, text)

    def shown(self, section: Section, name: str, *, in_filter: bool) -> bool:
        """Whether -n has to mention the setting."""
        if not self.changed:
            return True
        written = section.node.values.get(name)
        if name == "name" and section.type in defaults.ADDED_UP:
            return bool(section.name) or in_filter or self.all_set
        if written is None:
            return False
        if in_filter or self.all_set or section.type not in COMPARED:
            return True
        default = section.default(name)
        return bool(written.file) or defaults.normal(name, section.type, written.written) != \
            defaults.normal(name, section.type, default)

    # -- everything

    def everything(self) -> None:
        """The whole configuration."""
        self.whole = True
        if self.simple:
            self._simple(self.settings, "")
            return
        self._body(self.settings, 0, in_filter=False)
        for path in by_weight(self.settings.node):
            self._filter(path)

    def _filter(self, path: tuple[Node, ...]) -> None:
        """A filter section in those around it, each time anew: the most specific come last."""
        rows = Writer(self.settings, self.out, changed=True, all_set=True, secrets=self.secrets, expand=self.expand)
        rows.whole, rows._wanted = True, self._wanted
        node, depth = path[-1], len(path)
        values = {name: value for name, value in node.values.items() if self._wants(name)}
        nodes = [child for child in node.nodes if self._wants(child.type) and _says_something(child)]
        if not values and not nodes:
            return
        for level, one in enumerate(path):
            self.line(f"{'  ' * level}{one.type} {one.name} {{")
        rows._body(Section(Node("", "", values, nodes), self.settings), depth, in_filter=True)
        for level in reversed(range(depth)):
            self.line(f"{'  ' * level}}}")

    def _body(self, section: Section, depth: int, *, in_filter: bool) -> None:
        """Settings and sections of one section, sorted by name."""
        pad = "  " * depth
        rows: list[tuple[str, str | Section]] = [
            (name, name) for name in self._setting_names(section) if self.shown(section, name, in_filter=in_filter)
            or name in ALWAYS.get(section.type, ()) and self.changed]
        number = 0
        for type in defaults.NESTED.get(section.type, ()):
            if not section.type and not self._wants(type):
                continue
            for child in self._children(section, type, in_filter=in_filter):
                key = f"{number:06d}" if type in defaults.ADDED_UP else sortable(child.name)
                number += 1
                rows.append((f"{type}/{key}/", child))
        for _, row in sorted(rows, key=lambda pair: pair[0]):
            if isinstance(row, str):
                text = self.value(section, row)
                self.line(f"{pad}{row} = {quoted(text) if text != HIDDEN else text}")
            else:
                self._section(row, depth)

    def _children(self, section: Section, type: str, *, in_filter: bool) -> list[Section]:
        if not self.changed and not in_filter:
            return [child for child in section.sections(type) if type not in defaults.FREE or child.node.values]
        # Only what the configuration mentions.
        mentioned = {id(node) for node in section.node.nodes}
        return [child for child in section.sections(type)
                if id(child.node) in mentioned and (type in ALWAYS or _says_something(child.node))
                and self._says_more(child)]

    def _says_more(self, section: Section) -> bool:
        """Whether anything of the section is shown."""
        if section.type in ALWAYS or section.node.nodes:
            return True
        named = section.type in defaults.ADDED_UP and bool(section.name)
        return named or any(self.shown(section, name, in_filter=False) for name in section.node.values)

    def _section(self, section: Section, depth: int) -> None:
        pad = "  " * depth
        named = section.name and section.type not in defaults.ADDED_UP
        name = f" {_quoted_name(section.name)}" if named else ""
        self.line(f"{pad}{section.type}{name} {{")
        self._body(section, depth + 1, in_filter=False)
        self.line(f"{pad}}}")

    def _setting_names(self, section: Section) -> list[str]:
        if section.type in defaults.FREE:
            return list(section.node.values)
        if not section.type:
            return [name for name in defaults.ROOT if self._wants(name)
                    and (self._hidden or name not in OBSCURE or name in section.node.values)
                    and (name not in LATER or name in section.node.values)]
        naming = defaults.NAMING.get(section.type, "name")
        hidden = {naming, "alias_for"} - section.node.values.keys() if section.type == "namespace" else {naming}
        if section.type in defaults.ADDED_UP:
            hidden = set()
        return [name for name in defaults.SECTIONS[section.type] if name not in hidden]

    def _wants(self, name: str) -> bool:
        """Whether a setting or section type of the root concerns the module."""
        return self._wanted is None or name in self._wanted

    def _simple(self, section: Section, prefix: str) -> None:
        """-S: path=value."""
        for name in self._setting_names(section):
            if name in section.node.values or not self.changed:
                self.line(f"{prefix}{name}={self.value(section, name)}")
        for type in defaults.NESTED.get(section.type, ()):
            for number, child in enumerate(section.sections(type)):
                self._simple(child, f"{prefix}{type}/{child.name or number}/")

    # -- by name

    def names(self, names: list[str]) -> None:
        """What each name means; a name that means nothing is passed over in silence, as Dovecot does."""
        sections = [name for name in names if self._is_section(name)]
        for name in sections:
            self._show_section(name)
            if name.partition("/")[0] == "service" or self.settings.sections(name.partition("/")[0]):
                self.shown_sections.append(name)
        for name in names:
            if name not in sections:
                self._show_setting(name)

    def _is_section(self, name: str) -> bool:
        kind, _, rest = name.partition("/")
        return kind in defaults.NESTED[""] and (not rest or self._find(name) is not None)

    def _find(self, path: str) -> Section | None:
        """The section that a path such as service/imap/unix_listener/login/imap leads to."""
        section: Section | None = self.settings
        parts = path.split("/")
        while parts and section is not None:
            type = parts.pop(0)
            if type not in defaults.NESTED.get(section.type, ()):
                return None
            candidates = section.sections(type)
            if type in defaults.FREE:
                section = candidates[0] if candidates and not parts else None
                continue
            # Names may hold slashes themselves: the longest that fits.
            rest, section = "/".join(parts), None
            for number, child in sorted(enumerate(candidates), key=lambda pair: -len(pair[1].name)):
                name = child.name if child.name else str(number)
                if rest == name or rest.startswith(f"{name}/"):
                    section, parts = child, [part for part in rest[len(name) + 1:].split("/") if part]
                    break
        return section

    def _show_section(self, name: str) -> None:
        kind, _, rest = name.partition("/")
        if rest:
            found = self._find(name)
            sections = [found] if found is not None else []
        else:
            sections = self.settings.sections(kind)
            if self.changed:
                sections = self._children(self.settings, kind, in_filter=False)
            if kind not in defaults.ADDED_UP:
                sections = sorted(sections, key=lambda section: sortable(section.name) + "/")
        for section in sections:
            self._section(section, 0)

    def _show_setting(self, name: str) -> None:
        path, _, key = name.rpartition("/")
        section: Section | None = self.settings
        if path:
            section, key = self._setting_of(name)
        if section is None or not self._has(section, key):
            return
        if self.changed and not self.shown(section, key, in_filter=False):
            return
        text = self.value(section, key)
        self.line(text if self.values_only else f"{name}={text}" if self.simple else f"{name} = {text}")

    def _setting_of(self, name: str) -> tuple[Section | None, str]:
        kind, _, rest = name.partition("/")
        if kind in defaults.FREE:
            return self._find(kind), rest
        path, _, key = name.rpartition("/")
        return self._find(path), key

    @staticmethod
    def _has(section: Section, name: str) -> bool:
        if section.type in defaults.FREE:
            return name in section.node.values
        return defaults.default_of(name, section.type) is not None


def _says_something(node: Node) -> bool:
    """Whether a section holds a setting, however deep."""
    return bool(node.values) or any(map(_says_something, [*node.nodes, *node.filters]))


def _quoted_name(name: str) -> str:
    return f'"{name}"' if re.search(r"[\s\"{]", name) else name
