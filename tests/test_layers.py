"""Imports point down the diagram of the house style (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "mailsuite"
ROWS = ["ground", "formats", "protocol", "mechanism", "decisions", "I/O", "start"]
PACKAGES = {
    "config": "ground", "base": "ground",
    "database": "mechanism", "fulltext": "mechanism",
    "message": "formats", "address": "formats",
    "acl": "mechanism",
    "store": "mechanism", "quota": "mechanism", "maps": "mechanism", "dns": "mechanism", "tls": "mechanism",
    "anvil": "mechanism", "tlsrpt": "mechanism", "postscreen": "decisions", "verify": "decisions",
    "rewrite": "decisions", "queue": "decisions", "auth_results": "decisions",
    "sieve": "decisions",
    "imapc": "protocol", "sync": "I/O",
    "access": "I/O", "deliver": "I/O", "net": "I/O",
    "cli": "start", "master": "start", "explain": "start", "check": "start", "trace": "start", "accounts": "start",
}
# Packages that stand in several rows: which module stands where.
PARTS = {
    "smtp": {"policy": "decisions", "": "protocol"},
    # What a session shows of a mailbox, searches and sorts is decided over the store.
    "imap": {**dict.fromkeys(
        ("commands", "facts", "objectid", "view", "fetch", "search", "sorting", "threads"), "decisions"),
        "": "protocol"},
    "pop3": {**dict.fromkeys(("commands", "listings", "maildrop", "uidl"), "decisions"), "": "protocol"},
    "managesieve": {**dict.fromkeys(("commands", "scripts"), "decisions"), "": "protocol"},
    "sasl": {"mech": "protocol", "": "mechanism"},
}
IO_MODULES = ("server", "client")        # these tie a session to net/ and to what it may touch, in every package


def row_of(module: str) -> str:
    """The row of "mailsuite.imap.commands.fetch"."""
    words = module.split(".")
    if len(words) < 2:
        return "ground"
    package = words[1]
    rest = words[2:]
    if any(word.split("_")[0] in IO_MODULES or word.split("_")[-1] in IO_MODULES for word in rest):
        return "I/O"
    if package in PACKAGES:
        return PACKAGES[package]
    parts = PARTS[package]
    for word in rest:
        if word.split("_")[0] in parts:
            return parts[word.split("_")[0]]
    return parts[""]


def imports(path: Path) -> set[str]:
    """Modules of ours that a file imports when it runs (not those for type checking only)."""
    tree = ast.parse(path.read_text())
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            skipped |= {id(inner) for inner in ast.walk(node)}
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mailsuite"):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                inner = ROOT.parent / whole.replace(".", "/")
                found.add(whole if inner.with_suffix(".py").exists() or inner.is_dir() else node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name.startswith("mailsuite")}
    return found


FILES = sorted(path for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    own = ROWS.index(row_of(module))
    wrong = {name for name in imports(path) if ROWS.index(row_of(name)) > own
             and name.split(".")[:2] != module.split(".")[:2]}
    assert not wrong


def test_mechanism_and_protocol_rows_do_not_know_each_other() -> None:
    for path in FILES:
        module = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
        if row_of(module) == "mechanism":
            assert not {name for name in imports(path) if row_of(name) == "protocol"
                        and name.split(".")[1] != module.split(".")[1]}, module
