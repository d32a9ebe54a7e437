"""Patterns of LIST: "*" is anything, "%" anything up to the separator (RFC 3501 section 6.3.8).

    matches = by_readable_name(matcher_of(context, ["INBOX*", "a.%"]));  matches("a.b") -> True

Cost: linear for up to three wildcards, for more at most the name's length squared: a client's pattern stops nobody.
"""

import re
from collections.abc import Callable, Sequence

from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.names import readable

Matcher = Callable[[str], bool]


def matcher(patterns: Sequence[str], separator: str) -> Matcher:
    """Does a name match one of the patterns? "%" stops at the separator, INBOX is matched in any case."""
    compiled = [_compile(pattern, separator) for pattern in patterns]
    return lambda name: any(matches(name) for matches in compiled)


def matcher_of(context: Context, patterns: Sequence[str]) -> Matcher:
    """As matcher, with the separator of each name's namespace."""
    separators = {space.separator for space in context.store.namespaces()} | {context.store.separator}
    separators |= {context.store.separator_of(pattern) for pattern in patterns}
    if len(separators) == 1:
        return matcher(patterns, context.store.separator)
    matchers = {separator: matcher(patterns, separator) for separator in separators}
    return lambda name: matchers.get(context.store.separator_of(name), matchers[context.store.separator])(name)


def by_readable_name(matches: Matcher) -> Matcher:
    return lambda name: matches(readable(name))


def _compile(pattern: str, separator: str) -> Matcher:
    exact = _glob(pattern, separator)
    start = re.match(r"[^*%]*", pattern)
    assert start is not None
    head = start[0][:5]
    # The client's spelling of INBOX may differ in its literal beginning, or a wildcard stands for it.
    other = _glob(head.upper() + pattern[len(head):], separator) if "INBOX".startswith(head.upper()) else None

    def matches(name: str) -> bool:
        if name[:5] != "INBOX":
            return exact(name)
        return exact(name) or exact("inbox" + name[5:]) or (other is not None and other(name))

    return matches


def _glob(pattern: str, separator: str) -> Matcher:
    parts = re.findall(r"[*%]+|[^*%]+", pattern)
    if sum(part[0] in "*%" for part in parts) > 3:
        return lambda name: _simulate(parts, separator, name)
    not_separator = f"[^{re.escape(separator)}]*"
    wild = [(".*" if "*" in part else not_separator) if part[0] in "*%" else re.escape(part) for part in parts]
    compiled = re.compile("".join(wild), re.S)
    return lambda name: compiled.fullmatch(name) is not None


def _simulate(parts: Sequence[str], separator: str, name: str) -> bool:
    """For many wildcards: all places that can be reached at once, so no name costs more than its length squared."""
    places = {0}
    for part in parts:
        if part[0] not in "*%":
            places = {place + len(part) for place in places if name.startswith(part, place)}
        elif "*" in part:
            places = set(range(min(places), len(name) + 1)) if places else places
        else:
            reached: set[int] = set()
            for place in sorted(places):
                end = name.find(separator, place)
                reached.update(range(place, (len(name) if end < 0 else end) + 1))
            places = reached
        if not places:
            return False
    return len(name) in places
