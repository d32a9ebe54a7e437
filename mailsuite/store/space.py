"""One namespace of a user, or one other user's part of one: its prefix, and its store once that is used.

    space = Space(spec, "Public/", make);  space.holds("Public/Board") -> True
    space.store.open(space.name("Public/Board"))

A namespace with alias_for has the store of its target: name() and shown() translate.
"""

import threading
from collections.abc import Callable

from mailsuite.store.namespace import NamespaceSpec
from mailsuite.store.store import UserStore


class Space:
    """One namespace, or one other user's part of one."""

    def __init__(self, spec: NamespaceSpec, prefix: str, make: Callable[[], UserStore]) -> None:
        self.spec, self.prefix = spec, prefix
        self.asked = False                  # for by name: then LIST tells it
        self._make, self._lock = make, threading.Lock()
        self._store: UserStore | None = None
        self.target: Space | None = None    # of alias_for

    @property
    def store(self) -> UserStore:
        """Opened at its first use."""
        if self.target is not None:
            return self.target.store
        if self._store is None:
            with self._lock:
                if self._store is None:
                    self._store = self._make()
        assert self._store is not None
        return self._store

    @property
    def made(self) -> UserStore | None:
        return self._store

    @property
    def separator(self) -> str:
        return self.spec.separator

    @property
    def root(self) -> str:
        return self.prefix.removesuffix(self.separator)

    def name(self, name: str) -> str:
        """As the store calls it: other only behind an alias."""
        if self.target is None:
            return name
        if name == self.root or name.removeprefix(self.prefix).upper() == "INBOX":
            return "INBOX"
        return self.target.prefix + name.removeprefix(self.prefix).replace(self.separator, self.target.separator)

    def shown(self, name: str) -> str:
        """The reverse."""
        if self.target is None or name == "INBOX":
            return name
        return self.prefix + name.removeprefix(self.target.prefix).replace(self.target.separator, self.separator)

    def holds(self, name: str) -> bool:
        return name.startswith(self.prefix) or bool(self.root) and name == self.root
