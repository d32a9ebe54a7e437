"""The same mailboxes served by the real Dovecot and by us in turn, each doing random work: both have to see the same.

    python -m tests.store.swapping --rounds 50 --seeds 1-4 --kinds maildir,mbox             make swap

A round: one of the two does ten random operations as an IMAP client would ask for them (mail is delivered from outside,
too), stops, and both show every mailbox. Compared: names, subscriptions, UIDVALIDITY, UIDNEXT, and of each message UID,
flags, keywords, date, size and content; and whether MODSEQs tell us what the other one did (Journal).
"""

import argparse
import asyncio
import hashlib
import imaplib
import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

from mailsuite.access import user_mail
from mailsuite.store.maildir_delivery import deliver_maildir
from tests.message import dovecot
from tests.store.support import LOCATIONS
from tests.support.mail_sessions import ImapServer, Settings

OPERATIONS = 10
FLAGS = ("\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Label1", "Work", "NonJunk", "later", "x-1", "$Forwarded")
WORDS = ("Box", "Work", "Old", "&AOQ-pfel", "two words", "a")


class Kept(NamedTuple):
    """What has to be the same of a message."""

    flags: frozenset[str]
    date: str
    size: int
    content: str


class Folder(NamedTuple):
    uid_validity: int
    uid_next: int
    messages: dict[int, Kept]


class Picture(NamedTuple):
    """All that a client sees of an account. names: without \\HasChildren and the like, but \\Noselect."""

    names: dict[str, bool]
    subscribed: frozenset[str]
    folders: dict[str, Folder]


# --- the two servers -------------------------------------------------------------------------------------------------

@contextmanager
def dovecot_session(top: Path, kind: str, *settings: str) -> Iterator[imaplib.IMAP4]:
    # Dovecot's index of names looks at the root's time stamp only, and so misses what came into a parent.
    if kind == "fs":
        settings = (*settings, "mailbox_list_index = no")
    conf = top / "dovecot.conf"
    conf.write_text("\n".join([dovecot.CONFIGURATION.format(top=top, location=LOCATIONS[kind]), *settings,
                               f"log_path = {top}/home/dovecot.log", ""]))
    subprocess.run(["chown", "-R", f"{dovecot.NOBODY}:{dovecot.NOBODY}", top / "home"], check=True)
    home = shlex.quote(str(top / "home"))
    client = imaplib.IMAP4_stream(
        f"HOME={home} USER=nobody exec setpriv --reuid {dovecot.NOBODY} --regid {dovecot.NOBODY} --clear-groups "
        f"doveconf -c {shlex.quote(str(conf))} -m imap -e {dovecot.IMAP} 2>>{home}/dovecot.err")
    try:
        yield client
    finally:
        client.logout()
        client.process.wait()


class _Client(imaplib.IMAP4):
    """The server takes LOGIN as the first word."""

    def _get_capabilities(self) -> None:
        self.capabilities = ("IMAP4REV1", "ENABLE", "MOVE", "UNSELECT")


