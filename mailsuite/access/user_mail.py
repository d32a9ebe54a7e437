"""One user's mail in this process, as all IMAP and POP3 sessions of the user share it.

    with UserMail.of(user, settings, world) as mail:
        await mail.ready()                          finds out that there can be a store, mail.store opens it
        store = await mail.opened()                 opens the store in a thread, for the first session
        result = await mail.run(mailbox.status)     any blocking call
        mail.watch(mailbox, wake) -> stop           change notices for IDLE, from this process and from others

After the last session the store stays open for LINGER_S: most clients come back soon, and what is in memory need not
be read again. It is closed in a thread; who comes meanwhile waits for that, so two stores never work on one mailbox.
At most LINGERING stores wait so, the oldest goes first. Blocking calls run in the process's threads (threads.py).
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeVar

from mailsuite.access.indexing import indexer
from mailsuite.access.threads import Job, pool
from mailsuite.access.user_store import is_simple, location_of, open_user_store, specs_of
from mailsuite.access.watching import Watched, Watching
from mailsuite.base.errors import ConfigError, MailError
from mailsuite.base.log import access_logger
from mailsuite.quota.user_quota import has_quotas
from mailsuite.sasl.user import UserInfo
from mailsuite.store.api import Mailbox, MailStore
from mailsuite.store.expiry import expire, expiring
from mailsuite.store.opening import check_location, opens_without_files
from mailsuite.store.options import MailboxRule, StoreOptions
from mailsuite.store.watch import POLL_S, Event

if TYPE_CHECKING:
    from mailsuite.access.world import UserWorld
    from mailsuite.config.dovecot import DovecotSettings
    from mailsuite.imap.commands.url_content import Asker

T = TypeVar("T")
log = access_logger("imap")
LINGER_S = 60.0         # how long a store stays open without a session
LINGERING = 50          # how many do
_RIGHTS = "acl_user", "acl_groups", "master_user"


_closing: dict[str, Job[None]] = {}
_lingering: "dict[str, tuple[UserMail, asyncio.TimerHandle]]" = {}


def get_ready(settings: "DovecotSettings") -> None:
    """Work out what the settings say for all users. What the access service knows its workers need not find out."""
    with contextlib.suppress(ConfigError):          # told when a session needs it
        _expiring(settings)
        _is_plain(settings)


class UserMail:
    """location: of the user's mail. expires: some mailbox has autoexpunge. modseqs: mailboxes in which a client has
    asked for MODSEQs (CONDSTORE)."""

    def __init__(self, user: UserInfo, settings: "DovecotSettings", location: str = "", key: str = "") -> None:
        """location, key: as location_of and key have them, where they are known."""
        self.user, self.location = user, location or location_of(user, settings)
        self._key, self._settings = key or _key(user, self.location), settings
        self.options, self._expiring = _expiring(settings)
        self.expires = bool(self._expiring)
        self._making = threading.Lock()
        self.modseqs: set[str] = set()
        self.pop3_locked = False                # pop3_lock_session: a session has the mailbox
        self._store: MailStore | None = None
        self._opening: asyncio.Lock | None = None           # who opens the store has it
        self._watchers: dict[int, _Watcher] = {}

    @staticmethod
    def key(user: UserInfo, settings: "DovecotSettings") -> str:
        """What sessions must agree in to share one store."""
        return _key(user, location_of(user, settings))

    @classmethod
    def of(cls, user: UserInfo, settings: "DovecotSettings",
           world: "UserWorld") -> "contextlib.AbstractContextManager[UserMail]":
        """That of all the user's sessions in this process."""
        location = location_of(user, settings)
        key = _key(user, location)
        return world.user(key, partial(cls, user, settings, location, key))

    @property
    def store(self) -> MailStore:
        """After `ready` or `opened`; also from threads."""
        if self._store is None:
            with self._making:
                if self._store is None:
                    self._store = self._open()
        return self._store

    @property
    def open_store(self) -> MailStore | None:
        """The store, if it is open already."""
        return self._store

    async def ready(self) -> None:
        """As `opened`, for who may never need the store: a Maildir's is made by the first command that looks at mail.
        Raises MailError."""
        if self._store is None and self._opening is None and self._key not in _closing \
                and (self._key not in _lingering or not self._take_over()) \
                and opens_without_files(self.location) and _is_plain(self._settings):
            check_location(self.user.user, self.user.home, self.location)
        else:
            await self.opened()

    async def opened(self) -> MailStore:
        """The store, opened by the first who asks. Raises MailError."""
        if self._store is None:
            self._opening = self._opening or asyncio.Lock()
            async with self._opening:
                if not self._take_over() and self._store is None:
                    before = _closing.get(self._key)
                    if before is not None:
                        await before.ended()
                    await self.run(lambda: self.store)
        return self.store

    def _open(self) -> MailStore:
        store = open_user_store(self.user, self._settings, self.options)
        store.text_wanted = partial(indexer().want, store)
        return store

    def _take_over(self) -> bool:
        """The store that the last session left behind, if it did."""
        waiting = _lingering.pop(self._key, None)
        if waiting is None:
            return False
        before, timer = waiting
        timer.cancel()
        self._store, before._store = before._store, None
        self.modseqs |= before.modseqs
        return True

    async def expire(self) -> int:
        """A session is over: autoexpunge. How many messages went."""
        if not self._expiring:
            return 0
        try:
            await self.opened()
        except MailError as error:
            log.error("autoexpunge for %s: %s", self.user.user, error.detail or error.public)
            return 0
        return await self.run(lambda: sum(expire(self.store, rules, prefix) for prefix, rules in self._expiring))

    def fetch_url(self, owners: Sequence[str], url: bytes, wanted: Sequence[str] | None, asker: "Asker",
                  most: int) -> bytes:
        """Of another user's mail (imap.commands.context.Mail). Raises UrlRefused."""
        from mailsuite.access.url_service import UrlRequest, ask

        return ask(self._settings.text("base_dir"), UrlRequest(owners, url, wanted, asker, most))

    def start(self, call: Callable[[], T]) -> Job[T]:
        """A blocking call in a thread."""
        return pool().start(call)

    async def run(self, call: Callable[[], T]) -> T:
        """A blocking call in a thread, and its result."""
        return await pool().start(call).future

    def watch(self, mailbox: Mailbox, wake: Callable[[], None]) -> Callable[[], None]:
        """Call wake in the event loop after each change of the mailbox, by whomever; returns what ends it."""
        watcher = self._watchers.get(id(mailbox))
        if watcher is None:
            watcher = self._watchers[id(mailbox)] = _Watcher(mailbox)
        watcher.wakes.append(wake)

        def stop() -> None:
            watcher.wakes.remove(wake)
            if not watcher.wakes and self._watchers.get(id(mailbox)) is watcher:
                del self._watchers[id(mailbox)]
                watcher.close()

        return stop

    def close(self) -> None:
        """After the last session: leave the store open for a while."""
        if self._store is None:
            return
        if not self._store.used:
            self._store = None              # a login that looked at nothing leaves nothing
            return
        self._linger()
        if len(_lingering) > LINGERING:
            oldest, _ = _lingering[next(iter(_lingering))]
            oldest._forget()

    def _linger(self) -> None:
        timer = asyncio.get_running_loop().call_later(LINGER_S, self._lingered)
        _lingering[self._key] = (self, timer)

    def _lingered(self) -> None:
        """Nobody came back; full text that is being built is finished first."""
        if self._store is not None and indexer().works_on(self._store):
            self._linger()
        else:
            self._forget()

    def _forget(self) -> None:
        """Close the store, in a thread."""
        waiting = _lingering.pop(self._key, None)
        if waiting is not None:
            waiting[1].cancel()
        store, self._store = self._store, None
        if store is None:
            return
        closing = _closing[self._key] = pool().start(partial(_close, store))
        closing.future.add_done_callback(self._closed)

    def _closed(self, result: "asyncio.Future[None]") -> None:
        if (closing := _closing.get(self._key)) is not None and closing.future is result:
            del _closing[self._key]
        if not result.cancelled() and (error := result.exception()) is not None:
            log.error("closing the mail of %s: %s", self.user.user, error)


