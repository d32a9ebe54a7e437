"""userdb { driver = passwd-file }: args = [username_format=F] PATH; extra fields that begin with "userdb_"."""

from mailsuite.base.errors import ConfigError
from mailsuite.base.log import access_logger
from mailsuite.sasl import system
from mailsuite.sasl.fields import expanded
from mailsuite.sasl.passdb import Field, split_fields
from mailsuite.sasl.passwd_file import PasswdFiles, split_args
from mailsuite.sasl.request import AuthRequest

_PREFIX = "userdb_"

log = access_logger("auth")


class PasswdFileUserdb:
    """uid, gid, home and extra fields of a passwd-file."""

    driver = "passwd-file"
    cache_key = ""

    def __init__(self, args: str, files: PasswdFiles, *, sole: bool = True) -> None:
        """sole: the only user database; beside others, entries with a password only are not its users."""
        _, self._format, self._path = split_args(args, "")
        self._files, self._sole = files, sole
        if not self._path:
            raise ConfigError("userdb passwd-file: Missing args: the file's path")

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        path = request.expand(self._path)
        entry = await self._files.find(path, request.expand(self._format))
        if entry is None:
            return None
        if len(entry) < 4:
            if self._sole:
                log.error("passwd-file %s: User %s is missing userdb info", path, entry[0])
            return None
        entry = entry + [""] * (8 - len(entry))
        for name, value, number in (("UID", entry[2], system.uid_of), ("GID", entry[3], system.gid_of)):
            if value and not await self._files.is_usable(number, value):
                log.error("passwd-file %s: User %s has invalid %s '%s'", path, entry[0], name, value)
                return None
        fields: list[Field] = [
            pair for pair in (("uid", entry[2]), ("gid", entry[3]), ("home", entry[5])) if pair[1]]
        extra = [(name.removeprefix(_PREFIX), value) for name, value in split_fields(entry[7])
                 if name.startswith(_PREFIX)]
        return (*fields, *expanded(request, extra, prefix=""))

    async def names(self) -> list[str] | None:
        return None if "%" in self._path else await self._files.names(self._path, 1 if self._sole else 3)