class OurServer:
    """We, in a thread of this process. stop() forgets everything that is not in files."""

    def __init__(self, home: Path, kind: str) -> None:
        self._home, self.loop = home, asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="ours")
        self._thread.start()
        settings = Settings({"mail_location": LOCATIONS[kind], "mail_fsync": "never", "hostname": "mx.test"})
        self._server = ImapServer({"alice": home}, settings)
        asyncio.run_coroutine_threadsafe(self._server.__aenter__(), self.loop).result(20)

    @contextmanager
    def session(self) -> Iterator[imaplib.IMAP4]:
        client = _Client("127.0.0.1", self._server.port, timeout=60)
        client.login("alice", "x")
        client.enable("CONDSTORE")
        try:
            yield client
        finally:
            client.logout()

    async def _forget(self) -> None:
        """Of other servers of this process, which had loops of their own, something may be left."""
        home = f"\0{self._home}\0"
        for mail, _ in [waiting for key, waiting in user_mail._lingering.items() if home in key]:
            mail._forget()
        for closing in [one for key, one in user_mail._closing.items() if home in key]:
            await closing.ended()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.__aexit__(), self.loop).result(20)
        asyncio.run_coroutine_threadsafe(self._forget(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


# --- what a client sees ----------------------------------------------------------------------------------------------

_LIST = re.compile(rb'\(([^)]*)\) (?:"."|NIL) ("(?:[^"\\]|\\.)*"|\S+)$')
_UID, _FLAGS, _SIZE = re.compile(rb"UID (\d+)"), re.compile(rb"FLAGS \(([^)]*)\)"), re.compile(rb"RFC822.SIZE (\d+)")
_DATE = re.compile(rb'INTERNALDATE "([^"]*)"')


def ok(answer: tuple[str, list[object]]) -> list[object]:
    """The data of an answer that has to be OK."""
    assert answer[0] == "OK", answer
    return answer[1]


def listed(answer: tuple[str, list[object]]) -> dict[str, bool]:
    """Names -> can they be selected?"""
    found = {}
    for line in ok(answer):
        if isinstance(line, bytes):
            match = _LIST.match(line)
            assert match, line
            found[match[2].decode().strip('"')] = b"\\noselect" not in match[1].lower() \
                and b"\\nonexistent" not in match[1].lower()
    return found


def quoted(name: str) -> str:
    return f'"{name}"'


def number(client: imaplib.IMAP4, code: str) -> int:
    data = client.response(code)[1]
    assert data and isinstance(data[0], bytes), (code, data)
    return int(data[0])


def folder_of(client: imaplib.IMAP4, name: str) -> Folder:
    count = ok(client.select(quoted(name), readonly=True))[0]
    validity, following = number(client, "UIDVALIDITY"), number(client, "UIDNEXT")
    messages: dict[int, Kept] = {}
    if count != b"0":
        for item in ok(client.fetch("1:*", "(UID FLAGS RFC822.SIZE INTERNALDATE BODY.PEEK[])")):
            if isinstance(item, tuple):
                head = item[0]
                digest = hashlib.sha1(item[1], usedforsecurity=False).hexdigest()
                uid, flags, size, date = (one.search(head) for one in (_UID, _FLAGS, _SIZE, _DATE))
                assert uid and flags and size and date, head
                messages[int(uid[1])] = Kept(frozenset(flags[1].decode().split()) - {"\\Recent"}, date[1].decode(),
                                             int(size[1]), digest)
    return Folder(validity, following, messages)


def picture(client: imaplib.IMAP4) -> Picture:
    names = listed(client.list())
    folders: dict[str, Folder] = {}
    for name in names:
        if names[name]:
            # LIST of Dovecot shows the parent of a child's child that it has just deleted as if it were there.
            answer, data = client.select(quoted(name), readonly=True)
            names[name] = answer == "OK"
            assert answer == "OK" or b"doesn't exist" in data[0], data
        if names[name]:
            folders[name] = folder_of(client, name)
    return Picture(names, frozenset(listed(client.lsub())),
                   folders)


def difference(one: Picture, other: Picture, *, untold: Set[str] = frozenset()) -> str:
    """The first thing in which they differ; "": nothing. untold: mailboxes whose UIDVALIDITY the files don't tell."""
    if one.names != other.names:
        return f"names: {one.names} and {other.names}"
    if one.subscribed != other.subscribed:
        return f"subscriptions: {sorted(one.subscribed)} and {sorted(other.subscribed)}"
    for name in one.folders:
        mine, theirs = one.folders[name], other.folders[name]
        if mine[name in untold: 2] != theirs[name in untold: 2]:
            return f"{name}: UIDVALIDITY, UIDNEXT {mine[:2]} and {theirs[:2]}"
        for uid in mine.messages.keys() | theirs.messages.keys():
            left, right = mine.messages.get(uid), theirs.messages.get(uid)
            if left != right:
                return f"{name}, UID {uid}: {left} and {right}"
    return ""


# --- what is done ----------------------------------------------------------------------------------------------------

class Work:
    """Random operations of a client, and deliveries beside it."""

    def __init__(self, random: Random, home: Path, kind: str) -> None:
        self._random, self._home, self._kind = random, home, kind
        self._separator = "." if kind == "maildir" else "/"
        self._count = itertools.count(1)
        self.done: list[str] = []

    def some(self, client: imaplib.IMAP4, count: int = OPERATIONS) -> None:
        operations = [self.append, self.append, self.deliver, self.flags, self.flags, self.keywords, self.expunge,
                      self.move, self.copy, self.create, self.rename, self.delete, self.subscribe]
        ok(client.select("INBOX"))
        for _ in range(count):
            operation = self._random.choice(operations)
            self.done.append(operation.__name__)
            operation(client)

    def _text(self) -> bytes:
        number = next(self._count)
        lines = ["", "From here", ">From there", "x" * self._random.randint(0, 2000), "Grüße", "."]
        body = "\r\n".join(self._random.sample(lines, self._random.randint(0, len(lines))))
        return (f"From: a@b.test\r\nSubject: {number} {self._random.random()}\r\nMessage-ID: <{number}@b.test>\r\n"
                f"\r\n{body}\r\n").encode()

    def _folders(self, client: imaplib.IMAP4) -> list[str]:
        return [name for name, selectable in listed(client.list()).items()
                if selectable and client.status(quoted(name), "(MESSAGES)")[0] == "OK"]

    def _opened(self, client: imaplib.IMAP4) -> list[int]:
        """Some mailbox, mostly INBOX, is selected: its UIDs."""
        folders = self._folders(client)
        name = "INBOX" if self._random.random() < 0.5 else self._random.choice(folders)
        self.done[-1] += f" {name}"
        ok(client.select(quoted(name)))
        found = ok(client.uid("SEARCH", "ALL"))[0]
        return [int(uid) for uid in found.split()] if isinstance(found, bytes) else []

    def _some(self, uids: list[int]) -> str:
        return ",".join(map(str, self._random.sample(uids, self._random.randint(1, min(4, len(uids))))))

    def append(self, client: imaplib.IMAP4) -> None:
        name = self._random.choice(self._folders(client))
        self.done[-1] += f" {name}"
        date = imaplib.Time2Internaldate(1_600_000_000 + self._random.randint(0, 10**8)) \
            if self._random.random() < 0.5 else None
        flags = " ".join(self._random.sample(FLAGS, self._random.randint(0, 3)))
        ok(client.append(quoted(name), f"({flags})" if flags else None, date, self._text()))

    def deliver(self, client: imaplib.IMAP4) -> None:
        text = self._text().replace(b"\r\n", b"\n")
        if self._kind == "mbox":
            with (self._home / "inbox").open("ab") as file:
                body = text.replace(b"\nFrom ", b"\n>From ")
                file.write(b"From x@y.test  %b\n%b\n" % (time.asctime().encode(), body))
            os.chown(self._home / "inbox", dovecot.NOBODY, dovecot.NOBODY)
        else:
            path = deliver_maildir(str(self._home / "Maildir"), b"Return-Path: <x@y.test>\n", [text], host="mx",
                                   sync_directory=False)
            os.chown(path, dovecot.NOBODY, dovecot.NOBODY)

    def flags(self, client: imaplib.IMAP4) -> None:
        self._store(client, FLAGS[:4])

    def keywords(self, client: imaplib.IMAP4) -> None:
        self._store(client, FLAGS[4:])

    def _store(self, client: imaplib.IMAP4, names: tuple[str, ...]) -> None:
        if uids := self._opened(client):
            action = self._random.choice(("+FLAGS", "-FLAGS", "FLAGS", "+FLAGS.SILENT"))
            flags = " ".join(self._random.sample(names, self._random.randint(1, 2)))
            chosen = self._some(uids)
            self.done[-1] += f" {chosen} {action} {flags}"
            ok(client.uid("STORE", chosen, action, f"({flags})"))

    def expunge(self, client: imaplib.IMAP4) -> None:
        if uids := self._opened(client):
            chosen = self._some(uids)
            self.done[-1] += f" {chosen}"
            ok(client.uid("STORE", chosen, "+FLAGS", "(\\Deleted)"))
            ok(client.expunge() if self._random.random() < 0.5 else client.uid("EXPUNGE", chosen))

    def move(self, client: imaplib.IMAP4) -> None:
        self._transfer(client, "MOVE")

    def copy(self, client: imaplib.IMAP4) -> None:
        self._transfer(client, "COPY")

    def _transfer(self, client: imaplib.IMAP4, command: str) -> None:
        if uids := self._opened(client):
            target = self._random.choice(self._folders(client))
            if self.done[-1].endswith(f" {target}") and (command == "MOVE" or self._kind == "mbox"):
                return                  # Dovecot's imap panics at times
            chosen = self._some(uids)
            self.done[-1] += f" {chosen} to {target}"
            ok(client.uid(command, chosen, quoted(target)))

    def _name(self) -> str:
        return self._separator.join(self._random.choice(WORDS) for _ in range(self._random.choice((1, 1, 2, 3))))

    def create(self, client: imaplib.IMAP4) -> None:
        self._may_fail(client.create(quoted(self._name())))

    def rename(self, client: imaplib.IMAP4) -> None:
        names = [name for name in listed(client.list()) if name != "INBOX"]
        if names:
            self._unselect(client)
            old, new = self._random.choice(names), self._name()
            self.done[-1] += f" {old} {new}"
            self._may_fail(client.rename(quoted(old), quoted(new)))

    def delete(self, client: imaplib.IMAP4) -> None:
        names = [name for name in listed(client.list()) if name != "INBOX"]
        if len(names) > 2:
            self._unselect(client)
            name = self._random.choice(names)
            self.done[-1] += f" {name}"
            self._may_fail(client.delete(quoted(name)))

    def _unselect(self, client: imaplib.IMAP4) -> None:
        if client.state == "SELECTED":
            client.unselect()

    def subscribe(self, client: imaplib.IMAP4) -> None:
        names = self._folders(client)
        if self._random.random() < 0.7:
            ok(client.subscribe(quoted(self._random.choice(names))))
        else:
            subscribed = sorted(listed(client.lsub()))
            if subscribed:
                ok(client.unsubscribe(quoted(self._random.choice(subscribed))))

    def _may_fail(self, answer: tuple[str, list[object]]) -> None:
        """Names that exist, parents that are files: both refuse, with words of their own."""
        self.done[-1] += f" {answer[0]}"
        assert answer[0] in ("OK", "NO"), answer


class Journal:
    """Does CONDSTORE tell us, when we come back, what the other server did meanwhile?"""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], tuple[int, dict[int, Kept]]] = {}

    def check(self, client: imaplib.IMAP4, now: Picture) -> str:
        """What a client that remembers HIGHESTMODSEQ would miss; "": nothing."""
        last, self._last = self._last, {}
        for name, folder in now.folders.items():
            ok(client.select(quoted(name), readonly=True))
            highest = number(client, "HIGHESTMODSEQ")
            self._last[name, folder.uid_validity] = highest, folder.messages
            known = last.get((name, folder.uid_validity))
            if known is None or not folder.messages:
                continue
            before, messages = known
            changed = {uid for uid, kept in folder.messages.items() if messages.get(uid) != kept}
            if highest < before or changed and highest == before:
                return f"{name}: HIGHESTMODSEQ {before} became {highest}, changed: {changed}"
            data = ok(client.uid("FETCH", "1:*", f"(FLAGS) (CHANGEDSINCE {before})"))
            told = {int(match[1]) for item in data if isinstance(item, bytes) and (match := _UID.search(item))}
            if changed - told:
                return f"{name}: CHANGEDSINCE {before} leaves out {sorted(changed - told)}"
        return ""


