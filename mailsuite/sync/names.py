"""Which folders of two sides belong together.

    keyed(left, right, unusable=frozenset("./"), alternative="_") -> (left by key, right by key)

A key is the name's parts with what either side can't have replaced, as dsync's alternative character does. Two
folders of one side that become the same key are told apart by a digest at the end of the name; so the mapping depends
on names only and is the same in every run. INBOX is INBOX in any case.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from mailsuite.sync.model import Folder, Parts
from mailsuite.sync.options import Options

Keyed = dict[Parts, Folder]


def key_of(parts: Parts, unusable: frozenset[str], alternative: str) -> Parts:
    if len(parts) == 1 and parts[0].upper() == "INBOX":
        return ("INBOX",)
    return tuple("".join(alternative if char in unusable or char < " " or char == "\x7f" else char for char in part)
                 or alternative for part in parts)


def _keys(folders: Iterable[Folder], unusable: frozenset[str], alternative: str) -> Keyed:
    found: Keyed = {}
    # A name that needs no change keeps its key; those that were changed give way.
    for folder in sorted(folders, key=lambda one: (key_of(one.parts, unusable, alternative) != one.parts, one.parts)):
        key = key_of(folder.parts, unusable, alternative)
        if key in found:
            whole = "\0".join(folder.parts).encode("utf-8", "surrogateescape")
            mark = hashlib.blake2b(whole, digest_size=4).hexdigest()
            key = (*key[:-1], f"{key[-1]}{alternative}{mark}")
        found[key] = folder
    return found


def keyed(left: Iterable[Folder], right: Iterable[Folder], *, unusable: frozenset[str],
          alternative: str) -> tuple[Keyed, Keyed]:
    return _keys(left, unusable, alternative), _keys(right, unusable, alternative)


def map_special(source: Keyed, target: Keyed) -> Keyed:
    """The source's folders under the keys of the target's folders of the same use, where the use is unambiguous."""
    uses = _uses(target)
    moved: Keyed = {}
    for use, key in _uses(source).items():
        other = uses.get(use)
        if other is not None and other != key and other not in source:
            moved[key] = source[key]
    taken = {key: uses[use] for use, key in _uses(source).items() if key in moved}
    return {taken.get(key, key): folder for key, folder in source.items()}


def _uses(folders: Keyed) -> dict[str, Parts]:
    found: dict[str, list[Parts]] = {}
    for key, folder in folders.items():
        for use in folder.special:
            found.setdefault(use, []).append(key)
    return {use: keys[0] for use, keys in found.items() if len(keys) == 1 and use in
            ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")}


def _mask(pattern: str) -> re.Pattern[str]:
    wild: Mapping[str, str] = {"*": ".*", "?": "."}
    return re.compile("".join(wild.get(char) or re.escape(char) for char in pattern), re.DOTALL)


def chosen(key: Parts, folders: Iterable[Folder | None], options: Options, separator: str) -> bool:
    """Do -m and -x let a folder through? Masks are in UTF-8, with the first side's separator or "/"."""
    special = {use.lower() for folder in folders if folder is not None for use in folder.special}
    spelled = {separator.join(key), "/".join(key)}

    def fits(pattern: str) -> bool:
        if pattern.startswith("\\"):
            return pattern.lower() in special
        if pattern.upper() == "INBOX":
            return key == ("INBOX",)
        return any(_mask(pattern).fullmatch(name) for name in spelled)

    if options.mailboxes and not any(fits(pattern) for pattern in options.mailboxes):
        return False
    return not any(fits(pattern) for pattern in options.exclude)
