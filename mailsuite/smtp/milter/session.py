"""Our side of one connection to a milter: what is sent when, and what its answers mean. No sockets, no clocks.

    session = MilterSession(version, options)
    octets = session.hello(); session.feed(octets) ...; session.agree()     raises PeerError
    octets, answered = session.event("rcpt", strings([...]), macro_values)  b"": this milter does not want it
    session.feed(octets); reply = session.reply("rcpt", ...)                None: the answer is not whole yet

A `Verdict` is what an answer means for the mail; Verdict.CONTINUE is None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from mailsuite.base.errors import PeerError
from mailsuite.smtp.milter.reply_text import read_reply_text
from mailsuite.smtp.milter.settings import MilterOptions
from mailsuite.smtp.milter.syntax import (
    EDITS,
    EVENTS,
    MACROS,
    OFFERED_ACTIONS,
    OFFERED_STEPS,
    Agreement,
    Kind,
    PacketBuffer,
    Reply,
    Steps,
    offer,
    packet,
    read_agreement,
    read_reply,
)
from mailsuite.smtp.milter.macros import chosen
