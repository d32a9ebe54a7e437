"""doveadm's search queries: words of a command line to a tree of search keys.

    query = Query(["mailbox", "INBOX", "since", "2w", "(", "seen", "or", "flagged", ")"], separator="/")
    query.key               for imap.search.Search
    query.sole              the mailbox that is named without wildcards and without an alternative, as it was written
    query.may_match(name, guid)      False when no message of that mailbox can match

Grammar: IMAP's SEARCH keys, one word each; parentheses are words of their own; OR stands between keys, and keys beside
each other are ANDed: a list has either ORs or ANDs. (Dovecot takes keys that stand before the first OR of a list as
alternatives too, and so do we.) More keys: MAILBOX, MAILBOX-GUID, GUID, INTHREAD. Dates may also be 2023-11-14, seconds
since the epoch, or an age such as 2weeks; sizes may have a unit.
Raises Failed in Dovecot's words. Limits: MAX_KEYS, MAX_DEPTH of imap.search_keys.
Source: doveadm-search-query(7).
"""

import re
import time
from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_run import EX_USAGE, Failed
from mailsuite.base.errors import PeerError
from mailsuite.imap.dates import parse_date
from mailsuite.imap.search_keys import (
    MAX_DEPTH,
    MAX_KEYS,
    All,
    And,
    Day,
    Guid,
    InMailbox,
    Key,
    Moment,
    Not,
    Or,
    Size,
    in_thread,
    parse_keys,
)
from mailsuite.imap.syntax import Argument, Atom, String
from mailsuite.store.names import to_mutf7

_WORDS_OF_KEY = {"HEADER": 2, **dict.fromkeys(
    ("BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO", "KEYWORD", "UNKEYWORD", "UID", "MODSEQ", "OLDER",
     "YOUNGER"), 1)}
_TEXTS = frozenset({"BCC", "BODY", "CC", "FROM", "SUBJECT", "TEXT", "TO", "KEYWORD", "UNKEYWORD", "HEADER"})
_DATES = frozenset(which + how for which in ("", "SENT", "SAVED") for how in ("BEFORE", "ON", "SINCE"))
_ISO = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})")
_AGE = re.compile(r"(\d+)\s*([A-Za-z]+)")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_UNIT_NAMES = {"s": ("secs", "seconds"), "m": ("mins", "minutes"), "h": ("hours",), "d": ("days",), "w": ("weeks",)}
_SIZE = re.compile(r"(\d{1,18})([bkmgt]?)", re.IGNORECASE)
_NUMBERS = re.compile(r"[\d*][\d,:*]*")
_MIX = "Use parenthesis when mixing ANDs and ORs"


