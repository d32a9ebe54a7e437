"""Octets not yet made into lines."""

from mailsuite.base.errors import PeerError


class LineBuffer:
    """A buffer that gives whole lines, or raw octets where a literal or a chunk was announced.

    limit: octets of one line, its CRLF counted (RFC 5321 section 4.5.3.1.4 asks for 512 at least).
    No octet is searched twice: a peer that drips one at a time costs O(n), not O(n*n).
    """

    __slots__ = ("_data", "_searched", "limit")

    def __init__(self, limit: int) -> None:
        self._data, self._searched, self.limit = bytearray(), 0, limit

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, octets: bytes) -> None:
        self._data += octets

    def clear(self) -> None:
        self._data.clear()
        self._searched = 0

    def only_line(self, octets: bytes) -> bytes | None:
        """The line that octets are, where they are exactly one and nothing waits; None: they have to be fed.

        Programs that answer each other send nothing else nearly always.
        """
        end = len(octets) - 1
        if self._data or octets.find(b"\n") != end or not 0 <= end < self.limit:
            return None
        return octets[:end - 1] if end and octets[end - 1] == 0x0D else octets[:end]

    def take_line(self) -> bytes | None:
        """Return one line without its end (LF or CRLF), or None until one is whole.

        Raises PeerError when the line is longer than the limit; framing is then lost.
        """
        end = self._data.find(b"\n", self._searched)
        self._searched = len(self._data) if end < 0 else 0
        if (len(self._data) if end < 0 else end + 1) > self.limit:
            raise PeerError("line too long", status="5.5.2")
        if end < 0:
            return None
        stop = end - 1 if end and self._data[end - 1] == 0x0D else end
        line = bytes(self._data[:stop])
        del self._data[: end + 1]
        return line

    def take_lines(self, octets: bytes) -> list[bytes]:
        """Feed octets, and return all lines that are whole now. Raises as take_line."""
        if not self._data and octets.endswith(b"\n") and len(octets) <= self.limit and b"\r" not in octets:
            return octets[:-1].split(b"\n")    # as most come from our own processes
        self._data += octets
        lines = []
        while (line := self.take_line()) is not None:
            lines.append(line)
        return lines

    def start(self, most: int) -> bytes:
        """Up to most octets of what waits; they go on waiting."""
        return bytes(self._data[:most])

    def take_rest(self) -> bytes:
        """Return all that waits."""
        if not self._data:
            return b""
        rest = bytes(self._data)
        self.clear()
        return rest

    def take_octets(self, most: int) -> bytes:
        """Return up to most octets, whatever they are."""
        taken = bytes(self._data[:most])
        del self._data[:most]
        self._searched = 0
        return taken
