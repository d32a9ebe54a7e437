"""What a handshake of a transport agreed on."""

import asyncio

from mailsuite.base.dialogue import NameUse, TlsInfo
from mailsuite.tls.binding import bindings


def tls_info(transport: asyncio.BaseTransport) -> TlsInfo | None:
    """None where the transport has no TLS."""
    ssl_object = transport.get_extra_info("ssl_object")
    if ssl_object is None:
        return None
    name, _, bits = ssl_object.cipher() or ("", "", 0)
    certificate = ssl_object.getpeercert(binary_form=True) or b""
    return TlsInfo(protocol=ssl_object.version() or "", cipher=name, cipher_bits=bits, cipher_algorithm_bits=bits,
                   server_name=getattr(ssl_object, "mailsuite_server_name", ""),
                   name_use=getattr(ssl_object, "mailsuite_name_use", NameUse.NONE), peer_certificate=certificate,
                   peer_verified=bool(certificate) and bool(ssl_object.getpeercert()),
                   resumed=bool(getattr(ssl_object, "session_reused", False)), bindings=bindings(ssl_object))


