"""dovecot.conf's grammar: lines to a tree of sections.

    tree, errors, warnings = parse(text, "/etc/dovecot/dovecot.conf", read)
    tree.values["mail_location"].text      tree.nodes: sections in order      tree.filters: protocol, local, remote...

A line: `key = value` | `type [name] {` | `}` | `!include GLOB` | `!include_try GLOB` | `# comment`
A line that ends in "\\" goes on in the next one. A value in quotes loses them; `<file` is a file's content, read later;
$name at the beginning of a value is what that setting is until now ($ENV:NAME: the environment).
A section met again adds to the first of its name; passdb and userdb add up. Included files are read in their place,
relative to the file that names them, and a section may go on in them; errors carry their own file and line.
Names of Dovecot 2.4 (dovecot_24.py) and of before 2.3 (dovecot_obsolete.py) come out as those of 2.3;
`group @NAME VALUE { lines }` stands wherever `@NAME = VALUE` does.
"""

import glob
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot_24 import FREE_BLOCK, Modern, is_plugin_setting
from mailsuite.config.dovecot_node import Node, Value
from mailsuite.config.dovecot_obsolete import BLOCK_WARNING, CLEAN_CONFIG, AuthBlock, meaning, node_at

__all__ = ["Node", "Parsed", "Parser", "Value", "parse"]

# A file that includes itself ends here rather than by exhausting memory.
MAX_INCLUDE_DEPTH = 20


@dataclass
class Parsed:
    """errors and warnings in the order of lines; the tree has all that could be understood."""

    root: Node
    errors: list[ConfigError]
    warnings: list[str]


class _Stop(Exception):
    """A line that cannot be understood: the parser goes on with the next one."""


def cut_comment(line: str) -> tuple[str, bool]:
    """The line without its comment and the blanks around; and whether a "#" stood inside a word."""
    if "#" not in line:
        return line.strip(), False
    quote = ""
    for index, char in enumerate(line):
        if quote:
            if char == quote and line[index - 1] != "\\":
                quote = ""
        elif char in "\"'":
            quote = char
        elif char == "#":
            return line[:index].strip(), index > 0 and line[index - 1] not in " \t"
    return line.strip(), False


def logical_lines(text: str) -> Iterator[tuple[int, str, bool]]:
    """(number of its last line, text without comment, ambiguous "#") of each line that says something."""
    pending = ""
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        stripped = line.strip()
        if not pending and (not stripped or stripped[0] == "#"):
            continue
        body, ambiguous = cut_comment(line)
        if body.endswith("\\"):
            pending += body[:-1]
            continue
        body, pending = pending + body, ""
        if body:
            yield number, body, ambiguous


_GROUP = re.compile(r"group\s+(@\S+)\s+(\S+)\s*\{")
_KEY = re.compile(r"[^\s={]+")
_SECTION_NAME = re.compile(r'\s+(?:"((?:[^"\\]|\\.)*)"|([^\s{]+))?\s*')


