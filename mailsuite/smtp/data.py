"""Message content off the wire, in blocks: dot-unstuffing, line ends, and the one true end of data.

    decoder = DotDecoder();  decoder.feed(octets) -> content with LF line ends
    decoder.ended -> True once CRLF.CRLF came;  decoder.rest -> what followed it

The end of data is <CR><LF>.<CR><LF> and nothing else (RFC 5321 section 4.1.1.4). A bare LF ends a line of content,
never the data: otherwise one server's content is another's commands ("SMTP smuggling"). A bare CR is content.
Cost: a few searches per block, whatever the lines; at most four octets wait for the next block.
"""

import re

_END = b"\r\n.\r\n"
_UNDECIDED = re.compile(rb"(?:\r?\n(?:\.\r?)?|\r)\Z")      # what follows decides what it is
_FIRST_LINE_LIMIT = 64


class DotDecoder:
    """Content of a DATA command."""

    __slots__ = ("_held", "_virtual", "ended", "rest")

    def __init__(self) -> None:
        # The CRLF of the DATA command itself counts: ".<CR><LF>" alone is an empty message.
        self._held = b"\r\n"
        self._virtual = True
        self.ended = False
        self.rest = b""

    def feed(self, octets: bytes) -> bytes:
        """Content that is certain by now."""
        octets = self._held + octets
        end = octets.find(_END)
        if end >= 0:
            body, self.rest, self.ended = octets[:end + 2], octets[end + 5:], True
            self._held = b""
        else:
            undecided = _UNDECIDED.search(octets[-4:])
            keep = len(undecided[0]) if undecided is not None else 0
            body = octets[:-keep] if keep else octets
            self._held = octets[-keep:] if keep else b""
        if not body:
            return b""
        content = body.replace(b"\r\n", b"\n")
        if b"\n." in content:
            # A dot alone on a line that is not the end of data goes with its line.
            while b"\n.\n" in content:
                content = content.replace(b"\n.\n", b"\n")
            if content.endswith(b"\n.") and self._held.startswith((b"\n", b"\r\n")):
                content = content[:-2]              # its line end is held
            content = content.replace(b"\n.", b"\n")
        if self._virtual and content:
            self._virtual = False
            content = content[1:]
        return content


class ChunkDecoder:
    """Content of BDAT chunks: line ends only. One for all chunks of a message."""

    __slots__ = ("_cr", "_ends_line")

    def __init__(self) -> None:
        self._cr = False
        self._ends_line = True

    def feed(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        if self._cr:
            octets = b"\r" + octets
        self._cr = octets.endswith(b"\r")
        if self._cr:
            octets = octets[:-1]
        content = octets.replace(b"\r\n", b"\n")
        if content:
            self._ends_line = content.endswith(b"\n")
        return content

    def finish(self) -> bytes:
        """What is missing at the end: a CR that waited, the last line's end."""
        rest = b"\r" if self._cr else b""
        self._cr = False
        return rest if self._ends_line and not rest else rest + b"\n"


class FirstLine:
    """Looks at the first lines of content that DATA brings; BDAT is taken as it is.

    The mbox "From " lines that it begins with become X-Mailbox-Line:, and a first line, or one behind those, that
    begins with white space is body, not the continuation of our own header.
    """

    __slots__ = ("_done", "_held")

    def __init__(self) -> None:
        self._held, self._done = b"", False

    def feed(self, content: bytes) -> bytes:
        if self._done:
            return content
        return self._judge(self._held + content)

    def finish(self) -> bytes:
        """What waits when the message is over."""
        return b"" if self._done else self._judge(self._held, ended=True)

    def _judge(self, content: bytes, *, ended: bool = False) -> bytes:
        """The lines that are judged, and if they are followed by another one all the rest."""
        marked: list[bytes] = []
        while content:
            line, end, rest = content.partition(b"\n")
            if not end and not ended and len(line) < _FIRST_LINE_LIMIT:
                self._held = content
                return b"".join(marked)
            if not line.lstrip(b">").startswith(b"From "):
                break
            marked.append(b"X-Mailbox-Line: " + line + end)
            content = rest
            if not end:
                break
        else:
            self._held = b""
            return b"".join(marked)
        self._done, self._held = True, b""
        if content.startswith((b" ", b"\t")):
            marked.append(b"\n")
        marked.append(content)
        return b"".join(marked)
