"""What a command may touch, and how it answers.

A command is a generator function: it yields untagged replies in blocks of some 32 KB and returns a `Reply`. It runs
in a thread, one block at a time; between two blocks the server writes the first and waits until the client has read
it. So a command may block and hold the mailbox's lock within a step, never across a yield.

    def do_check(context: Context, command: Command) -> Run:
        context.opened().mailbox.checkpoint()
        yield from context.sync()
        return Reply(OK, "Check completed")

Raises: PeerError for wrong arguments (BAD), MailError for what can't be done (NO); `answer_of` in commands/__init__.py
turns them into replies.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.names import shown_name, stored_name
from mailsuite.imap.params import Params
from mailsuite.imap.reply import Reply, mailbox_name
from mailsuite.imap.syntax import Argument, Atom, String, text_of
from mailsuite.imap.view import Selected
from mailsuite.store.api import Mailbox, MailStore

if TYPE_CHECKING:
    from mailsuite.imap.commands.notices import Notices
    from mailsuite.imap.commands.url_content import Asker

Run = Generator[bytes, None, Reply]
REV2, UTF8, UIDONLY = "IMAP4REV2", "UTF8=ACCEPT", "UIDONLY"        # of ENABLE


class Mail(Protocol):
    """What all sessions of a user have in common. modseqs: mailboxes whose MODSEQs a client has asked for."""

    modseqs: set[str]

    @property
    def store(self) -> MailStore: ...

    @property
    def open_store(self) -> MailStore | None:
        """The store, if it is open already."""
        ...

    def fetch_url(self, owners: Sequence[str], url: bytes, wanted: Sequence[str] | None, asker: "Asker",
                  most: int) -> bytes:
        """What a URL gives of another user's mail, as url_content.fetched; owners: names that may be that user's. most:
        octets.

        Raises UrlRefused.
        """
        ...


@dataclass
class Counts:
    """What the log line at the end of a session tells."""

    deleted: int = 0
    expunged: int = 0
    headers: int = 0
    header_octets: int = 0
    bodies: int = 0
    body_octets: int = 0


@dataclass
class Context:
    """One session's world. enabled: of ENABLE. farewell: said instead of a tagged reply, then the connection ends."""

    mail: Mail
    params: Params = field(default_factory=Params)
    selected: Selected | None = None
    enabled: set[str] = field(default_factory=set)
    counts: Counts = field(default_factory=Counts)
    farewell: bytes = b""
    compress: bool = False              # from the next octet on
    given_back: bool = False            # after this command the connection belongs to a login process again
    anonymous: bool = False             # logged in without a name
    left: bool = False                  # the client went away: long work may end
    notices: "Notices | None" = None    # after NOTIFY

    @property
    def store(self) -> MailStore:
        return self.mail.store

    def offers(self, extension: str) -> bool:
        """By its name in imap/extensions.py."""
        return extension in self.params.offered

    @property
    def rev2(self) -> bool:
        """The client speaks IMAP4rev2 (RFC 9051)."""
        return REV2 in self.enabled

    @property
    def utf8(self) -> bool:
        """Names of mailboxes are UTF-8 on the wire."""
        return REV2 in self.enabled or UTF8 in self.enabled

    def append_limit(self) -> int | None:
        """Octets that a message may have which is put into a mailbox (RFC 7889); None: any."""
        quota = self.store.quota
        limits = [each for each in (self.params.append_limit, quota.largest if quota is not None else 0) if each]
        return min(limits) if limits else None

    def mailbox(self, argument: Argument, *, new: bool = False) -> str:
        """The name that a client wrote, as the store calls it. new: of a mailbox that is to be made."""
        name = astring(argument)
        return stored_name(name, new=new, exists=self.store.exists) if self.utf8 else name

    def shown(self, name: str) -> bytes:
        """A stored name for the wire."""
        return shown_name(name) if self.utf8 else mailbox_name(name)

    def opened(self) -> Selected:
        """The selected mailbox; the table's rules have seen that there is one."""
        assert self.selected is not None
        return self.selected

    def sync(self, *, expunges: bool = True, refresh: bool = True, uid: bool = False,
             recent: bool | None = None, own: bool = False) -> Generator[bytes, None, None]:
        """What happened in the selected mailbox, if there is one, and if the client wants to know.

        own: this command changed it.
        """
        selected, notices = self.selected, self.notices
        if selected is None or notices is not None and not (own or notices.tells_messages):
            return
        selected.items = notices.items if notices is not None else ()
        out = selected.sync(expunges=expunges, refresh=refresh, uid=uid or notices is not None, recent=recent,
                            flags=own or notices is None or notices.tells_flags)
        if selected.gone:
            self.farewell = b"* BYE IMAP session state is inconsistent, please relogin.\r\n"
        if out:
            yield out
        if selected.fresh:
            from mailsuite.imap.commands.fetch import show  # which needs this module
            for uids, items, late in selected.fresh:
                yield from show(self, selected, uids, items)
                if late:
                    yield late

    def news(self, *, idle: bool) -> Generator[bytes, None, None]:
        """What is told between commands, or in IDLE."""
        notices = self.notices
        if notices is None:
            yield from self.sync()
            return
        yield from notices.news()
        yield from self.sync(expunges=idle or notices.tells_expunges_at_once)

    def added(self, mailbox: Mailbox, uids: Sequence[int]) -> None:
        """This session put messages into a mailbox: its client need not be told what they are."""
        if self.selected is not None and self.selected.mailbox is mailbox:
            self.selected.own_uids.update(uids)
        elif self.notices is not None:
            self.notices.added(mailbox, uids)

    def names_changed(self, *names: str) -> None:
        """This session made, renamed, deleted or subscribed to mailboxes."""
        if self.notices is not None:
            self.notices.names_changed(*names)

    def modseq_code(self) -> str:
        """HIGHESTMODSEQ for the tagged reply, when a QRESYNC client has to learn a new one.

        While an expunge waits to be told it is the one before: a client that kept a higher MODSEQ of a FETCH, and lost
        its connection now, would never learn of the expunge (RFC 7162 sections 3.2.4 and 6).
        """
        selected = self.selected
        if selected is None or "QRESYNC" not in self.enabled or not selected.mailbox.keeps_modseqs:
            return ""
        highest = selected.view.modseq
        if highest == selected.known_modseq:
            return ""
        selected.known_modseq = highest
        return f"HIGHESTMODSEQ {highest}"

    def modseq_line(self) -> Generator[bytes, None, None]:
        """The same where the tagged reply has another code."""
        if code := self.modseq_code():
            yield f"* OK [{code}] Highest\r\n".encode()

    def use_modseqs(self, what: str = "") -> Generator[bytes, None, None]:
        """A command that needs MODSEQs switches them on (RFC 7162 section 3.1).

        what: of the command needs those of the selected mailbox. Raises PeerError where they are not kept.
        """
        selected = self.selected
        lasting = selected is not None and selected.mailbox.keeps_modseqs
        if what and selected is not None and not lasting:
            raise PeerError(f"{what} can't be used with non-permanent modseqs")     # RFC 7162 section 3.1.2.2
        if "CONDSTORE" not in self.enabled:
            self.enabled.add("CONDSTORE")
            if selected is not None and lasting:
                selected.modseqs = True
                selected.known_modseq = selected.view.modseq
                yield b"* OK [HIGHESTMODSEQ %d] Highest\r\n" % selected.known_modseq
        if selected is not None:
            self.mail.modseqs.add(selected.name)

    def leave(self) -> bool:
        """Close the selected mailbox without expunging; False when there was none."""
        if self.selected is None:
            return False
        selected, self.selected = self.selected, None
        if self.notices is not None and not selected.gone:
            self.notices.left(selected)
        selected.close()
        return True

    def has_left(self) -> bool:
        """Asked by what takes long."""
        return self.left

    def has_selected(self, mailbox: Mailbox) -> bool:
        return self.selected is not None and self.selected.mailbox is mailbox

    def open(self, name: str, *, right: str = "r") -> Mailbox:
        """A mailbox by name: the selected one is the same object. Raises what MailStore.open does."""
        return self.store.open(name, right=right)


def astring(argument: Argument) -> str:
    """A mailbox name or the like. Raises PeerError."""
    if not isinstance(argument, Atom | String):
        raise PeerError("Invalid arguments")
    return text_of(argument)


def at_least(arguments: list[Argument], count: int) -> None:
    """Raises PeerError when arguments are missing; more than that are ignored, as Dovecot does."""
    if len(arguments) < count:
        raise PeerError("Missing arguments")


def word(argument: Argument) -> str:
    """An atom in upper case. Raises PeerError."""
    if not isinstance(argument, Atom):
        raise PeerError("Invalid arguments")
    return argument.decode("ascii").upper()
