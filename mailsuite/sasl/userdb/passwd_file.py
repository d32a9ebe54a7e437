"""userdb { driver = passwd-file }: args = [username_format=F] PATH; extra fields that begin with "userdb_"."""

from mailsuite.base.errors import ConfigError
from mailsuite.sasl.passdb import Field, split_fields
from mailsuite.sasl.passwd_file import PasswdFiles, split_args
from mailsuite.sasl.request import AuthRequest

_PREFIX = "userdb_"


class PasswdFileUserdb:
    """uid, gid, home and extra fields of a passwd-file."""

    driver = "passwd-file"
    cache_key = ""

    def __init__(self, args: str, files: PasswdFiles) -> None:
        _, self._format, self._path = split_args(args, "")
        self._files = files
        if not self._path:
            raise ConfigError("userdb passwd-file: Missing args: the file's path")

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        entry = await self._files.find(request.expand(self._path), request.expand(self._format))
        if entry is None:
            return None
        entry = entry + [""] * (8 - len(entry))
        fields: list[Field] = [
            pair for pair in (("uid", entry[2]), ("gid", entry[3]), ("home", entry[5])) if pair[1]]
        for name, value in split_fields(entry[7]):
            if name.startswith(_PREFIX):
                fields.append((name.removeprefix(_PREFIX), request.expand(value)))
        return tuple(fields)

    async def names(self) -> list[str] | None:
        return None if "%" in self._path else await self._files.names(self._path)
