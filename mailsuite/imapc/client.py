"""An IMAP client with the commands that moving mail needs.

    with Client(account) as client:             connects and logs in
        client.list_folders() -> [ListedFolder]
        chosen = client.select("INBOX", read_only=True)
        for uid, flags, date, size in client.facts(1): ...
        for fetched in client.messages([[1, 2], [3]]): ...      pipelined: two commands are under way
        client.append("Sent", [Outgoing(...), ...]) -> [Appended, ...]

Raises: Lost (make another connection), PeerError (no IMAP), Refusal (the server said NO or BAD), and what login_client
raises. Names of mailboxes are as the server spells them (str, surrogateescape).
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailsuite.base.errors import PeerError, PermanentError
from mailsuite.imap.numbers import format_set
from mailsuite.imapc import login_client
from mailsuite.imapc.account import Account
from mailsuite.imapc.response import internal_date, number, pairs, uid_set
from mailsuite.imapc.spool import Spool
from mailsuite.imapc.wire_client import Continue, Lost, Response, Tagged, Untagged, Wire

FOLDERS_LIMIT = 50_000          # mailboxes of one account
COMMANDS_AHEAD = 2              # FETCH commands under way
SET_OCTETS = 4000               # of the UIDs in one command
_TEMPORARY = frozenset((b"UNAVAILABLE", b"INUSE", b"LIMIT", b"THROTTLED", b"SERVERBUG", b"OVERQUOTA"))


class Refusal(PermanentError):
    """NO or BAD. code: e.g. b"TRYCREATE"."""

    def __init__(self, done: Tagged, what: str) -> None:
        super().__init__(f"{what}: {done.text.decode('utf-8', 'replace')}")
        self.code = done.code

    @property
    def temporary(self) -> bool:
        return self.code in _TEMPORARY


class Literal(bytes):
    """Sent as a literal."""


class ListedFolder(NamedTuple):
    """special: "\\\\Sent"... separator: "" for a flat name."""

    name: str
    separator: str
    selectable: bool
    subscribed: bool
    special: tuple[str, ...]


@dataclass
class Chosen:
    """A selected mailbox. keywords: those that can be set; new_keywords: whether others can, too."""

    name: str
    read_only: bool
    uid_validity: int = 0
    uid_next: int = 0
    exists: int = 0
    highest_modseq: int = 0
    keywords: set[str] = field(default_factory=set)
    new_keywords: bool = True


class Fetched(NamedTuple):
    """A message; content None: the server would not give it, for this reason."""

    uid: int
    content: Spool | None
    why: str = ""


class Outgoing(NamedTuple):
    """A message for APPEND. blocks: size octets in all."""

    flags: bytes
    date: bytes
    size: int
    blocks: Callable[[], Iterable[bytes]]


class Appended(NamedTuple):
    """uid: 0 where the server doesn't tell. error: why it was refused."""

    uid: int = 0
    error: Refusal | None = None


@dataclass
class _Batch:
    """A FETCH under way. ready: what has come and was not given out."""

    missing: set[int]
    ready: list[Fetched] = field(default_factory=list)
    done: bool = False

    def end(self, done: Tagged) -> None:
        why = "" if done.status == b"OK" else done.text.decode("utf-8", "replace")
        self.ready += [Fetched(uid, None, why) for uid in sorted(self.missing)]
        self.done = True


Handler = Callable[[Untagged], None]


