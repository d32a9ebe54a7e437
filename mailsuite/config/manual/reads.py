"""Which parameters our own source reads: a development tool, for the tests and `make docs`; no service uses it.

    reads(names) -> {"myhostname": ["mailsuite/smtp/params.py:6", ...], ...}      names: those that could be read

A name is read where the source
  - declares it (declare(Param("NAME", ...))) and uses the constant that holds the Param,
  - has it as a text of its own, "NAME" (outside docstrings; in GROUND, where names are also listed, only as an
    argument of one of ASKING),
  - makes it with an f-string: each {...} stands for what VALUES says of it, else for lower case letters,
  - has the rest of it as a text in a module with f"{prefix}_{name}",
  - has the suffix of a transport's parameter as a text ("destination_rate_delay"), or
  - mentions it in the default of a parameter that is read.
So a name that is only compared or listed counts as read; a name that is put together otherwise does not.
"""

import ast
import functools
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import mailsuite
from mailsuite.config import expansion, registry
from mailsuite.config.postfix_defaults import DEFAULTS, transport_default, transport_suffixes

# Files that list names without using them; and postconf, which shows any.
GROUND = re.compile(r"config/\w+\.py|cli/postconf\w*\.py")
LISTS = re.compile(r"config/manual/|config/postfix_table\.py|config/postfix_later\.py")
ASKING = frozenset({"text", "raw", "raw_or_none", "is_set", "flag", "number", "time_s", "size", "transport_param"})
# What the {...} of f-strings stand for, by the last word of the expression.
VALUES = {"prefix": "smtp|lmtp", "_prefix": "smtp|lmtp", "program": "smtp|lmtp|local|virtual|pipe",
          "kind": "|mandatory_", "hello_word": "ehlo|lhlo", "side": "smtpd|smtp|lmtp", "algorithm": "|ec|d",
          "stage": "[a-z_]+"}
# Parameters whose default names others only to list them: that gives those no effect.
LISTING = frozenset({"proxy_read_maps", "proxy_write_maps"})
_FIRST = "smtp|lmtp|local|virtual|pipe"
_PLAIN = re.compile(r"\w*_\w{3,}|\w{3,}_\w*")


def reads(names: Collection[str]) -> dict[str, list[str]]:
    """Places where each name is read, as FILE:LINE; names that nothing reads are left out."""
    found: dict[str, list[str]] = {}
    source = _source()
    used = set[str]().union(*(one.used for one in source))
    patterns = [(re.compile(text), place) for one in source for text, place in one.patterns]
    for one in source:
        for text, place, holder in one.texts:
            if holder is None or holder in used:
                for name in _meant(text) if text not in names else [text]:
                    found.setdefault(name, []).append(place)
        for name, place in one.behind_prefix:
            found.setdefault(name, []).append(place)
    for pattern, place in patterns:
        for name in filter(pattern.fullmatch, names):
            found.setdefault(name, []).append(place)
    for name in registry.declared().keys() - set[str]().union(*(one.constants for one in source)):
        found.setdefault(name, []).append("declared")      # by a loop over prefixes
    _add_defaults(found)
    return {name: places for name, places in found.items() if name in names}


class _Module(NamedTuple):
    """What one module holds; places are FILE:LINE.

    used: names that it looks up. constants: parameters declared with a text of their own, used or not. texts: what
    may be a parameter's name, its place, and the constant that holds the declaration around it (None: no declaration).
    """

    used: set[str]
    constants: set[str]
    texts: list[tuple[str, str, str | None]]
    patterns: list[tuple[str, str]]
    behind_prefix: list[tuple[str, str]]


@functools.cache
def _source() -> list[_Module]:
    """The package, read once; the trees would fill some hundred megabytes."""
    package = Path(mailsuite.__path__[0])
    return [_module(path, path.relative_to(package.parent).as_posix()) for path in sorted(package.rglob("*.py"))
            if not LISTS.search(path.as_posix())]


def _module(path: Path, where: str) -> _Module:
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    ground = bool(GROUND.search(where))
    used = {node.id if isinstance(node, ast.Name) else node.attr for node in nodes
            if isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Load)}
    return _Module(
        used, {name for node in nodes if (name := _declared_name(node))},
        [(text, f"{where}:{line}", holder) for text, line, holder in _texts(nodes, ground=ground)],
        [] if ground else [(text, f"{where}:{line}") for text, line in _patterns(nodes)],
        [] if ground else [(name, f"{where}:{line}") for name, line in _behind_prefix(nodes)])


def _meant(text: str) -> list[str]:
    """The parameters that a suffix such as destination_rate_delay stands for."""
    if text not in transport_suffixes("pipe"):
        return []
    return [f"default_{text}", *(f"{name}_{text}" for name in (*_FIRST.split("|"), "relay"))]


def _declared_name(node: ast.AST) -> str | None:
    """NAME of Param("NAME", ...)."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Param" and node.args:
        first = node.args[0]
        if isinstance(first, ast.Constant) and isinstance(first.value, str):
            return first.value
    return None


def _texts(nodes: Sequence[ast.AST], *, ground: bool) -> Iterator[tuple[str, int, str | None]]:
    """Texts of the module that may be names of parameters, with their lines and the constants that hold them."""
    docstrings: set[ast.AST] = set()
    holders: dict[ast.AST, str] = {}
    asked: set[ast.AST] = set()
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            docstrings.add(node.value)
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            for part in ast.walk(node.value):
                if _declared_name(part):
                    holders |= dict.fromkeys(ast.walk(part), node.targets[0].id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKING:
            asked.update(node.args)
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in docstrings \
                and (not ground or node in asked):
            yield node.value, node.lineno, holders.get(node)


def _patterns(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, int]]:
    """Regular expressions of the names that f-strings can make."""
    declaring = {part for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
                 and node.func.id == "Param" for part in ast.walk(node)}
    for node in nodes:
        if not isinstance(node, ast.JoinedStr) or node in declaring:
            continue
        plain = "".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        if _PLAIN.fullmatch(plain):
            yield "".join(_part(part, place == 0) for place, part in enumerate(node.values)), node.lineno


def _behind_prefix(nodes: Sequence[ast.AST]) -> Iterator[tuple[str, int]]:
    """Names that a module with f"{prefix}_{name}" makes of its other texts."""
    prefixes = {prefix for node in nodes if isinstance(node, ast.JoinedStr) and len(node.values) == 3
                and isinstance(node.values[1], ast.Constant) and node.values[1].value == "_"
                for prefix in VALUES.get(_word(node.values[0]), "").split("|") if prefix}
    if prefixes:
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from ((f"{prefix}_{node.value}", node.lineno) for prefix in sorted(prefixes))


def _word(part: ast.expr) -> str:
    """The last word of what stands in the {} of an f-string."""
    return re.findall(r"\w+", ast.unparse(part.value))[-1] if isinstance(part, ast.FormattedValue) else ""


def _part(part: ast.expr, first: bool) -> str:
    if isinstance(part, ast.Constant):
        return re.escape(str(part.value))
    return f"(?:{VALUES.get(_word(part), _FIRST if first else '[a-z_]*')})"


def _add_defaults(found: dict[str, list[str]]) -> None:
    """Names that the default of a name in found mentions count as read too."""
    waiting = list(found)
    while waiting:
        name = waiting.pop()
        default = DEFAULTS.get(name) or transport_default(name) or ""
        if name in LISTING or name == "smtpd_expansion_filter":     # characters, of which "$" is one
            continue
        for other in expansion.references(default) if "$" in default else ():
            if other not in found:
                found[other] = [f"the default of {name}"]
                waiting.append(other)
