"""pop3_logout_format: the text of the log line at the end of a session.

    logout_text(context, octets_in, octets_out, variables) -> "top=0/0, retr=1/33, del=1/5, size=90"

%t %p TOP commands, octets sent by them; %r %b the same of RETR; %d messages deleted (%{deleted_bytes}: their octets);
%m %s messages in the mailbox at login, their octets; %i %o octets read and sent; %u what became of the list of UIDLs;
%{session} and the variables of the user (%n, %{remote...}) as everywhere.
%u is "COUNT/HASH": messages below the first one that RETR asked for, thus left there by an earlier session, and the
CRC-32 of their UIDLs, all XORed; behind " -> " the same of what this session leaves, where that differs.
Blocks: sizes may have to be read.
"""

import re
import zlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mailsuite.config.variables import expand_variables
from mailsuite.pop3.counts import Counts
from mailsuite.pop3.maildrop import Maildrop
from mailsuite.pop3.params import Params

if TYPE_CHECKING:
    from mailsuite.pop3.commands import Context

_LONG = {"top_count": "t", "top_bytes": "p", "retr_count": "r", "retr_bytes": "b", "deleted_count": "d",
         "message_count": "m", "message_bytes": "s", "input": "i", "output": "o", "uidl_change": "u"}

# These look at all messages: only for who wants to know.
_UIDL_CHANGE = re.compile(r"%[-0-9.]*[A-Z]*(?:u|\{uidl_change\})")
_SIZE = re.compile(r"%[-0-9.]*[A-Z]*(?:s|\{message_bytes\})")


def logout_text(context: "Context", octets_in: int, octets_out: int, variables: Mapping[str, str]) -> str:
    maildrop, text = context.maildrop, context.params.logout_format
    values = {**variables, **_counted(context.counts), "m": str(maildrop.count), "i": str(octets_in),
              "o": str(octets_out), "u": _uidl_change(maildrop) if _UIDL_CHANGE.search(text) else "",
              "s": str(maildrop.total) if _SIZE.search(text) else "0"}
    return expand_variables(text, {**values, **{long: values[letter] for long, letter in _LONG.items()}})


def refused_text(params: Params) -> str:
    """Of a session that did not come to be."""
    letters = dict.fromkeys([*_LONG, *_LONG.values(), "deleted_bytes"], "0")
    return expand_variables(params.logout_format, {**letters, "u": "", "uidl_change": ""})


def _counted(counts: Counts) -> dict[str, str]:
    return {"t": str(counts.top), "p": str(counts.top_octets), "r": str(counts.retr), "b": str(counts.retr_octets),
            "d": str(counts.deleted), "deleted_bytes": str(counts.deleted_octets)}


def _uidl_change(maildrop: Maildrop) -> str:
    uidls = maildrop.uidls if maildrop.uidls_told else []       # only where the client has asked for them
    if not uidls:
        return ""
    before = maildrop.lowest_retrieved - 1 if maildrop.lowest_retrieved else maildrop.count
    left = maildrop.left
    old, new = f"{before}/{_hash(uidls[:before])}", f"{len(left)}/{_hash(uidls[at] for at in left)}"
    return old if old == new else f"{old} -> {new}"


def _hash(uidls: Iterable[bytes]) -> str:
    value = 0
    for uidl in uidls:
        value ^= zlib.crc32(uidl)
    return f"{value:08x}"
