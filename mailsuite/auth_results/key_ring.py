"""The private keys of a process: read before rights are dropped, found by what configuration calls them.

    ring = KeyRing.load(settings)                   in `prepare`: every file of dkim_key_directory, those of arc_seal
    ring.key("example.com", "mail", "mail.key")     raises KeyUnusable: read now, where it was not read then

Files elsewhere than in dkim_key_directory are read when they are needed first, with the rights of the process.
Limits: FILES_LIMIT files, two folders deep. Contents never reach a log.
"""

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mailsuite.auth_results import params
from mailsuite.auth_results.keys import FILE_LIMIT, KeyUnusable, PrivateKey, parse_private_key, read_key
from mailsuite.base.log import logger

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

FILES_LIMIT = 10_000
log = logger("cleanup")


class KeyRing:
    """contents: path -> what the file held when it was read."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._contents: dict[str, bytes] = {}
        self._keys: dict[tuple[str, str, str], PrivateKey] = {}

    @classmethod
    def load(cls, settings: "Settings") -> "KeyRing | None":
        """None where nothing is to be signed. What cannot be read is told of when it is needed."""
        if not settings[params.DKIM_SIGN_DOMAINS] and not settings[params.ARC_SEAL]:
            return None
        ring = cls(settings[params.DKIM_KEY_DIRECTORY])
        top = Path(ring.directory)
        try:
            paths = sorted([*top.glob("*"), *top.glob("*/*")])[:FILES_LIMIT] if top.is_dir() else []
        except OSError:
            paths = []
        for path in paths:
            ring._remember(str(path))
        named = settings[params.ARC_SEAL].split(":", 2)
        if len(named) == 3:
            file = ring.path(named[2].strip())
            ring._remember(file)
            if file not in ring._contents:
                log.warning("arc_seal: cannot read the key %s", file)
        return ring

    def _remember(self, path: str) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return
        try:
            mode = os.fstat(fd).st_mode
            if stat.S_ISREG(mode) and not mode & 0o007:     # else read_key says what is wrong
                self._contents[path] = os.read(fd, FILE_LIMIT)
        except OSError:
            return
        finally:
            os.close(fd)

    def path(self, name: str) -> str:
        """Where a key file that configuration names is."""
        return name if name.startswith("/") else f"{self.directory}/{name}"

    def key(self, domain: str, selector: str, name: str) -> PrivateKey:
        """Raises KeyUnusable."""
        known = self._keys.get((domain, selector, name))
        if known is None:
            path = self.path(name)
            content = self._contents.get(path)
            known = (parse_private_key(content, domain, selector, path) if content is not None
                     else read_key(path, domain, selector))
            self._keys[domain, selector, name] = known
        return known

    def keys(self, domain: str, value: str) -> list[PrivateKey]:
        """The keys of a table's value "selector:keyfile selector:keyfile". Raises KeyUnusable."""
        found = []
        for word in value.replace(",", " ").split():
            selector, colon, name = word.partition(":")
            if not colon or not selector or not name:
                raise KeyUnusable(f'dkim_sign_domains: "{word}" of {domain} is not selector:keyfile')
            found.append(self.key(domain, selector, name))
        return found

    def renewed(self, settings: "Settings") -> "KeyRing | None":
        """After a reload: files that can be read now are taken as they are now, the others as they were."""
        ring = KeyRing.load(settings)
        if ring is not None:
            ring._contents = {**self._contents, **ring._contents}
        return ring
