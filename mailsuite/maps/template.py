"""Templates of database tables: %s, %u, %d and their kind in queries, keys and results.

    templates = Templates("/etc/postfix/users.cf", query=..., result="%s")      raises BadTable
    templates.asks(key)                            whether the key has all that the templates need; else: not found
    templates.query(key, quote) -> octets          quote: makes octets safe where they are put
    templates.result(value, key) -> octets | None

In a query and in a key format %s and %S are the key, %u and %U its local part (the whole key when it has no domain), %d
and %D its domain, %1 to %9 labels of the domain from the right. In a result format %s, %u and %d are the value's, the
others the key's. A key without what one of them needs is not looked up; a value without it is left out.
Source: pgsql_table(5), ldap_table(5), and what Postfix 3.7 does with keys such as "@domain", "user@", "a@b@c".
"""

from collections.abc import Callable
from typing import NamedTuple

from mailsuite.maps.table import BadTable

Quote = Callable[[bytes], bytes]


class _Parts(NamedTuple):
    """A text and what stands left and right of its last "@"; domain None: there is no "@"."""

    whole: bytes
    user: bytes
    domain: bytes | None


def _split(text: bytes) -> _Parts:
    user, at, domain = text.rpartition(b"@")
    return _Parts(text, user, domain) if at else _Parts(text, text, None)


def _parse(text: str) -> list[bytes | str]:
    """Octets as they stand, and letters. Raises ValueError."""
    parts: list[bytes | str] = []
    pieces = text.split("%")
    parts.append(_octets(pieces[0]))
    position = 1
    while position < len(pieces):
        piece = pieces[position]
        if not piece and position + 1 < len(pieces):        # "%%"
            parts.append(b"%" + _octets(pieces[position + 1]))
            position += 2
            continue
        if piece[:1] not in tuple("sudSUD123456789"):
            raise ValueError(text)
        parts += [piece[0], _octets(piece[1:])]
        position += 1
    return [part for part in parts if part]


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class Templates:
    """The query (one, or several that are filled in with the same key) and the result format of a table.

    path: for messages.
    """

    def __init__(self, path: str, *, queries: list[str], result: str = "%s") -> None:
        self._queries = [self._read(path, "query", query) for query in queries]
        self._result = self._read(path, "result", result)
        of_key = {part for query in self._queries for part in query if isinstance(part, str)}
        in_result = {part for part in self._result if isinstance(part, str)}
        self.uses_key = bool(of_key)
        of_key |= {part for part in in_result if part in "SUD" or part.isdigit()}
        self._labels = max((int(part) for part in of_key if part.isdigit()), default=0)
        self._key_domain = self._labels > 0 or bool(of_key & set("dD"))
        self._key_user = bool(of_key & set("uU"))
        self._value_domain, self._value_user = "d" in in_result, "u" in in_result
        self.plain_result = self._result == ["s"]

    @staticmethod
    def _read(path: str, kind: str, text: str) -> list[bytes | str]:
        try:
            return _parse(text)
        except ValueError:
            raise BadTable(f"db_common_parse: {path}: Invalid {kind} template: {text}") from None

    def fixed(self, query: int) -> bool:
        """Whether this query has no place for the key."""
        return not any(isinstance(part, str) for part in self._queries[query])

    def asks(self, key: bytes) -> bool:
        """Whether the key has all that the templates need."""
        parts = _split(key)
        if self._key_domain and not parts.domain:
            return False
        if self._key_user and parts.domain is not None and not parts.user:
            return False
        return len(_labels(parts)) >= self._labels

    def query(self, key: bytes, quote: Quote, which: int = 0) -> bytes:
        """The query for a key that `asks` takes."""
        parts = _split(key)
        return b"".join(part if isinstance(part, bytes) else quote(_of(part.lower(), parts))
                        for part in self._queries[which])

    def result(self, value: bytes, key: bytes) -> bytes | None:
        """What becomes of one value; None when it lacks a part that the format asks for."""
        if self.plain_result:
            return value
        mine, parts = _split(value), _split(key)
        if self._value_domain and not mine.domain or self._value_user and mine.domain is not None and not mine.user:
            return None
        return b"".join(part if isinstance(part, bytes) else
                        _of(part, mine) if part in "sud" else _of(part.lower(), parts) for part in self._result)


def _labels(parts: _Parts) -> list[bytes]:
    return [label for label in (parts.domain or b"").split(b".") if label]


def _of(letter: str, parts: _Parts) -> bytes:
    if letter == "s":
        return parts.whole
    if letter == "u":
        return parts.user
    if letter == "d":
        return parts.domain or b""
    return _labels(parts)[-int(letter)]
