"""What all sessions in one worker process share.

A worker serves some users of one uid; all sessions of a user meet here. `imap.server.serve_user` and
`pop3.server.serve_user` get the worker's UserWorld and keep there what the sessions of one user share:

    async def serve_user(sock, handover: HandOver, user: UserInfo, world: UserWorld) -> None
        with world.user(user.user, UserMail) as mail:      # made for the first session, dropped after the last
            ...

serve_user owns the socket, returns when the session is over, and ends it when the worker stops (`world.begin`).
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

    begin, over: around a session, with what it does when the worker is to end (it says BYE in its protocol's words).
    at_leisure(call): calls what nobody waits for, a little later (worker_logins.py).
    """

    def __init__(self, dovecot: "DovecotSettings", settings: "Settings") -> None:
        self.dovecot, self.settings = dovecot, settings
        self.stopping = False
        self.at_leisure: AtLeisure = at_once
        self._goodbyes: dict[Callable[[], None], str] = {}
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

    def begin(self, goodbye: Callable[[], None], name: str) -> None:
        """A session begins: until `over`, goodbye is called when the worker stops, or the session of this name is to
        end; at once if the worker stops already."""
        self._goodbyes[goodbye] = name
        if self.stopping:
            goodbye()

    def over(self, goodbye: Callable[[], None]) -> None:
        """The session has ended."""
        del self._goodbyes[goodbye]

    def user(self, name: str, make: Callable[[], T]) -> AbstractContextManager[T]:
        """The object that all sessions of a user share; `close()` is called on it, if it has one, after the last."""
        return _Shared(self._shared, name, make)


class _Shared(Generic[T]):
    """A user's object while a session lasts. No generator: each login would pay for one."""

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