def _close(store: MailStore) -> None:
    indexer().leave(store)
    store.close()


def _key(user: UserInfo, location: str) -> str:
    """UserMail's."""
    key, fields = f"{user.user}\0{user.home}\0{location}", user.fields
    for name in _RIGHTS if fields else ():
        if right := fields.get(name):
            key += "\0" + right
    return key


@lru_cache(maxsize=16)
def _expiring(settings: "DovecotSettings") -> tuple[StoreOptions, list[tuple[str | None, list[MailboxRule]]]]:
    """A store's options; and rules with the prefix of their namespace, None: that of INBOX."""
    options = StoreOptions.of(settings)
    found: list[tuple[str | None, list[MailboxRule]]] = [(None, expiring(options.mailboxes))]
    try:
        found += [(spec.prefix, expiring(spec.mailboxes)) for spec in specs_of(settings)
                  if spec.kind == "private" and not spec.inbox]
    except ConfigError:
        pass                                # told when the store is opened
    return options, [(prefix, rules) for prefix, rules in found if rules]


@lru_cache(maxsize=16)
def _is_plain(settings: "DovecotSettings") -> bool:
    """Nothing but its location counts for a store."""
    return is_simple(settings) and not has_quotas(settings)


class _Watcher:
    """Notices for one mailbox, shared by all sessions that idle in it."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox, self.wakes = mailbox, list[Callable[[], None]]()
        self._loop = asyncio.get_running_loop()
        self._watched = Watched(Watching.of(self._loop))
        self._watched.update(dict.fromkeys(mailbox.watch_paths(), self._noticed))
        self._timer = self._loop.call_later(POLL_S, self._poll) if self._watched.missed else None
        self._unlisten = mailbox.listen(self._from_thread)

    def _from_thread(self) -> None:
        with contextlib.suppress(RuntimeError):         # the loop may be closed
            self._loop.call_soon_threadsafe(self._wake)

    def _noticed(self, event: Event) -> None:
        self._wake()

    def _poll(self) -> None:
        self._timer = self._loop.call_later(POLL_S, self._poll)
        self._wake()

    def _wake(self) -> None:
        for wake in list(self.wakes):
            wake()

    def close(self) -> None:
        self._unlisten()
        if self._timer is not None:
            self._timer.cancel()
        self._watched.stop()
