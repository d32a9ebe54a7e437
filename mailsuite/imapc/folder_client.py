"""Folders of an account on an IMAP server: which there are, making and removing them, selecting one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mailsuite.base.errors import PeerError
from mailsuite.imapc.connection_client import Connection, Refusal, name_octets, quote
from mailsuite.imapc.response import number
from mailsuite.imapc.wire_client import Untagged

FOLDERS_LIMIT = 50_000          # mailboxes of one account


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


class FolderClient(Connection):
    """prefix, separator: of one's own mailboxes. foreign: prefixes of other users' and shared mailboxes."""

    prefix = separator = ""
    foreign: tuple[str, ...] = ()
    chosen: Chosen | None = None

    def logged_in(self) -> None:
        """The personal prefix and separator, and whose mailboxes are not ours."""
        self.prefix = self.account.list_prefix
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
        self.chosen, self.exists = chosen, 0
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
