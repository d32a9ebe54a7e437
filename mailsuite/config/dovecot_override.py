"""Settings given on a command line, on top of dovecot.conf: doveadm -o NAME=VALUE.

    overridden(settings, ["mail_location=maildir:~/Old", "plugin/quota_rule=*:storage=1G", "namespace/inbox/prefix=X/"])

A name may be the path of a setting in a section, which is made when it is new. Names that nothing knows are passed
over, as Dovecot does. They hold everywhere: what protocol, local and remote sections say of a setting is dropped.
Raises ConfigError in Dovecot's words.
"""

from collections.abc import Sequence
from dataclasses import replace

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_defaults as defaults
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.dovecot_syntax import Node, Value


def overridden(settings: DovecotSettings, pairs: Sequence[str]) -> DovecotSettings:
    """New settings; those given stay as they are."""
    root = _copy(settings.node)
    for pair in pairs:
        path, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"Invalid -o parameter {pair}: Missing '='")
        try:
            _assign(root, path, text)
        except ConfigError as error:
            raise ConfigError(f"Invalid -o parameter {pair}: {error.public}") from error
    return DovecotSettings(root, settings.path, settings.warnings)


def _copy(node: Node) -> Node:
    return replace(node, values=dict(node.values), nodes=[_copy(child) for child in node.nodes],
                   filters=[_copy(child) for child in node.filters])


def _assign(root: Node, path: str, text: str) -> None:
    found = _find(root, path)
    if found is None:
        return
    node, name = found
    if node.type not in defaults.FREE:
        if defaults.default_of(name, node.type) is None:
            return
        defaults.check(name, node.type, text)
    node.values[name] = Value(text, text)
    if node is root:
        _drop(root.filters, name)


def _find(root: Node, path: str) -> tuple[Node, str] | None:
    """The section that a path leads to, and the setting's name in it."""
    node, rest = root, path
    while "/" in rest:
        kind, _, after = rest.partition("/")
        if kind not in defaults.NESTED.get(node.type, ()):
            return None
        if kind in defaults.FREE:
            name, rest = "", after
        else:
            # Names of sections may hold slashes themselves: the longest that is there, else up to the next slash.
            known = [child.name for child in node.nodes if child.type == kind and after.startswith(f"{child.name}/")]
            name = max(known, key=len, default=after.partition("/")[0])
            rest = after[len(name) + 1:]
        child = node.child(kind, name)
        if child is None:
            child = Node(kind, name)
            node.nodes.append(child)
        node = child
        if kind in defaults.FREE:
            break
    return (node, rest) if rest else None


def _drop(filters: Sequence[Node], name: str) -> None:
    for node in filters:
        node.values.pop(name, None)
        _drop(node.filters, name)
