"""userdb { driver = passwd }: the system's users; userdb { driver = prefetch }: what the passdb already said."""

from mailsuite.base.errors import TemporaryError
from mailsuite.sasl import system
from mailsuite.sasl.passdb import Field, split_fields
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest


class PasswdUserdb:
    """getpwnam. Supplementary groups come by system_groups_user. Fields in args are laid over."""

    driver = "passwd"
    cache_key = "%u"

    def __init__(self, args: str, pool: HashPool, first_uid: int, last_uid: int) -> None:
        self._pool, self._range = pool, (first_uid, last_uid)
        self._template = [(name, value) for name, value in split_fields(args) if name != "blocking"]

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        try:
            entry = await self._pool.run(system.passwd, request.user)
        except KeyError:
            return None
        except OSError as error:
            raise TemporaryError("internal error", detail=f"getpwnam() failed: {error}") from error
        given = dict(self._template)
        fields = {"system_groups_user": entry.pw_name, "uid": str(entry.pw_uid), "gid": str(entry.pw_gid),
                  "home": entry.pw_dir}
        return (*((name, value) for name, value in fields.items() if name not in given),
                *((name, request.expand(value)) for name, value in self._template))

    async def names(self) -> list[str]:
        return await self._pool.run(system.user_names, *self._range)


class PrefetchUserdb:
    """The "userdb_" fields of the password database; without a login before it, there is no such user here."""

    driver = "prefetch"
    cache_key = ""

    async def find(self, request: AuthRequest) -> tuple[Field, ...] | None:
        return () if request.prefetched else None       # the fields are there already

    async def names(self) -> None:
        return None
