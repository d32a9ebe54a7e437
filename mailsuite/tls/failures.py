"""What OpenSSL says of a handshake that failed: for the log, and for the peer.

    text = openssl_text(error)      "error:0A000102:SSL routines::unsupported protocol", as other programs log it
    context = TellingContext(ssl.PROTOCOL_TLS_SERVER)
    alert_of(error) -> bytes        the TLS record that tells the peer why (RFC 8446 section 6), from such a context

asyncio and uvloop drop a connection whose handshake failed together with the alert that OpenSSL has ready: the client
then sees an end without a reason ("unexpected eof"), where Postfix's would see "alert protocol version".
"""

import _ssl
import ssl
from typing import Any

_REASONS: dict[str, tuple[int, int]] = getattr(_ssl, "err_names_to_codes", {})


def openssl_text(error: BaseException) -> str:
    """As ERR_error_string(3) has it; "" when the TLS library had nothing to complain of: the peer has just gone."""
    reason = getattr(error, "reason", "")
    if not isinstance(error, ssl.SSLError) or not reason:
        return "" if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else str(error)
    library, number = _REASONS.get(reason, (0, 0))
    text = reason.lower().replace("_", " ")
    return f"error:{library << 23 | number:08X}:{error.library} routines::{text}" if library else text


def alert_of(error: BaseException) -> bytes:
    """b"" when there is none."""
    alert: bytes = getattr(error, "alert", b"")
    return alert


class _TellingObject(ssl.SSLObject):
    """Hangs the alert onto the error."""

    outgoing: ssl.MemoryBIO

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            error.alert = self.outgoing.read()  # type: ignore[attr-defined]
            raise


class TellingContext(ssl.SSLContext):
    """A context whose failed handshakes leave an alert with their error."""

    sslobject_class = _TellingObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *args: Any, **named: Any) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, *args, **named)
        assert isinstance(made, _TellingObject)
        made.outgoing = outgoing
        return made
