"""What all sessions in one worker process share.

A worker serves some users of one uid; all sessions of a user meet here. `imap.server.serve_user` and
`pop3.server.serve_user` get the worker's UserWorld and keep there what the sessions of one user share:

    async def serve_user(sock, handover: HandOver, user: UserInfo, world: UserWorld) -> None
        with world.user(user.user, UserMail) as mail:      # made for the first session, dropped after the last
            ...

serve_user owns the socket, returns when the session is over, and ends it when the worker stops (`world.at_stop`).
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.config.settings import Settings

T = TypeVar("T")
AtLeisure = Callable[[Callable[[], None]], None]


def at_once(call: Callable[[], None]) -> None:
    """No leisure at all."""
    call()


class UserWorld:
    """dovecot, settings: as they are now; a reload puts new ones in their place, sessions keep what they took.

    at_stop: what a session does when the worker is to end (it says BYE in its protocol's words).
    at_leisure(call): calls what nobody waits for, a little later (worker_logins.py).
    """

    def __init__(self, dovecot: "DovecotSettings", settings: "Settings") -> None:
        self.dovecot, self.settings = dovecot, settings
        self.stopping = False
        self.at_leisure: AtLeisure = at_once
        self._goodbyes: dict[Callable[[], None], str] = {}
        self.sessions = 0
        self._shared: dict[str, tuple[object, int]] = {}

    def stop(self) -> None:
        """Have all sessions say goodbye; those that begin now do so at once."""
        self.stopping = True
        for goodbye in list(self._goodbyes):
            goodbye()

    def end(self, names: Iterable[str]) -> None:
        """Have the sessions of these names say goodbye (doveadm kick)."""
        wanted = set(names)
        for goodbye, name in list(self._goodbyes.items()):
            if name in wanted:
                goodbye()

    def at_stop(self, goodbye: Callable[[], None], name: str = "") -> AbstractContextManager[None]:
        """goodbye is called when the worker stops while this lasts, or the session of this name is to end."""
        return _Lasting(self, self._goodbyes, goodbye, name)

    def user(self, name: str, make: Callable[[], T]) -> AbstractContextManager[T]:
        """The object that all sessions of a user share; `close()` is called on it, if it has one, after the last."""
        return _Shared(self._shared, name, make)


# Classes instead of generators: a session comes and goes through each, at a third of the calls.


class _Lasting:
    """at_stop's."""

    __slots__ = ("_goodbye", "_goodbyes", "_name", "_world")

    def __init__(self, world: UserWorld, goodbyes: dict[Callable[[], None], str], goodbye: Callable[[], None],
                 name: str) -> None:
        self._world, self._goodbyes, self._goodbye, self._name = world, goodbyes, goodbye, name

    def __enter__(self) -> None:
        self._goodbyes[self._goodbye] = self._name
        if self._world.stopping:
            try:
                self._goodbye()
            except BaseException:
                del self._goodbyes[self._goodbye]
                raise

    def __exit__(self, *_: object) -> None:
        del self._goodbyes[self._goodbye]


class _Shared(Generic[T]):
    """user's."""

    __slots__ = ("_all", "_make", "_name")

    def __init__(self, every: dict[str, tuple[object, int]], name: str, make: Callable[[], T]) -> None:
        self._all, self._name, self._make = every, name, make

    def __enter__(self) -> T:
        known = self._all.get(self._name)
        thing, count = (self._make(), 0) if known is None else known
        self._all[self._name] = thing, count + 1
        return cast(T, thing)

    def __exit__(self, *_: object) -> None:
        thing, count = self._all[self._name]
        if count > 1:
            self._all[self._name] = thing, count - 1
            return
        del self._all[self._name]
        close = getattr(thing, "close", None)
        if close is not None:
            close()
