"""What all sessions in one worker process share.

A worker serves some users of one uid; all sessions of a user meet here. `imap.server.serve_user` and
`pop3.server.serve_user` get the worker's UserWorld and keep there what the sessions of one user share:

    async def serve_user(sock, handover: HandOver, user: UserInfo, world: UserWorld) -> None
        with world.user(user.user, UserMail) as mail:      # made for the first session, dropped after the last
            ...

serve_user owns the socket, returns when the session is over, and ends it when the worker stops (`world.at_stop`).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

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

    @contextmanager
    def at_stop(self, goodbye: Callable[[], None], name: str = "") -> Iterator[None]:
        """goodbye is called when the worker stops while this lasts, or the session of this name is to end."""
        self._goodbyes[goodbye] = name
        try:
            if self.stopping:
                goodbye()
            yield
        finally:
            del self._goodbyes[goodbye]

    @contextmanager
    def user(self, name: str, make: Callable[[], T]) -> Iterator[T]:
        """The object that all sessions of a user share; `close()` is called on it, if it has one, after the last."""
        thing, count = self._shared.get(name, (None, 0))
        if thing is None:
            thing = make()
        self._shared[name] = (thing, count + 1)
        try:
            yield cast(T, thing)
        finally:
            thing, count = self._shared[name]
            if count > 1:
                self._shared[name] = (thing, count - 1)
            else:
                del self._shared[name]
                close = getattr(thing, "close", None)
                if close is not None:
                    close()
