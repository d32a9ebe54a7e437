"""APPEND, MULTIAPPEND (RFC 3502), CATENATE (RFC 4469), UTF8 (RFC 6855): messages flow to the store while they arrive.

The session asks before each literal (`AppendPart`), then sends its octets as Body, at last `AppendEnd`:

    appending = Appending(context)
    appending.part(question)                      raises what the client is told instead of "+ OK"
    appending.body(octets)                        in the event loop: a write to a temporary file, never synced here
    appending.end(question) -> Run                the tagged reply
    appending.abort()                             harmless after end()

A message is finished when the next is announced or the line ends; nothing is visible before the end.
"""

import time

from mailsuite.base.errors import MailError, PeerError
from mailsuite.imap import numbers
from mailsuite.imap.commands.catenate import fetch_url
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.commands.copy import open_target
from mailsuite.imap.commands.message_limit import check_save_limit
from mailsuite.imap.dates import parse_date_time
from mailsuite.imap.flags import parse_flags
from mailsuite.imap.reply import OK, Refusal, Reply
from mailsuite.imap.session import AppendEnd, AppendPart, Command
from mailsuite.imap.syntax import Argument, Atom, Literal, LiteralString, String
from mailsuite.store.api import Append, Mailbox


class Appending:
    """One APPEND under way."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.mailbox: Mailbox | None = None
        self.append: Append | None = None
        self.flags: list[str] = []
        self.date: float | None = None
        self.failure: MailError | None = None
        self.open_message = False           # a message is being written
        self.catenate: list[Argument] | None = None     # the parts of CATENATE, as far as they were read
        self.enclosing: list[Argument] | None = None    # the list of UTF8 (~{...}), which holds one literal
        self.octets = self.messages = 0                 # of the message that is being written; begun so far
        self.done_parts = 0

    def part(self, question: AppendPart) -> None:
        """A literal is announced. Raises PeerError, MailError: it is not wanted."""
        arguments = list(question.arguments)
        if question.first:
            self.target(arguments)
        if self.catenate is not None:
            at = next(place for place, each in enumerate(arguments) if each is self.catenate)
            arguments = arguments[at + 1:]
            self._catenate_parts(self.catenate, ends_in_literal=not arguments)
            if not arguments:
                return
        elif self.enclosing is not None:
            arguments = self._behind_enclosed(arguments)
        self.finish()
        self.count_message()
        if len(arguments) >= 2 and isinstance(arguments[-1], list) and _is_word(arguments[-2], b"CATENATE"):
            self.catenate = arguments[-1]
            self._options(arguments[:-2])
            self._catenate_parts(self.catenate, ends_in_literal=True)
            return
        if len(arguments) >= 2 and arguments[-1] == [] and _is_word(arguments[-2], b"UTF8"):
            self._begin_enclosed(arguments, question.literal)
        self._options(arguments)
        if question.literal.size == 0:
            raise Refusal("Can't save a zero byte message")
        self._check_size(question.literal.size)
        assert self.mailbox is not None
        self.admit(question.literal.size)               # before the client sends it; commit() counts all together
        self.open_message = True

    def admit(self, octets: int) -> None:
        """Raises OverQuota, TooLarge."""
        assert self.mailbox is not None
        self.mailbox.make_room([octets])
        self.mailbox.admit([octets])

    def target(self, arguments: list[Argument]) -> None:
        """Take what stands in front of the messages. Raises PeerError, MailError."""
        self.begin(self.context.mailbox(arguments.pop(0)))

    def begin(self, name: str) -> None:
        """Raises MailError when the mailbox takes nothing."""
        self.mailbox = open_target(self.context, name)
        self.append = self.mailbox.begin_append()

    def body(self, octets: bytes) -> None:
        """Into the store's temporary file; after a failure the rest is only swallowed."""
        if self.append is None or self.failure is not None:
            return
        try:
            self._write(octets)
        except MailError as error:
            self.failure = error

    def end(self, question: AppendEnd) -> Run:
        """The line ended: make it durable and visible."""
        if question.error:
            raise PeerError(question.error)
        validity, uids = self.finished(question)
        assert self.mailbox is not None
        self.context.added(self.mailbox, uids)
        yield from self.context.sync(refresh=self.context.has_selected(self.mailbox),
                                     own=self.context.has_selected(self.mailbox))
        if self.context.has_selected(self.mailbox):
            yield from self.context.modseq_line()
        if not self.mailbox.may("r"):
            return Reply(OK, "Append completed")
        return Reply(OK, "Append completed", f"APPENDUID {validity} {numbers.format_set(uids).decode()}")

    def finished(self, question: AppendEnd, *, replacing: str = "") -> tuple[int, list[int]]:
        """Commit; UIDVALIDITY and UIDs. replacing: a mailbox that a message leaves."""
        self._last_arguments(list(question.arguments))
        self.finish()
        if self.failure is not None:
            raise self.failure
        assert self.append is not None
        validity, uids = self.append.commit(replacing=replacing)
        self.append = None
        return validity, uids

    def abort(self) -> None:
        if self.append is not None:
            self.append.abort()
            self.append = None

    # --- limits ---------------------------------------------------------------------------------------------------

    def count_message(self) -> None:
        """RFC 9738 section 3.1: more messages than one command may make are refused before they come."""
        self.messages += 1
        check_save_limit(self.context, self.messages)

    def _check_size(self, octets: int) -> None:
        limit = self.context.params.append_limit
        if limit and octets > limit:
            raise Refusal(f"Message is larger than {limit} octets", "TOOBIG")

    def _write(self, octets: bytes) -> None:
        assert self.append is not None
        self.octets += len(octets)
        self._check_size(self.octets)
        self.append.write(octets)

    # --- UTF8 (~{n}...) of RFC 6855 section 4 -----------------------------------------------------------------------

    def _begin_enclosed(self, arguments: list[Argument], literal: Literal) -> None:
        """Take the word and its list away: what is left are options."""
        if not self.context.utf8 or not literal.binary:
            raise PeerError("Invalid arguments")
        enclosing = arguments.pop()
        assert isinstance(enclosing, list)
        self.enclosing = enclosing
        arguments.pop()

    def _behind_enclosed(self, arguments: list[Argument]) -> list[Argument]:
        """What stands behind the list, which is closed now and held one literal. Raises PeerError."""
        at = next((place for place, each in enumerate(arguments) if each is self.enclosing), None)
        if at is None or self.enclosing is None or len(self.enclosing) != 1:
            raise PeerError("Invalid arguments")
        self.enclosing = None
        return arguments[at + 1:]

    # --- inside ---------------------------------------------------------------------------------------------------

    def _options(self, arguments: list[Argument]) -> None:
        """[(flags)] ["date"] in front of a literal."""
        self.flags, self.date = [], None
        if arguments and isinstance(arguments[0], list):
            self.flags = parse_flags(arguments[0], self.context.params.max_keyword_length)
            del arguments[0]
        if arguments and isinstance(arguments[0], String):
            try:
                self.date = parse_date_time(arguments[0])
                if self.date is not None and self.date > time.time():
                    self.date = None        # no message comes from the future
                del arguments[0]
            except ValueError:
                raise PeerError("Invalid internal date") from None
        if arguments:
            raise PeerError("Invalid arguments")

    def finish(self) -> None:
        """The message that was being written is whole."""
        if not self.open_message:
            return
        self.open_message, self.catenate, self.done_parts, self.octets = False, None, 0, 0
        if self.failure is None:
            assert self.append is not None
            self.append.finish(self.flags, self.date)

    def catenate_all(self, options: list[Argument], parts: list[Argument]) -> None:
        """A message of URLs alone."""
        self.count_message()
        self._options(options)
        self._catenate_parts(parts, ends_in_literal=False)

    def _last_arguments(self, arguments: list[Argument]) -> None:
        """What stands behind the last literal: the rest of CATENATE, or nothing."""
        if self.catenate is not None and arguments and arguments[-1] is self.catenate:
            self._catenate_parts(self.catenate, ends_in_literal=False)
            return
        if self.enclosing is not None:
            arguments = self._behind_enclosed(arguments)
        if arguments:
            raise PeerError("Invalid arguments")

    def _catenate_parts(self, parts: list[Argument], *, ends_in_literal: bool) -> None:
        """Write the URLs since the last literal; TEXT literals come through body()."""
        self.open_message = True
        self._write(b"")                    # a message of empty parts is one, too
        while self.done_parts < len(parts):
            kind = parts[self.done_parts]
            if _is_word(kind, b"TEXT"):
                last = self.done_parts + 1 == len(parts)
                if last != (ends_in_literal and last) or (
                        not last and not isinstance(parts[self.done_parts + 1], LiteralString)):
                    raise PeerError("Invalid arguments")
                if last:
                    return
            elif _is_word(kind, b"URL") and self.done_parts + 1 < len(parts):
                self._write_url(parts[self.done_parts + 1])
            else:
                raise PeerError("Invalid arguments")
            self.done_parts += 2

    def _write_url(self, argument: Argument) -> None:
        assert self.append is not None
        if not isinstance(argument, bytes):
            raise PeerError("Invalid arguments")
        self._write(fetch_url(self.context, argument))


def _is_word(argument: Argument, word: bytes) -> bool:
    return isinstance(argument, Atom) and argument.upper() == word


def do_append(context: Context, command: Command) -> Run:
    """An APPEND without a literal: CATENATE of URLs alone, or a mistake."""
    return (yield from append_without_literal(Appending(context), command))


def append_without_literal(appending: Appending, command: Command) -> Run:
    """Raises PeerError, MailError."""
    arguments = list(command.arguments)
    if not arguments:
        raise PeerError("Missing arguments")
    if len(arguments) == 1:
        raise PeerError("Missing message size")
    parts = arguments[-1]
    if not isinstance(parts, list) or not _is_word(arguments[-2], b"CATENATE"):
        raise PeerError("Invalid arguments")
    if not parts:
        raise PeerError("Empty CATENATE list")
    del arguments[-2:]
    if not arguments:
        raise PeerError("Missing arguments")
    try:
        appending.target(arguments)
        appending.catenate_all(arguments, parts)
        return (yield from appending.end(AppendEnd(command.tag, [])))
    finally:
        appending.abort()
