"""The tree that dovecot.conf is read into."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Value:
    """text: with $name replaced; written: as doveconf -n shows it; file: path of a `<file` value, else "".

    content: of that file, where it was read ahead.
    """

    text: str
    written: str = ""
    file: str = ""
    path: str = ""
    line: int = 0
    content: str | None = None


@dataclass(slots=True)
class Node:
    """A section. For a filter, type is protocol, local, remote or local_name and name what it compares with."""

    type: str = ""
    name: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    nodes: list["Node"] = field(default_factory=list)
    filters: list["Node"] = field(default_factory=list)
    path: str = ""
    line: int = 0

    def child(self, type: str, name: str) -> "Node | None":
        """The first section in this one of that type and name."""
        return next((node for node in self.nodes if node.type == type and node.name == name), None)
