"""Characters that a message must not have (message_reject_characters), or shall not keep (message_strip_characters).

    characters = Characters.of(settings)            None: all are welcome
    kept, line = characters.look(octets)            line: the one with a disallowed character, None: there is none

Both are sets of octets, written with C's escape sequences. Line ends always stay.
"""

import re
from typing import TYPE_CHECKING

from mailsuite.queue import params

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


class Characters:
    """The two sets of one configuration."""

    def __init__(self, reject: bytes, strip: bytes) -> None:
        self._strip = strip
        self._rejected = re.compile(b"[%b]" % re.escape(reject)) if reject else None

    @classmethod
    def of(cls, settings: "Settings") -> "Characters | None":
        """What settings want."""
        reject = settings[params.MESSAGE_REJECT_CHARACTERS].replace(b"\n", b"")
        strip = settings[params.MESSAGE_STRIP_CHARACTERS].replace(b"\n", b"")
        return cls(reject, strip) if reject or strip else None

    def look(self, octets: bytes) -> tuple[bytes, str | None]:
        """What is kept of a block (of one with a disallowed character the lines before it), and that line as logged."""
        line = None
        if self._rejected is not None and (found := self._rejected.search(octets)) is not None:
            start = octets.rfind(b"\n", 0, found.start()) + 1
            line = _shown(octets[start:octets.find(b"\n", start) if b"\n" in octets[start:] else len(octets)])
            octets = octets[:start]
        return (octets.translate(None, self._strip) if self._strip else octets), line


def _shown(line: bytes) -> str:
    """A line up to a NUL; other control characters become question marks."""
    text = line.partition(b"\0")[0].decode("utf-8", "backslashreplace")[:200]
    return "".join(character if character.isprintable() else "?" for character in text)