# --- a run -----------------------------------------------------------------------------------------------------------

class Swap:
    """One account. keep: our server stays up while Dovecot works."""

    def __init__(self, top: Path, kind: str, seed: int, *, keep: bool = False, settings: tuple[str, ...] = ()) -> None:
        self.top, self.kind, self._keep, self._settings = top, kind, keep, settings
        self.home = top / "home"
        self.home.mkdir()
        self._random = Random(seed)
        self.work = Work(self._random, self.home, kind)
        self._ours: OurServer | None = None
        self._journal = Journal()
        self._ahead = 0

    def _later(self) -> None:
        """As if time had passed: Dovecot's index knows an mbox's time in seconds."""
        if self.kind == "mbox":
            self._ahead += 2
            at = time.time() + self._ahead
            for path in [self.home / "inbox", *(self.home / "mail").rglob("*")]:
                if path.is_file() and "/." not in str(path.relative_to(self.home)):
                    os.utime(path, (at, at))

    @contextmanager
    def _session(self, ours: bool) -> Iterator[imaplib.IMAP4]:
        if not ours:
            with dovecot_session(self.top, self.kind, *self._settings) as client:
                yield client
            return
        if self._ours is None:
            self._ours = OurServer(self.home, self.kind)
        with self._ours.session() as client:
            yield client
        if not self._keep:
            self.stop()

    def stop(self) -> None:
        if self._ours is not None:
            self._ours.stop()
            self._ours = None

    def round(self, ours: bool) -> None:
        """One of both works, then both show what there is. Raises AssertionError."""
        self.work.done.clear()
        who = "we" if ours else "Dovecot"
        with self._session(ours) as client:
            if ours:
                self._check_journal(client)
            self.work.some(client)
            before = picture(client)
        with self._session(ours) as client:
            first = picture(client)
            if ours:
                self._check_journal(client)
        assert not (wrong := difference(before, first)), self._story(f"{who} see other than before the restart", wrong)
        self._later()
        with self._session(not ours) as client:
            second = picture(client)
            if not ours:
                self._check_journal(client)
        wrong = difference(first, second, untold=self._untold())
        assert not wrong, self._story(f"{who} worked, the other one sees", wrong)
        self._later()

    def _untold(self) -> set[str]:
        """Nobody has written into these mbox files yet: each of the two keeps their UIDVALIDITY in its index."""
        mail = self.home / "mail"
        files = {"INBOX": self.home / "inbox", **{str(path.relative_to(mail)): path for path in mail.rglob("*")}}
        return {name for name, path in files.items() if path.is_file() and b"\nX-IMAP" not in path.read_bytes()}

    def _check_journal(self, client: imaplib.IMAP4) -> None:
        wrong = self._journal.check(client, picture(client))
        assert not wrong, self._story("MODSEQs", wrong)

    def _story(self, what: str, wrong: str) -> str:
        return f"{what}: {wrong}\nafter {'; '.join(self.work.done)}"


