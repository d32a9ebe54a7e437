"""When a session that said NOTIFY is to be told: watches what its notices are about, and wakes it.

    notifier = Notifier(session)            session: server.Handler
    await notifier.arranged()               in its turn, after each command: watch what matters now
    notifier.stop()

A change is told at once, several that come meanwhile together; what cannot be watched is polled every POLL_S seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from mailsuite.access.user_mail import UserMail
from mailsuite.access.watching import Told, Watched, Watching
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.notices import Mark, Notices
from mailsuite.imap.teller import Teller
from mailsuite.imap.view import Selected
from mailsuite.store.watch import GONE, POLL_S, Event


class Session(Protocol):
    """What is used of server.Handler."""

    mail: UserMail
    context: Context
    extra: dict[str, str]

    def tell_news(self) -> Awaitable[None]:
        """Tell what is new; takes its turn among the commands."""
        ...


class Notifier:
    """Of one session."""

    def __init__(self, session: Session) -> None:
        self._session, self._loop = session, asyncio.get_running_loop()
        self._notices: Notices | None = None
        self._generation = 0
        self._watched = self._new_watched()
        self._lost = False                      # a folder that was watched is gone
        self._timer: asyncio.TimerHandle | None = None
        self._selected: Selected | None = None
        self._unwatch: Callable[[], None] = lambda: None
        self._telling = Teller("NOTIFY", session.tell_news, session.extra)

    async def arranged(self) -> None:
        """Watch what matters now."""
        context = self._session.context
        notices = context.notices
        if notices is not None and (notices is not self._notices or notices.generation != self._generation
                                    or self._lost):
            if notices is not self._notices:
                self._stop_watching()
            self._notices, self._generation, self._lost = notices, notices.generation, False
            wanted = {path: self._teller(notices, path) for path in notices.places}
            watched = self._watched
            for path in await self._session.mail.run(lambda: watched.update(wanted)):
                for place in notices.places.get(path, ()):      # what happened before it was watched
                    notices.mark(Mark(place.mark.mailbox, "doubt") if place.mark.mailbox else place.mark)
            self._poll_later()
        if notices is not None and notices.marked:
            self.wake()
        self._watch_selected(context.selected if notices is not None and notices.tells_messages else None)

    def _teller(self, notices: Notices, path: str) -> Told:
        def told(event: Event) -> None:
            if event.mask & GONE:
                self._watched.lost(path)
                self._lost = True
                notices.mark_all()
            for place in notices.places.get(path, ()):
                if place.fits(event):
                    notices.mark(place.mark)
            if notices.marked:
                self.wake()

        return told

    def _stop_watching(self) -> None:
        """Of what an earlier NOTIFY asked."""
        before, self._watched = self._watched, self._new_watched()
        self._session.mail.start(before.stop)

    def _new_watched(self) -> Watched:
        return Watched(Watching.of(self._loop), self._session.context.params.notify_max_watches)

    def _poll_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._watched.missed and not self._telling.stopped:
            self._timer = self._loop.call_later(POLL_S, self._poll)

    def _poll(self) -> None:
        if self._notices is not None:
            self._notices.mark_all()
            self.wake()
        self._poll_later()

    def _watch_selected(self, selected: Selected | None) -> None:
        if selected is self._selected:
            return
        self._unwatch()
        self._selected = selected
        self._unwatch = lambda: None
        if selected is not None:
            self._unwatch = self._session.mail.watch(selected.mailbox, self.wake)

    def wake(self) -> None:
        """Tell now; a notice that comes meanwhile makes one more."""
        self._telling.wake()

    def stop(self) -> None:
        self._telling.stop()
        self._watch_selected(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._stop_watching()
