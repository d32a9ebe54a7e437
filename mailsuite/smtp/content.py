"""A message's content on its way in: DATA up to CRLF.CRLF, BDAT by counted chunks.

    content.expect_data(then)           DATA was answered: its content follows
    content.expect_chunk(chunk)         likewise for BDAT
    content.take_data(octets, actions), .take_chunk(octets, actions) -> None, or the outcome behind the end

What is certain goes out as Body actions in blocks, dots and line ends undone (data.py). Counted is what a client would
have sent with CRLF. Over message_size_limit nothing more goes out, and `failed` says so.
"""

from collections.abc import Callable

from mailsuite.base.dialogue import Action, Body
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.data import ChunkDecoder, DotDecoder, FirstLine
from mailsuite.smtp.facts import BdatState, Facts
from mailsuite.smtp.outcome import Chunk, Outcome


class Incoming:
    """The content of one session's messages, one after the other.

    bdat, chunks: where a series of BDAT commands stands. bare_lf: there was one in the message; looked for only while
    refuses_bare_lf, which the server takes back for smtpd_forbid_bare_newline_exclusions.
    """

    def __init__(self, config: SessionConfig, facts: Facts) -> None:
        self._facts, self._limit = facts, config.message_size_limit
        self.dots: DotDecoder | None = None         # there while DATA's content comes
        self.chunk_left = 0                         # octets of a BDAT command that are still to come
        self.bdat = BdatState.NONE
        self.chunks: ChunkDecoder | None = None
        self.failed = False
        self.refuses_bare_lf = bool(config.bare_lf_reply)
        self.bare_lf = False
        self.rest = b""                             # what came behind the end
        self._first_line: FirstLine | None = None   # there with `dots`
        self._after: Callable[[], Outcome] | None = None
        self._chunk: Chunk | None = None
        self._unfinished = 0                        # octets of a last line that is not whole yet
        self._last_octet = b""

    def expect_data(self, then: Callable[[], Outcome]) -> None:
        """Content follows until CRLF.CRLF, then `then` is the next outcome."""
        self._first_line = FirstLine()
        self.dots, self._after = DotDecoder(), then

    def expect_chunk(self, chunk: Chunk) -> None:
        """chunk.size octets follow; none: `end_chunk` is the caller's next step."""
        self._chunk, self.chunk_left = chunk, chunk.size

    def take_data(self, octets: bytes, actions: list[Action]) -> Outcome | None:
        """Content of DATA; at its end what follows, and `rest`."""
        dots, first_line = self.dots, self._first_line
        assert dots is not None and first_line is not None
        if self.refuses_bare_lf:
            self._look_for_bare_lf(octets)
        self._pass_on(first_line.feed(dots.feed(octets)), actions)
        if not dots.ended:
            return None
        self.dots = None
        if waited := first_line.finish():
            self._pass_on(waited, actions)
        self.rest = dots.rest
        after, self._after = self._after, None
        assert after is not None
        return after()

    def take_chunk(self, octets: bytes, actions: list[Action]) -> Outcome | None:
        """Content of BDAT, chunk_left octets at most; at its end what follows."""
        self.chunk_left -= len(octets)
        chunk = self._chunk
        assert chunk is not None
        if chunk.keep and self.chunks is not None:
            if self.refuses_bare_lf:
                self._look_for_bare_lf(octets)
            self._pass_on(self.chunks.feed(octets), actions)
        return None if self.chunk_left else self.end_chunk(actions)

    def end_chunk(self, actions: list[Action]) -> Outcome:
        """The outcome of a chunk that is whole."""
        chunk, self._chunk = self._chunk, None
        assert chunk is not None
        if chunk.ready and self.chunks is not None:
            self._pass_on(self.chunks.feed(chunk.ready), actions)
        if chunk.keep and chunk.last and self.chunks is not None:
            self._pass_on(self.chunks.finish(), actions)        # the last line's end
        return chunk.then()

    def forget(self) -> None:
        """The message is given up."""
        self.bdat, self.chunks = BdatState.NONE, None
        self.failed = self.bare_lf = False

    @property
    def whole_lines_size(self) -> int:
        """Octets of the lines that are whole, as the log counts what came before a connection broke."""
        return self._facts.actual_size - self._unfinished

    def _pass_on(self, octets: bytes, actions: list[Action]) -> None:
        """To the message, until it is too much."""
        if not octets:
            return
        facts = self._facts
        facts.actual_size += len(octets) + octets.count(b"\n")
        end = octets.rfind(b"\n")
        self._unfinished = len(octets) - end - 1 if end >= 0 else self._unfinished + len(octets)
        if 0 < self._limit < facts.actual_size:
            self.failed = True
        if not self.failed:
            actions.append(Body(octets))

    def _look_for_bare_lf(self, octets: bytes) -> None:
        if not self.bare_lf and octets:
            whole = octets.count(b"\r\n") + (octets[0] == 10 and self._last_octet == b"\r")
            self.bare_lf = octets.count(b"\n") > whole
            self._last_octet = octets[-1:]