def quote(text: bytes) -> list[bytes]:
    """As a quoted string, or as a literal what no quoted string can hold."""
    if len(text) < 1000 and text.isascii() and not any(char in text for char in b"\r\n\0"):
        return [b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"']
    return [Literal(text)]


def name_octets(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


class Client:
    """Blocking; belongs to one thread."""

    def __init__(self, account: Account, *, interrupted: Callable[[], None] = lambda: None) -> None:
        self.account = account
        self._wire = Wire(account, interrupted=interrupted)
        self._count = 0
        self._bye = ""
        self.capabilities: frozenset[str] = frozenset()
        self.prefix, self.separator = account.list_prefix, ""
        self.foreign: tuple[str, ...] = ()          # prefixes of other users' and shared mailboxes
        self.chosen: Chosen | None = None

    # --- life -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> "Client":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def start(self) -> None:
        """Connect and log in. Raises Lost, PeerError, LoginFailed, ConfigError."""
        try:
            self._wire.open()
            welcome = login_client.greeting(self._wire)
            if self.account.tls == "starttls":
                if welcome:
                    raise PeerError(f"{self.account.host} greets with PREAUTH: TLS cannot be started any more")
                self.command(b"STARTTLS")
                self._wire.start_tls()
            self.capability()
            if not welcome:
                done = login_client.log_in(self._wire, self.command, self.capabilities, quote)
                if done.code == b"CAPABILITY":
                    self._know(done.arguments)
                else:
                    self.capability()
            self._namespace()
        except BaseException:
            self._wire.close()
            raise

    def close(self) -> None:
        """LOGOUT, if the connection still serves."""
        if self._wire.is_open:
            with contextlib.suppress(Lost, PeerError, Refusal):
                self.command(b"LOGOUT")
        self._wire.close()

    @property
    def alive(self) -> bool:
        """Not known to be lost."""
        return self._wire.is_open

    def capability(self) -> None:
        self.command(b"CAPABILITY")

    def _know(self, words: bytes) -> None:
        self.capabilities = frozenset(words.decode("ascii", "replace").upper().split())

    # --- commands ---------------------------------------------------------------------------------------------------

    def command(self, *parts: bytes, check: bool = True, on: Handler | None = None,
                answer: Callable[[Continue], bytes] | None = None) -> Tagged:
        """One command, to its end. parts: a Literal among them is sent as one. Raises Refusal when check."""
        done = self._finish(self._begin(*parts), on, answer=answer)
        if check and done.status != b"OK":
            raise Refusal(done, parts[0].split(b" ")[0].decode())
        return done

    def _begin(self, *parts: bytes) -> bytes:
        """Send a command; waits only where a literal has to be asked for."""
        self._count += 1
        tag = b"a%d" % self._count
        out = [tag, b" "]
        for part in parts:
            if not isinstance(part, Literal):
                out.append(part)
                continue
            plus = self.sends_at_once(len(part))
            out.append(b"{%d%b}\r\n" % (len(part), b"+" if plus else b""))
            if not plus:
                self._wire.send(b"".join(out))
                out = []
                self._await_go_ahead(tag)
            out.append(part)
        self._wire.send(b"".join([*out, b"\r\n"]))
        return tag

    def sends_at_once(self, size: int) -> bool:
        """May a literal of this size go without being asked for (RFC 7888)?"""
        return "LITERAL+" in self.capabilities or "LITERAL-" in self.capabilities and size <= 4096

    def _await_go_ahead(self, tag: bytes) -> None:
        response = self._next(None)
        while not isinstance(response, Continue):
            if isinstance(response, Tagged) and response.tag == tag:
                raise Refusal(response, "literal")
            response = self._next(None)

    def _next(self, on: Handler | None, sink: Spool | None = None) -> Response:
        """The next response; what concerns the connection is noted."""
        try:
            response = self._wire.read(sink)
        except Lost as error:
            if self._bye:
                raise Lost(f"{error.public} ({self._bye})") from error
            raise
        if isinstance(response, Untagged):
            self._note(response)
            if on is not None:
                on(response)
        return response

    def _finish(self, tag: bytes, on: Handler | None, *, sink: Spool | None = None,
                answer: Callable[[Continue], bytes] | None = None) -> Tagged:
        while True:
            response = self._next(on, sink)
            if isinstance(response, Tagged) and response.tag == tag:
                return response
            if isinstance(response, Continue) and answer is not None:
                self._wire.send(answer(response) + b"\r\n")

    def _note(self, response: Untagged) -> None:
        name = response.name
        if name == b"CAPABILITY":
            self._know(b" ".join(word for word in response.values[1:] if isinstance(word, bytes)))
        elif name == b"BYE":
            self._bye = response.text.decode("utf-8", "replace")
        elif name == b"EXISTS" and self.chosen is not None:
            self.chosen.exists = number(response.values[0])

    # --- folders ----------------------------------------------------------------------------------------------------

    def _namespace(self) -> None:
        """The personal prefix and separator, and whose mailboxes are not ours."""
        found: list[Any] = []
        if "NAMESPACE" in self.capabilities:
            self.command(b"NAMESPACE", check=False,
                         on=lambda said: found.extend(said.values[1:]) if said.name == b"NAMESPACE" else None)
        spaces = [[entry for entry in space or [] if isinstance(entry, list) and entry and isinstance(entry[0], bytes)]
                  for space in found[:3] if space is None or isinstance(space, list)]
        if spaces and spaces[0]:
            first = spaces[0][0]
            if not self.account.list_prefix:
                self.prefix = first[0].decode("utf-8", "surrogateescape")
            if len(first) > 1 and isinstance(first[1], bytes):
                self.separator = first[1].decode("utf-8", "surrogateescape")
        self.foreign = tuple(entry[0].decode("utf-8", "surrogateescape") for space in spaces[1:]
                             for entry in space if entry[0])

    def list_folders(self, *, all_namespaces: bool = False) -> list[ListedFolder]:
        """Every mailbox of the account, in the server's order. Raises PeerError beyond FOLDERS_LIMIT."""
        extended = "LIST-EXTENDED" in self.capabilities
        special = "SPECIAL-USE" in self.capabilities
        verb = b"XLIST" if "XLIST" in self.capabilities and not special else b"LIST"
        options = [b"SUBSCRIBED"] * extended + [b"SPECIAL-USE"] * special
        returns = b" RETURN (" + b" ".join(options) + b")" if extended and options else b""
        pattern = quote(name_octets(self.account.list_prefix) + b"*")
        found: dict[str, ListedFolder] = {}

        def take(said: Untagged) -> None:
            if said.name == verb:
                entry = _listed(said.values)
                if len(found) >= FOLDERS_LIMIT:
                    raise PeerError(f"{self.account.host} lists more than {FOLDERS_LIMIT} mailboxes")
                if all_namespaces or not (self.foreign and entry.name.startswith(self.foreign)):
                    found[entry.name] = entry

        self.command(verb + b' "" ', *pattern, returns, on=take)
        if not extended:
            names: set[str] = set()
            self.command(b'LSUB "" ', *pattern, check=False, on=lambda said: names.add(_listed(said.values).name)
                         if said.name == b"LSUB" else None)
            found = {name: entry._replace(subscribed=name in names) for name, entry in found.items()}
        if not self.separator:
            self.separator = next((entry.separator for entry in found.values() if entry.separator), "/")
        return list(found.values())

    def create(self, name: str, special: Sequence[str] = ()) -> None:
        """Raises Refusal; not for one that is there already."""
        use = b" (USE (" + " ".join(special).encode() + b"))" \
            if special and "CREATE-SPECIAL-USE" in self.capabilities else b""
        try:
            self.command(b"CREATE ", *quote(name_octets(name)), use)
        except Refusal as error:
            if use:                 # e.g. another mailbox has that use already
                self.create(name)
            elif error.code != b"ALREADYEXISTS":
                raise

    def delete(self, name: str) -> None:
        self.unselect()
        self.command(b"DELETE ", *quote(name_octets(name)))

    def subscribe(self, name: str, on: bool) -> None:
        self.command(b"SUBSCRIBE " if on else b"UNSUBSCRIBE ", *quote(name_octets(name)))

    def select(self, name: str, *, read_only: bool) -> Chosen:
        """SELECT or EXAMINE, if it is not selected so already. Raises Refusal."""
        if self.chosen is not None and self.chosen.name == name and self.chosen.read_only <= read_only:
            return self.chosen
        chosen = Chosen(name, read_only)
        self.chosen = chosen
        condstore = b" (CONDSTORE)" if "CONDSTORE" in self.capabilities else b""
        try:
            done = self.command(b"EXAMINE " if read_only else b"SELECT ", *quote(name_octets(name)), condstore,
                                on=lambda said: _selected(chosen, said))
        except BaseException:
            self.chosen = None
            raise
        chosen.read_only = read_only or done.code == b"READ-ONLY"
        return chosen

    def unselect(self) -> None:
        """Leave the mailbox without expunging."""
        if self.chosen is not None:
            verb = b"UNSELECT" if "UNSELECT" in self.capabilities else None
            if verb is None:
                self.select(self.chosen.name, read_only=True)
                verb = b"CLOSE"
            self.chosen = None
            self.command(verb, check=False)

    # --- messages ---------------------------------------------------------------------------------------------------

    def facts(self, first: int = 1) -> list[tuple[int, tuple[str, ...], int, int]]:
        """(UID, flags, INTERNALDATE, RFC822.SIZE) of all messages from a UID on, ascending; -1 for what is not told."""
        found: dict[int, tuple[int, tuple[str, ...], int, int]] = {}
        names: dict[tuple[bytes, ...], tuple[str, ...]] = {}

        def take(said: Untagged) -> None:
            items = _fetched(said)
            if b"UID" not in items or b"FLAGS" not in items:
                return              # flags that another client changed meanwhile come without a UID
            uid = number(items[b"UID"], most=0xFFFFFFFF)
            flags = tuple(flag for flag in items[b"FLAGS"] or () if isinstance(flag, bytes))
            if flags not in names:
                names[flags] = tuple(flag.decode("utf-8", "surrogateescape") for flag in flags)
            if uid >= first and (uid in found or len(found) <= (self.chosen.exists if self.chosen else 0) + 1000):
                date = internal_date(items.get(b"INTERNALDATE"))
                size = items.get(b"RFC822.SIZE")
                found[uid] = (uid, names[flags], -1 if date is None else date, -1 if size is None else number(size))

        if self.chosen is not None and self.chosen.exists:
            self.command(b"UID FETCH %d:* (UID FLAGS INTERNALDATE RFC822.SIZE)" % first, on=take)
        return [found[uid] for uid in sorted(found)]

    def header_fields(self, uids: Sequence[int], names: bytes) -> Iterator[tuple[int, bytes]]:
        """BODY[HEADER.FIELDS (names)] of messages."""
        for some in sets(uids):
            found: list[tuple[int, bytes]] = []

            def take(said: Untagged, found: list[tuple[int, bytes]] = found) -> None:
                items = _fetched(said)
                if b"UID" in items:
                    found += [(number(items[b"UID"]), value) for name, value in items.items()
                              if name.startswith(b"BODY[") and isinstance(value, bytes)]

            self.command(b"UID FETCH " + format_set(some) + b" (UID BODY.PEEK[HEADER.FIELDS (" + names + b")])",
                         on=take)
            yield from found

    def messages(self, batches: Iterable[Sequence[int]]) -> Iterator[Fetched]:
        """Whole messages, batch after batch; the next is asked for before the last has come. The caller closes each.

        Servers may answer two commands mixed, or the second first (RFC 3501 section 5.5): Dovecot does. What comes too
        early is held back, at most COMMANDS_AHEAD - 1 batches of it.
        """
        source = iter(batches)
        waiting: dict[bytes, _Batch] = {}
        more = True
        try:
            while more or waiting:
                while more and len(waiting) < COMMANDS_AHEAD:
                    uids = next(source, None)
                    if uids is None:
                        more = False
                    elif uids:
                        tag = self._begin(b"UID FETCH ", format_set(uids), b" (UID BODY.PEEK[])")
                        waiting[tag] = _Batch(set(uids))
                if waiting and not next(iter(waiting.values())).done:
                    self._one_more(waiting)
                for tag, batch in list(waiting.items())[:1]:
                    while batch.ready:
                        yield batch.ready.pop(0)
                    if batch.done:
                        del waiting[tag]
        finally:
            for batch in waiting.values():
                for fetched in batch.ready:
                    if fetched.content is not None:
                        fetched.content.close()
            if waiting:             # what was asked for would come in place of other answers
                self._wire.close()

    def _one_more(self, waiting: "dict[bytes, _Batch]") -> None:
        """Read a response into the batch that it belongs to."""
        spool = Spool()
        response = self._next(None, spool)
        if isinstance(response, Tagged) and response.tag in waiting:
            waiting[response.tag].end(response)
        elif isinstance(response, Untagged) and response.name == b"FETCH":
            items = _fetched(response)
            body, uid = items.get(b"BODY[]"), number(items.get(b"UID", b"0"))
            if not spool.begun and isinstance(body, bytes):
                spool = Spool.of(body)          # a short message may come as a quoted string
            for batch in waiting.values():
                if spool.begun and uid in batch.missing:
                    batch.missing.discard(uid)
                    batch.ready.append(Fetched(uid, spool))
                    return
        spool.close()

    def present(self, uids: Sequence[int]) -> set[int]:
        """Those of uids that are still there."""
        found: set[int] = set()
        for some in sets(uids):
            self.command(b"UID SEARCH UID ", format_set(some), on=lambda said: found.update(
                number(value) for value in said.values[1:]) if said.name == b"SEARCH" else None)
        return found.intersection(uids)

    def store_flags(self, uids: Sequence[int], action: bytes, flags: Sequence[str]) -> None:
        """action: b"FLAGS", b"+FLAGS" or b"-FLAGS". Raises Refusal."""
        wanted = " ".join(flags).encode("utf-8", "surrogateescape")
        for some in sets(uids):
            self.command(b"UID STORE ", format_set(some), b" ", action, b".SILENT (", wanted, b")")

    def expunge(self, uids: Sequence[int]) -> None:
        """Remove these messages and no others. Raises Refusal."""
        self.store_flags(uids, b"+FLAGS", ["\\Deleted"])
        if "UIDPLUS" in self.capabilities:
            for some in sets(uids):
                self.command(b"UID EXPUNGE ", format_set(some))
            return
        # RFC 3501 has no way to expunge some only: others lose their mark meanwhile.
        others: list[int] = []
        self.command(b"UID SEARCH DELETED", on=lambda said: others.extend(
            number(value) for value in said.values[1:]) if said.name == b"SEARCH" else None)
        others = sorted(set(others).difference(uids))
        if others:
            self.store_flags(others, b"-FLAGS", ["\\Deleted"])
        self.command(b"EXPUNGE")
        if others:
            self.store_flags(others, b"+FLAGS", ["\\Deleted"])

    # --- APPEND -----------------------------------------------------------------------------------------------------

    def append(self, name: str, messages: Sequence[Outgoing]) -> list[Appended]:
        """Put messages into a mailbox, together where the server can; the result of each."""
        if len(messages) > 1 and "MULTIAPPEND" in self.capabilities:
            try:
                return self._append_together(name, messages)
            except Refusal as error:
                if error.temporary:
                    raise
        pipelined = all(self.sends_at_once(message.size) for message in messages)
        if not pipelined:
            return [self._append_one(name, message) for message in messages]
        tags = [self._send_append(name, [message]) for message in messages]
        answers: dict[bytes, Tagged] = {}
        while len(answers) < len(tags):
            response = self._next(None)
            if isinstance(response, Tagged) and response.tag in tags:
                answers[response.tag] = response
        return [_appended(answers[tag], 1)[0] for tag in tags]

    def _append_together(self, name: str, messages: Sequence[Outgoing]) -> list[Appended]:
        done = self._finish(self._send_append(name, messages), None)
        if done.status != b"OK":
            raise Refusal(done, "APPEND")
        return _appended(done, len(messages))

    def _append_one(self, name: str, message: Outgoing) -> Appended:
        try:
            return _appended(self._finish(self._send_append(name, [message]), None), 1)[0]
        except Refusal as error:
            return Appended(error=error)

    def _send_append(self, name: str, messages: Sequence[Outgoing]) -> bytes:
        """Raises Refusal when the server does not want a literal that it was asked for."""
        self._count += 1
        tag = b"a%d" % self._count
        head = [tag, b" APPEND ", *quote(name_octets(name))]
        for message in messages:
            plus = self.sends_at_once(message.size)
            head.append(b" (%b) %b {%d%b}\r\n" % (message.flags, message.date, message.size, b"+" if plus else b""))
            self._wire.send(b"".join(head))
            if not plus:
                self._await_go_ahead(tag)
            sent = 0
            for block in message.blocks():
                self._wire.send(block)
                sent += len(block)
            if sent != message.size:                # the server would take what follows for the message
                self._wire.close()
                raise Lost("a message changed while it was sent")
            head = []
        self._wire.send(b"\r\n")
        return tag


def sets(uids: Sequence[int]) -> Iterator[list[int]]:
    """UIDs in portions whose sets fit into a command."""
    some: list[int] = []
    octets, last = 0, -2
    for uid in uids:
        octets += 0 if uid == last + 1 else 22
        last = uid
        some.append(uid)
        if octets > SET_OCTETS or len(some) >= 20_000:
            yield some
            some, octets = [], 0
    if some:
        yield some


def _fetched(said: Untagged) -> dict[bytes, Any]:
    """The items of a FETCH response; {} for any other."""
    if said.name != b"FETCH" or len(said.values) != 3 or not isinstance(said.values[2], list):
        return {}
    return pairs(said.values[2])


def _listed(items: list[Any]) -> ListedFolder:
    if len(items) < 4 or not isinstance(items[1], list) or not isinstance(items[3], bytes):
        raise PeerError("the server sent a LIST that is none")
    flags = {flag.decode("ascii", "replace").lower() for flag in items[1] if isinstance(flag, bytes)}
    separator = items[2].decode("utf-8", "surrogateescape") if isinstance(items[2], bytes) else ""
    special = tuple(name for name in SPECIAL if name.lower() in flags)
    return ListedFolder(items[3].decode("utf-8", "surrogateescape"), separator,
                        not flags & {"\\noselect", "\\nonexistent"}, "\\subscribed" in flags, special)


SPECIAL = ("\\All", "\\Archive", "\\Drafts", "\\Flagged", "\\Junk", "\\Sent", "\\Trash", "\\Important")


def _selected(chosen: Chosen, said: Untagged) -> None:
    if said.name == b"EXISTS":
        chosen.exists = number(said.values[0])
    elif said.name == b"OK" and said.text.startswith(b"["):
        code, _, rest = said.text[1:].partition(b"]")
        name, _, value = code.partition(b" ")
        if name.upper() == b"UIDVALIDITY":
            chosen.uid_validity = number(value, most=0xFFFFFFFF)
        elif name.upper() == b"UIDNEXT":
            chosen.uid_next = number(value, most=0x100000000)
        elif name.upper() == b"HIGHESTMODSEQ":
            chosen.highest_modseq = number(value)
        elif name.upper() == b"PERMANENTFLAGS":
            words = value.strip(b"()").decode("utf-8", "surrogateescape").split()
            chosen.new_keywords = "\\*" in words
            chosen.keywords = {word.lower() for word in words}


def _appended(done: Tagged, count: int) -> list[Appended]:
    if done.status != b"OK":
        return [Appended(error=Refusal(done, "APPEND"))] * count
    if done.code == b"APPENDUID" and len(words := done.arguments.split()) == 2:
        with contextlib.suppress(PeerError):
            uids = uid_set(words[1], most=count + 1)
            if len(uids) == count:
                return [Appended(uid) for uid in uids]
    return [Appended()] * count
