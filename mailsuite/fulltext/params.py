"""What `plugin { }` of dovecot.conf says about full text.

    options = FullTextOptions.of(settings.plugin)

fts                     no, none or off: no full text; anything else, squat, solr, lucene and flatcurve among it, and
                        nothing at all: our own
fts_autoindex           yes: new messages are looked at before anyone searches; default no: from the first search on
fts_autoindex_exclude, fts_autoindex_exclude2...    mailboxes that are not, with * and ? or \\Trash for a special use
fts_autoindex_max_recent_msgs   not where more messages are \\Recent; 0: no limit
fts_enforced            yes, body: a search first has the words of all messages looked at; no: in the background
fts_message_max_size    messages with more octets of text are read when somebody searches; 16M
Our own: fts_index_max_size     octets of a user's file; 1G, 0: no limit
fts_least_messages      smaller mailboxes are read when somebody searches; 200
Languages, filters, tokenizers, decoders and headers (fts_languages...) have no meaning here: all is found as it stands.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

_OFF = frozenset({"no", "none", "off", "false", "0"})
_SIZE = re.compile(r"(\d{1,15})\s*([bkmgt]?)(?:i?b)?", re.I)
SIZES = ("fts_autoindex_max_recent_msgs", "fts_message_max_size", "fts_index_max_size", "fts_least_messages")
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True)
class FullTextOptions:
    """Sizes in octets, 0 for no limit. exclude: masks of mailboxes that are not indexed by themselves."""

    enabled: bool = True
    autoindex: bool = False
    exclude: tuple[str, ...] = ()
    max_recent: int = 0
    enforced: bool = False
    message_size: int = 16 << 20
    index_size: int = 1 << 30
    least_messages: int = 200

    @classmethod
    def of(cls, plugin: Mapping[str, str]) -> "FullTextOptions":
        """What cannot be read has its default."""
        return cls(
            enabled=plugin.get("fts", "").strip().lower() not in _OFF,
            autoindex=_yes(plugin.get("fts_autoindex", "")),
            exclude=tuple(value.strip().strip('"') for name, value in plugin.items()
                          if re.fullmatch(r"fts_autoindex_exclude\d*", name) and value.strip()),
            max_recent=_size(plugin, "fts_autoindex_max_recent_msgs", 0),
            enforced=_yes(plugin.get("fts_enforced", "")) or plugin.get("fts_enforced", "").strip() == "body",
            message_size=_size(plugin, "fts_message_max_size", cls.message_size),
            index_size=_size(plugin, "fts_index_max_size", cls.index_size),
            least_messages=_size(plugin, "fts_least_messages", cls.least_messages))

    def takes_by_itself(self, names: Iterable[str], special_use: Iterable[str] = ()) -> bool:
        """Is a mailbox indexed before anyone searches it? names: with its namespace's prefix, and without."""
        called, uses = list(names), {use.lower() for use in special_use}
        return self.autoindex and not any(
            mask.lower() in uses if mask.startswith("\\") else
            any(fnmatchcase(name, mask.replace("[", "[[]")) for name in called)
            for mask in self.exclude)


def _yes(text: str) -> bool:
    return text.strip().lower() in ("yes", "y", "1", "true", "on")


def readable_size(text: str) -> bool:
    """Can a value of SIZES be read?"""
    return _SIZE.fullmatch(text.strip()) is not None


def _size(plugin: Mapping[str, str], name: str, default: int) -> int:
    match = _SIZE.fullmatch(plugin.get(name, "").strip())
    return default if match is None else int(match[1]) * _UNITS[match[2].lower()]