class Query:
    """A parsed query. separator: between the levels of mailbox names; "%" does not pass it. now: since the epoch."""

    def __init__(self, words: list[str], separator: str = "/", now: float | None = None) -> None:
        self._words, self._at = words, 0
        self._separator = separator
        self._now = time.time() if now is None else now
        self._count = self._depth = 0
        self._named: dict[int, str] = {}        # id of an InMailbox: the name it stands for, when it is only one
        self.key = self._list(nested=False)
        self.sole = self._sole()

    # --- parsing --------------------------------------------------------------------------------------------------

    def _list(self, *, nested: bool) -> Key:
        """Keys to the end, or to the closing parenthesis."""
        keys: list[Key] = []
        alternatives = False
        while True:
            word = self._peek()
            if word is None:
                if nested:
                    raise Failed("Missing ')'")
                break
            if word == ")":
                if not nested:
                    raise Failed("Unexpected ')'")
                self._at += 1
                break
            keys.append(self._key())
            if (self._peek() or "").upper() == "OR":
                self._at += 1
                alternatives = True
                if self._peek() is None:
                    raise Failed("Missing argument")
            elif alternatives and self._peek() not in (None, ")"):
                raise Failed(_MIX)
        if not keys:
            raise Failed("No search parameters inside list")
        if len(keys) == 1:
            return keys[0]
        if not alternatives:
            return And(tuple(keys))
        either = keys[-1]
        for key in reversed(keys[:-1]):
            either = Or(key, either)
        return either

    def _peek(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None

    def _key(self) -> Key:
        self._count += 1
        self._depth += 1
        if self._count > MAX_KEYS or self._depth > MAX_DEPTH:
            raise Failed("Too many search keys")
        try:
            return self._one_key()
        finally:
            self._depth -= 1

    def _one_key(self) -> Key:
        word = self._peek()
        if word is None:
            raise Failed("Missing argument")
        self._at += 1
        name = word.upper()
        if word == "(":
            return self._list(nested=True)
        if name == "OR":
            raise Failed("Missing argument" if self._peek() is None else _MIX)
        if name == "NOT":
            return Not(self._key())
        if name == "FUZZY":
            return self._key()
        if name in _OWN_KEYS:
            return _OWN_KEYS[name](self, name)
        return self._imap_key(word, name)

    def argument(self, name: str) -> str:
        """The next word, as it is."""
        word = self._peek()
        if word is None:
            raise Failed(f"Missing parameter for search key (for search key: {name})")
        self._at += 1
        return word

    def _imap_key(self, word: str, name: str) -> Key:
        if not word or not word.isascii() or not word.isprintable() or not _NUMBERS.fullmatch(word) \
                and not re.fullmatch(r"[A-Za-z0-9-]+", word):
            raise Failed(f"Unknown argument {name}")
        arguments: list[Argument] = [Atom(word.encode())]
        for _ in range(_WORDS_OF_KEY.get(name, 0)):
            value = self.argument(name).encode("utf-8", "surrogateescape")
            arguments.append(String(value) if name in _TEXTS else Atom(value))
        try:
            return parse_keys(arguments, "utf-8")
        except PeerError as error:
            raise Failed(error.public) from error

    def size(self, name: str) -> Key:
        """LARGER and SMALLER: 100, 100B, 10k, 1M."""
        text = self.argument(name)
        match = _SIZE.fullmatch(text)
        if match is None:
            raise Failed(f"Invalid size: {text}")
        return Size(int(match[1]) << {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40}[match[2].lower()],
                    name == "LARGER")

    def date(self, name: str) -> Key:
        """BEFORE and the like: a day in the machine's zone, or a moment."""
        text = self.argument(name)
        which = next((prefix for prefix in ("SENT", "SAVED") if name.startswith(prefix)), "")
        how = name.removeprefix(which)
        day = _day(text)
        if day is not None and which != "SAVED":
            return Day(how, day, sent=which == "SENT")
        at_s = self._moment(text) if day is None else time.mktime((1970, 1, 1 + day, 0, 0, 0, 0, 0, -1))
        if at_s is None:
            raise Failed(f"Invalid search date parameter: {text}")
        return Moment(how, which, at_s)

    def _moment(self, text: str) -> float | None:
        """Seconds since the epoch; None for what is neither that nor an age."""
        if text.isdecimal():
            return float(text[:20])
        match = _AGE.fullmatch(text)
        if match is None:
            return None
        unit = match[2].lower()
        letter = unit[0]
        if unit != letter and not any(name.startswith(unit) for name in _UNIT_NAMES.get(letter, ())):
            return None
        age_s = int(match[1][:15]) * _UNITS_S.get(letter, 0)
        return None if letter not in _UNITS_S or age_s > self._now else self._now - age_s

    def mailbox(self, name: str) -> Key:
        pattern = self.argument(name)
        key = InMailbox(matcher(pattern, self._separator))
        if not re.search("[*%]", pattern):
            self._named[id(key)] = pattern
        return key

    def mailbox_guid(self, name: str) -> Key:
        wanted = self.argument(name).lower()
        return InMailbox(lambda _name, guid: guid == wanted)

    def thread(self, name: str) -> Key:
        try:
            return in_thread(self.argument(name), self._key)
        except PeerError as error:
            raise Failed(error.public) from error

    # --- mailboxes ------------------------------------------------------------------------------------------------

    def _sole(self) -> str | None:
        keys = self.key.keys if isinstance(self.key, And) else (self.key,)
        boxes = [key for key in keys if isinstance(key, InMailbox)]
        return self._named.get(id(boxes[0])) if len(boxes) == 1 else None

    def may_match(self, name: str, guid: Callable[[], str]) -> bool:
        """name: as stored. guid: called only when the query asks for one."""
        return _may_match(self.key, name, guid)

    @property
    def asks_for_guid(self) -> bool:
        """Whether mailboxes have to be opened to know which are meant."""
        return any(word.upper() == "MAILBOX-GUID" for word in self._words)

    def must_name_mailboxes(self, command: str) -> None:
        """For commands that destroy: each branch has a MAILBOX, and something else. Raises Failed."""
        if not _everywhere(self.key, lambda key: isinstance(key, InMailbox)):
            raise Failed(f"{command}: To avoid accidents, search query must contain MAILBOX in all search branches",
                         EX_USAGE)
        if not _everywhere(self.key, lambda key: not isinstance(key, InMailbox)):
            raise Failed(f"{command}: To avoid accidents, each branch in search query must contain something else "
                         'besides MAILBOX (e.g. just add "all" if you want everything)', EX_USAGE)


_OWN_KEYS: Mapping[str, Callable[[Query, str], Key]] = {
    "MAILBOX": Query.mailbox,
    "MAILBOX-GUID": Query.mailbox_guid,
    "GUID": lambda query, name: Guid(query.argument(name)),
    "INTHREAD": Query.thread,
    "LARGER": Query.size,
    "SMALLER": Query.size,
    **dict.fromkeys(_DATES, Query.date),
}


def _day(text: str) -> int | None:
    """Days since the epoch of 14-Nov-2023 and 2023-11-14; None for another form."""
    match = _ISO.fullmatch(text)
    if match is not None:
        year, month, day = map(int, match.groups())
        year, month = year + (month - 1) // 12, (month - 1) % 12 + 1        # a thirteenth month is the next January
        text = f"01-{_MONTHS[month - 1]}-{year:04d}"
        return parse_date(text.encode()) + day - 1
    try:
        return parse_date(text.encode("utf-8", "surrogateescape"))
    except ValueError:
        return None


def matcher(pattern: str, separator: str) -> Callable[[str, str], bool]:
    """For InMailbox: does a mailbox's name fit? pattern: UTF-8, "*" stands for anything, "%" for one level."""
    stored = to_mutf7(pattern)
    wild = {"*": ".*", "%": f"[^{re.escape(separator)}]*"}
    expression = "".join(wild.get(char) or re.escape(char) for char in stored)
    test = re.compile(expression, re.DOTALL)
    inbox = re.compile(expression, re.DOTALL | re.IGNORECASE)
    return lambda name, _guid: (inbox if name == "INBOX" else test).fullmatch(name) is not None


def _may_match(key: Key, name: str, guid: Callable[[], str]) -> bool:
    match key:
        case InMailbox(fits):
            return fits(name, guid())
        case And(keys):
            return all(_may_match(each, name, guid) for each in keys)
        case Or(one, other):
            return _may_match(one, name, guid) or _may_match(other, name, guid)
        case Not(InMailbox(fits)):
            return not fits(name, guid())
        case Not(All()):
            return False
    return True


def _everywhere(key: Key, test: Callable[[Key], bool]) -> bool:
    """Whether every alternative holds a key that passes."""
    match key:
        case And(keys):
            return any(_everywhere(each, test) for each in keys)
        case Or(one, other):
            return _everywhere(one, test) and _everywhere(other, test)
        case Not(inner):
            return _everywhere(inner, test)
    return test(key)
