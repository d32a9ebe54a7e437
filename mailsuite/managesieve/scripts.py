"""A user's Sieve scripts, as Pigeonhole keeps them: NAME.sieve in a folder, and a link to the active one.

    store = ScriptStore(Place.of(settings.plugin, home), limits)
    store.names() -> [("vacation", True), ...]      put, get, activate, delete, rename

Blocking; runs in the user's worker, with the user's rights. A script is written to tmp/ and renamed, so a reader sees
the old one or the new one. Nothing here knows what a script says.
Raises: ScriptError, with the response code and the text for the client; OSError.
Source: Pigeonhole's file storage (sieve = file:~/sieve;active=~/.dovecot.sieve), RFC 5804 section 1.6 (names).
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailsuite.base.errors import PermanentError
from mailsuite.base.files import write_whole

NAME_LIMIT = 256                 # octets
SUFFIX = ".sieve"
_BAD_IN_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029/]")


class ScriptError(PermanentError):
    """code: of the response, "" for none."""

    def __init__(self, public: str, code: str = "") -> None:
        super().__init__(public)
        self.code = code


@dataclass(frozen=True)
class Place:
    """folder: where scripts are; active: the link."""

    folder: Path
    active: Path

    @classmethod
    def of(cls, plugin: Mapping[str, str], home: str) -> "Place":
        """From `sieve` and `sieve_dir` of plugin { }. Raises ScriptError where the user has no home."""
        location, _, options = plugin.get("sieve", "file:~/sieve;active=~/.dovecot.sieve").partition(";")
        active = next((word.partition("=")[2] for word in options.split(";") if word.startswith("active=")), "")
        if location.startswith("file:"):
            folder = location.removeprefix("file:")
            if not active and not folder.endswith(SUFFIX):
                active = "~/.dovecot.sieve"
        else:
            folder, active = "", location        # the old form: sieve is the active script itself
        folder = plugin.get("sieve_dir", "") or folder or "~/sieve"
        return cls(_path(folder, home), _path(active or "~/.dovecot.sieve", home))


def _path(text: str, home: str) -> Path:
    if os.path.isabs(text):
        return Path(text)
    if not home:
        raise ScriptError("This account has no home directory for scripts.")
    return Path(home) / text.removeprefix("~/")


@dataclass(frozen=True)
class Limits:
    """0: none. max_octets: of one script; storage: of all together."""

    max_octets: int = 1 << 20
    max_scripts: int = 0
    storage: int = 0


class ScriptStore:
    """One user's."""

    def __init__(self, place: Place, limits: Limits) -> None:
        self._folder, self._active, self._limits = place.folder, place.active, limits

    def names(self) -> list[tuple[str, bool]]:
        """All scripts by name, and whether each is the active one."""
        active = self.active()
        return [(name, name == active) for name, _ in self._entries()]

    def active(self) -> str:
        """Its name, "" for none."""
        try:
            target = os.readlink(self._active)
        except OSError:
            return ""
        path = os.path.normpath(os.path.join(self._active.parent, target))
        if os.path.dirname(path) != os.path.normpath(self._folder) or not path.endswith(SUFFIX):
            return ""
        name = os.path.basename(path).removesuffix(SUFFIX)
        return name if os.path.exists(path) else ""

    def check_space(self, name: str, octets: int) -> None:
        """Raises ScriptError when a script of that size may not be put there."""
        limits = self._limits
        if limits.max_octets and octets > limits.max_octets:
            raise ScriptError(f"Script is too large (max {limits.max_octets} bytes).", "QUOTA/MAXSIZE")
        if not limits.max_scripts and not limits.storage:
            return
        others = [size for other, size in self._entries() if other != name]
        if limits.max_scripts and len(others) + 1 > limits.max_scripts:
            raise ScriptError(f"Script count quota exceeded (max {limits.max_scripts} scripts).", "QUOTA/MAXSCRIPTS")
        if limits.storage and sum(others) + octets > limits.storage:
            raise ScriptError(f"Script storage quota exceeded (max {limits.storage} bytes).", "QUOTA/MAXSTORAGE")

    def put(self, name: str, content: bytes) -> None:
        path = self._path(name)
        self.check_space(name, len(content))
        os.makedirs(self._folder / "tmp", mode=0o700, exist_ok=True)
        write_whole(path, content, mode=0o600)

    def get(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            raise _missing(name) from None

    def delete(self, name: str) -> None:
        path = self._path(name)
        if not path.exists():
            raise _missing(name)
        if name == self.active():
            raise ScriptError("Cannot delete the active Sieve script.", "ACTIVE")
        path.unlink()

    def rename(self, name: str, new: str) -> None:
        old_path, new_path = self._path(name), self._path(new)
        if not old_path.exists():
            raise _missing(name)
        if new_path.exists():
            raise ScriptError("A sieve script with that name already exists.", "ALREADYEXISTS")
        was_active = name == self.active()
        if was_active:
            # A link made first: at no moment is there an active script that does not exist.
            os.link(old_path, new_path)
            self._point_at(new)
            old_path.unlink()
        else:
            os.rename(old_path, new_path)

    def activate(self, name: str) -> bool:
        """False when it was active already."""
        if not self._path(name).exists():
            raise _missing(name)
        if name == self.active():
            return False
        self._keep_plain_file()
        self._point_at(name)
        return True

    def deactivate(self) -> bool:
        """False when there was no active script."""
        self._keep_plain_file()
        try:
            os.unlink(self._active)
        except FileNotFoundError:
            return False
        return True

    # --- files ------------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        if not is_valid_name(name):
            raise ScriptError(f"Invalid Sieve script name `{name}'.")
        return self._folder / (name + SUFFIX)

    def _entries(self) -> Iterator[tuple[str, int]]:
        """Name and size of each script, by name."""
        try:
            found = sorted(os.scandir(self._folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        for entry in found:
            name = entry.name.removesuffix(SUFFIX)
            if name != entry.name and is_valid_name(name) and entry.is_file():
                yield name, entry.stat().st_size

    def _point_at(self, name: str) -> None:
        """Put the link in place, in one step."""
        target = os.path.relpath(self._folder / (name + SUFFIX), self._active.parent)
        temporary = self._folder / "tmp" / f"active.{os.getpid()}"
        os.makedirs(temporary.parent, mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(target, temporary)
        os.rename(temporary, self._active)

    def _keep_plain_file(self) -> None:
        """Who wrote ~/.dovecot.sieve by hand finds it among the scripts afterwards, as Pigeonhole does it."""
        if self._active.is_symlink() or not self._active.is_file():
            return
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        os.rename(self._active, self._folder / ("dovecot.orig" + SUFFIX))


def is_valid_name(name: str) -> bool:
    """RFC 5804 section 1.6, and nothing that a file cannot be called."""
    return bool(name) and len(name.encode("utf-8", "surrogateescape")) <= NAME_LIMIT - len(SUFFIX) and (
        _BAD_IN_NAME.search(name) is None)


def _missing(name: str) -> ScriptError:
    return ScriptError(f"Sieve script `{name}' not found", "NONEXISTENT")
