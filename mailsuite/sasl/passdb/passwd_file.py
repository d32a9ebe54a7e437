"""passdb { driver = passwd-file }: args = [scheme=S] [username_format=F] PATH, %-variables allowed in both.

Nothing of it needs a cache: files are in memory.
"""

import re

from mailsuite.base.errors import ConfigError
from mailsuite.sasl.fields import expanded
from mailsuite.sasl.passdb import Found, LookupOnly, split_fields
from mailsuite.sasl.passwd_file import PasswdFiles, split_args
from mailsuite.sasl.request import AuthRequest

_PAM_FORMAT = re.compile(r"(.*)\[(13|34)\]")


class PasswdFilePassdb(LookupOnly):
    """Stored passwords of a passwd-file."""

    driver = "passwd-file"

    def __init__(self, args: str, files: PasswdFiles) -> None:
        self._scheme, self._format, self._path = split_args(args, "CRYPT")
        self._files = files
        if not self._path:
            raise ConfigError("passdb passwd-file: Missing args: the file's path")

    async def find(self, request: AuthRequest) -> Found | None:
        entry = await self._files.find(request.expand(self._path) if "%" in self._path else self._path,
                                       request.expand(self._format))
        if entry is None:
            return None
        password, scheme = entry[1] if len(entry) > 1 else "", self._scheme
        # libpam-pwdfile's way to name DES and MD5.
        if password.endswith("]") and (match := _PAM_FORMAT.fullmatch(password)):
            password, scheme = match[1], {"13": "CRYPT", "34": "PLAIN-MD5"}[match[2]]
        if len(entry) < 8 or not entry[7]:
            return Found((("password", password),), scheme)
        return Found((("password", password), *expanded(request, split_fields(entry[7]))), scheme)

    async def decoy(self, request: AuthRequest) -> tuple[str, str] | None:
        entry = await self._files.first(request.expand(self._path))
        return None if entry is None else (self._scheme, entry[1])