def run(kind: str, seed: int, rounds: int, *, keep: bool = False, settings: tuple[str, ...] = ()) -> None:
    """All rounds on a new account. Raises AssertionError with the story of the first difference."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="swap.") as name:
        os.chmod(name, 0o755)
        swap = Swap(Path(name), kind, seed, keep=keep, settings=settings)
        try:
            for turn in range(rounds):
                try:
                    swap.round(ours=bool(turn % 2))
                except BaseException as error:
                    log = swap.home / "dovecot.log"
                    error.add_note(f"{kind}, seed {seed}, round {turn}; {swap.work.done}; Dovecot's log:\n"
                                   + (log.read_text()[-2000:] if log.exists() else ""))
                    raise
        finally:
            swap.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seeds", default="1-3", help="1-3 or 7,9")
    parser.add_argument("--kinds", default="maildir,mbox")
    parser.add_argument("--keep", action="store_true", help="our server keeps running while Dovecot works")
    parser.add_argument("--set", action="append", default=[], help="a line for Dovecot's configuration")
    options = parser.parse_args()
    if dovecot.WHY_NOT:
        print(f"skipped: {dovecot.WHY_NOT}")
        return 1
    first, _, last = options.seeds.partition("-")
    seeds = range(int(first), int(last) + 1) if last else [int(seed) for seed in first.split(",")]
    for kind, seed in itertools.product(options.kinds.split(","), seeds):
        started = time.monotonic()
        run(kind, seed, options.rounds, keep=options.keep, settings=tuple(options.set))
        print(f"{kind}, seed {seed}: {options.rounds} rounds in {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