def unquote(value: str) -> str:
    """The inside of a value in quotes."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


class Parser:
    """Reads one configuration with its includes."""

    def __init__(self, path: str, read: Callable[[str], str], *, expand: bool) -> None:
        self.path, self.read, self.expand = path, read, expand
        self.root = Node()
        self.stack: list[Node] = [self.root]
        self.errors: list[ConfigError] = []
        self.warnings: list[str] = []
        self._filtered: dict[str, tuple[str, int]] = {}      # settings that some filter has set, and where
        self._modern = Modern()
        self._auth_block = AuthBlock(self.root)
        self._groups: dict[tuple[str, str], list[tuple[str, str, int]]] = {}     # (@name, value): lines
        self._group: list[tuple[str, str, int]] | None = None                    # the group that is being read

    def run(self, text: str) -> Parsed:
        """Parse the main file's text."""
        self._file(text, self.path, 0)
        try:
            self._modern.finish(self.root)
        except ConfigError as err:
            self.errors.append(ConfigError(f"Error in configuration file {self.path}: {err.public}"))
        if len(self.stack) > 1:
            node = self.stack[1]
            self.errors.append(ConfigError(f"Error in configuration file {self.path}: Missing '}}' "
                                           f"(section started at {node.path}:{node.line})"))
        return Parsed(self.root, self.errors, self.warnings)

    def _file(self, text: str, path: str, depth: int) -> None:
        for number, line, ambiguous in logical_lines(text):
            if ambiguous:
                self.warnings.append(f"Configuration file {path} line {number}: Ambiguous '#' character in line, "
                                     "treating it as comment. Add a space before it to remove this warning.")
            try:
                self._line(line, path, number, depth)
            except ConfigError as err:
                self.errors.append(ConfigError(
                    f"Error in configuration file {path} line {number}: {err.public}"))

    def _line(self, line: str, path: str, number: int, depth: int) -> None:
        if self._group is not None or line.startswith(("@", "group @")):
            self._group_line(line, path, number, depth)
            return
        if line == "}":
            if len(self.stack) == 1:
                raise ConfigError("Unexpected '}'")
            self._auth_block.close(self.stack.pop())
            return
        word, _, rest = line.partition(" ")
        if word in ("!include", "!include_try"):
            self._include(unquote(rest.strip()), path, depth, optional=word == "!include_try")
            return
        if line[0] == "=":
            raise ConfigError("Missing key name ('=' at the beginning of line)")
        match = _KEY.match(line)
        key, after = (match[0], line[match.end():].lstrip()) if match else ("", line)
        if match is not None and after.startswith("="):
            self._assign(key, after[1:].strip(), path, number)
        else:
            self._open(key, line[len(key):], path, number)

    def _group_line(self, line: str, path: str, number: int, depth: int) -> None:
        """A line of a group, its beginning or end, or the place where one is wanted."""
        if self._group is not None:
            opened = sum(each[0].endswith("{") for each in self._group)
            closed = sum(each[0] == "}" for each in self._group)
            if line == "}" and opened == closed:
                self._group = None
            else:
                self._group.append((line, path, number))
            return
        match = _GROUP.fullmatch(line)
        if match is not None:
            self._group = self._groups[match[1], match[2]] = []
            return
        name, equals, value = line.partition("=")
        lines = self._groups.get((name.strip(), unquote(value.strip()))) if equals else None
        if lines is None:
            raise ConfigError(f"Unknown group: {line}")
        if depth >= MAX_INCLUDE_DEPTH:
            raise ConfigError("Too deeply nested groups")
        for each, its_path, its_number in lines:
            self._line(each, its_path, its_number, depth + 1)

    def _include(self, pattern: str, path: str, depth: int, *, optional: bool) -> None:
        if depth >= MAX_INCLUDE_DEPTH:
            raise ConfigError("Too deeply nested include files")
        if not pattern:
            return
        found = sorted(glob.glob(os.path.join(os.path.dirname(path), pattern)))
        if not found and os.path.islink(path):      # main.cf's folder has a link to /etc/dovecot/dovecot.conf
            found = sorted(glob.glob(os.path.join(os.path.dirname(os.path.realpath(path)), pattern)))
        if not found and not optional:
            raise ConfigError("No matches")
        for name in found:
            try:
                text = self.read(name)
            except OSError as err:
                if not optional:
                    raise ConfigError(f"Couldn't open include file {name}: {err.strerror}") from err
            else:
                self._file(text, name, depth + 1)

    # -- sections

    def _open(self, type: str, rest: str, path: str, number: int) -> None:
        match = _SECTION_NAME.match(rest)
        name = "" if match is None else unquote(f'"{match[1]}"') if match[1] is not None else match[2] or ""
        brace = rest[match.end():] if match else rest
        if not brace.startswith("{"):
            raise ConfigError("Expecting '{'")
        if brace != "{":
            raise ConfigError("Garbage after '{'")
        node = Node(type, name, path=path, line=number)
        if self._auth_block.opens(self.stack, node):
            self._obsolete(BLOCK_WARNING, path, number)
            self.stack.append(self.root)
            return
        if (type, name) == ("protocol", "managesieve"):
            self._obsolete("protocol managesieve {} has been replaced by protocol sieve { }", path, number)
            node.name = "sieve"
        try:
            node = self._enter(node)
        finally:
            # An unknown section is read all the same, so that its end is found.
            self.stack.append(node)

    def _enter(self, node: Node) -> Node:
        parent = self.stack[-1]
        old = self._auth_block.open(self.stack, node, FREE_BLOCK)
        if old is not None:
            if old.type in defaults.ADDED_UP:
                self._obsolete(f"{node.type} {node.name} {{}} has been replaced by {node.type} {{ driver={node.name} "
                               "}", node.path, node.line)
            return old
        if node.type in defaults.FILTERS and parent.type in ("", *defaults.FILTERS):
            return self._enter_filter(parent, node)
        kind = "" if parent.type in defaults.FILTERS else parent.type
        block = self._modern.open_block(parent, node)
        if block is not None:
            return block
        if node.type not in defaults.NESTED.get(kind, ()):
            raise ConfigError(f"Unknown setting: {self._where_to(node.type)} {{ {node.type}")
        if node.type in defaults.ADDED_UP and node.name and parent.child(node.type, node.name):
            raise ConfigError(f"{node.type}/{node.name} already exists")
        known = None if node.type in defaults.ADDED_UP else parent.child(node.type, node.name)
        if known is None:
            parent.nodes.append(node)
        return known or node

    def _where_to(self, name: str) -> str:
        """"service { unix_listener { mode": the way to a setting, as error messages name it."""
        types = [node.type for node in self.stack[1:] if node.type and node.type not in defaults.FILTERS]
        return " { ".join([*types, name])

    def _enter_filter(self, parent: Node, node: Node) -> Node:
        if parent.type == "protocol":
            raise ConfigError(f"protocol {{ {node.type} {{ .. }} }} not allowed (use {node.type} {{ protocol {{ .. }}"
                              " } instead)")
        if node.type in ("local", "remote"):
            from mailsuite.config.dovecot_filter import networks

            networks(node.name)           # refuses what is no network or host
        known = next((old for old in parent.filters if (old.type, old.name) == (node.type, node.name)), None)
        if known is None:
            parent.filters.append(node)
        return known or node

    # -- settings

    def _assign(self, key: str, text: str, path: str, number: int) -> None:
        node = self.stack[-1]
        section = "" if node.type in defaults.FILTERS else node.type
        if section == FREE_BLOCK:
            node.values[key] = self._modern.variables(self._value(key, "", text, path, number), key)
            return
        if section and section not in defaults.SECTIONS:
            return                         # the section itself was an error
        key = self._auth_block.name(self.stack, key)
        if not section and self._assign_obsolete(node, key, text, path, number):
            return
        name = key
        while "/" in name and not section:
            kind, _, name = name.partition("/")
            found = self._shorthand(node, kind, name)
            if found is None:
                break
            node, name = found
            section = node.type
        if section not in defaults.FREE and defaults.default_of(name, section) is None:
            self._assign_modern(node, key, name, self._value(name, "", text, path, number))
            return
        self._store(node, name, self._modern.variables(self._value(name, section, text, path, number), name))

    def _assign_obsolete(self, node: Node, key: str, text: str, path: str, number: int) -> bool:
        """A setting of before 2.3; False for any other."""
        found = meaning(key, unquote(text), node.name if node.type == "protocol" else "")
        if found is None:
            return False
        for warning in found.warnings:
            self._obsolete(warning, path, number)
        for place, new in found.settings:
            owner, name = node_at(self.root, place) if place.startswith("/") else (node, place)
            section = "" if owner.type in defaults.FILTERS else owner.type
            self._store(owner, name, self._value(name, section, new, path, number))
        return True

    def _obsolete(self, warning: str, path: str, number: int) -> None:
        if CLEAN_CONFIG not in self.warnings:
            self.warnings.append(CLEAN_CONFIG)
        self.warnings.append(f"Obsolete setting in {path}:{number}: {warning}")

    def _assign_modern(self, node: Node, key: str, name: str, value: Value) -> None:
        """A name that 2.3 does not know, and 2.4 may."""
        found = self._modern.assign(node, name, self._modern.variables(value, name))
        if found is None and node.type in ("", *defaults.FILTERS) and is_plugin_setting(name):
            plugin = self.root.child("plugin", "")
            if plugin is None:
                plugin = Node("plugin")
                self.root.nodes.append(plugin)
            plugin.values[name.removesuffix("_driver")] = value
        elif found is None:
            raise ConfigError(f"Unknown setting: {self._where_to(key)}")
        for known, new in found or ():
            self._store(node, known, new)

    def _store(self, node: Node, name: str, value: Value) -> None:
        section, path, number = "" if node.type in defaults.FILTERS else node.type, value.path, value.line
        if not value.file:
            self._check(name, section, value)
        if node is not self.root and not section:
            self._filtered.setdefault(name, (path, number))
        elif node is self.root and name in self._filtered:
            where = "{} line {}".format(*self._filtered[name])
            self.warnings.append(f"{path} line {number}: Global setting {name} won't change the setting inside an "
                                 f"earlier filter at {where} (if this is intentional, avoid this warning by moving "
                                 f"the global setting before {where})")
        node.values[name] = value

    def _shorthand(self, node: Node, kind: str, rest: str) -> tuple[Node, str] | None:
        """`service/auth/user = x`: the section that is meant and the setting's name; None where there is none yet."""
        if kind not in defaults.NESTED[""]:
            return None
        name, _, key = rest.partition("/") if kind not in defaults.FREE else ("", "", rest)
        if not key:
            return None
        child = node.child(kind, name)
        if child is None and kind not in defaults.FREE and (kind != "service" or name not in defaults.services()):
            return None
        if child is None:
            child = Node(kind, name)
            node.nodes.append(child)
        return child, key

    def _value(self, name: str, section: str, text: str, path: str, number: int) -> Value:
        plain = unquote(text)
        if plain != text or not text or text[0] not in "<$":
            return Value(plain, plain, path=path, line=number)
        if text[0] == "<":
            file = text[1:].strip()
            return Value("", f"<{file}", os.path.join(os.path.dirname(os.path.abspath(path)), file), path, number)
        variable, blank, rest = text[1:].removeprefix("SET:").partition(" ")
        own = variable == name
        if own and section:
            raise ConfigError(f"Unknown variable: ${variable}")
        if not own and not self.expand:
            return Value(text, text, path=path, line=number)
        expanded = self._variable(variable) + blank + rest
        return Value(expanded, expanded if own else text, path=path, line=number)

    def _variable(self, variable: str) -> str:
        if variable.startswith("ENV:"):
            return os.environ.get(variable[4:], "")
        # The filter's own value first, then what surrounds it.
        for scope in reversed([scope for scope in self.stack if scope.type in ("", *defaults.FILTERS)]):
            if variable in scope.values:
                return scope.values[variable].text
        if (default := defaults.ROOT.get(variable)) is not None:
            return default
        kind, _, rest = variable.partition("/")
        child = self.root.child(kind, "") if kind in defaults.FREE else None
        if child is None or rest not in child.values:
            raise ConfigError(f"Unknown variable: ${variable}")
        return child.values[rest].text

    @staticmethod
    def _check(name: str, section: str, value: Value) -> None:
        try:
            defaults.check(name, section, value.text)
        except ConfigError:
            value.text = ""
            raise


def parse(text: str, path: str, read: Callable[[str], str], *, expand: bool = True) -> Parsed:
    """Parse a configuration; read gives an included file's text or raises OSError.

    expand=False leaves $name of other settings as written, for doveconf.
    """
    return Parser(path, read, expand=expand).run(text)
