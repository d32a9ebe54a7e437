"""Channel bindings of a TLS connection: what names this very connection to both ends, for SCRAM-...-PLUS.

    bindings(ssl_object) -> {"tls-exporter": 32 octets, "tls-server-end-point": a hash}      after the handshake

"tls-exporter" (RFC 9266) for TLS 1.3; "tls-unique" (RFC 5929) up to TLS 1.2, only with the extended master secret, as
without it two connections may have the same one (RFC 7627). "tls-server-end-point": a hash of our certificate.

Python's ssl module gives "tls-unique" alone (`ssl.CHANNEL_BINDING_TYPES`). The others are asked of the OpenSSL library
that it uses, by ctypes. The connection's handle lies in a structure of the interpreter that is no public interface; so
it is used only where the structure holds what it must (the connection's SSLContext, right behind the handle), and only
after a handshake in memory has shown, once in a process, that both ends get the same. Elsewhere (another interpreter, a
library without these functions) nothing is bound, and -PLUS is not offered. A Python with a "tls-exporter" is asked.
"""

import ctypes
import hashlib
import ssl
import sys
from functools import cache
from typing import Any

EXPORTER_LABEL = b"EXPORTER-Channel-Binding"       # RFC 9266 section 2
EXPORTER_OCTETS = 32
_GET_EXTMS_SUPPORT = 122                           # openssl/ssl.h: SSL_CTRL_GET_EXTMS_SUPPORT
_CERTIFICATE_LIMIT = 65536


def bindings(ssl_object: ssl.SSLObject | ssl.SSLSocket) -> dict[str, bytes]:
    """What this connection can be bound by, the best first; {} where that cannot be found out. Never raises."""
    library = _library()
    if library is None:
        return {}
    found: dict[str, bytes] = {}
    try:
        if ssl_object.version() == "TLSv1.3":
            own = "tls-exporter" in ssl.CHANNEL_BINDING_TYPES       # a Python to come
            exported = ssl_object.get_channel_binding("tls-exporter") if own else library.exported(ssl_object)
            if exported:
                found["tls-exporter"] = exported
        elif library.has_extended_master_secret(ssl_object) and (
                unique := ssl_object.get_channel_binding("tls-unique")):
            found["tls-unique"] = unique
        if certificate := library.own_certificate(ssl_object):
            found["tls-server-end-point"] = end_point(certificate)
    except (ValueError, OSError, AttributeError):
        return {}
    return found


def prepare() -> bool:
    """Find out now whether connections can be bound (some 50 ms, once in a process); else the first one does."""
    return _library() is not None


def end_point(certificate: bytes) -> bytes:
    """The hash of a certificate (DER) by its own signature's algorithm; SHA-256 for MD5 and SHA-1, and where the
    signature has none (RFC 5929 section 4.1)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(certificate).signature_hash_algorithm
    except (ValueError, UnsupportedAlgorithm):
        algorithm = None
    name = algorithm.name if algorithm is not None else "sha256"
    return hashlib.new("sha256" if name in ("md5", "sha1") else name, certificate).digest()


class _Library:
    """The functions of libssl and libcrypto that are needed, found through the ssl module's own library."""

    def __init__(self, name: str) -> None:
        lib = ctypes.CDLL(name)                    # a symbol is looked for in what it is linked with, too
        pointer, size = ctypes.c_void_p, ctypes.c_size_t
        self._export = lib.SSL_export_keying_material
        self._export.argtypes = [pointer, ctypes.c_char_p, size, ctypes.c_char_p, size, ctypes.c_char_p, size,
                                 ctypes.c_int]
        self._ctrl = lib.SSL_ctrl
        self._ctrl.argtypes, self._ctrl.restype = [pointer, ctypes.c_int, ctypes.c_long, pointer], ctypes.c_long
        self._certificate = lib.SSL_get_certificate
        self._certificate.argtypes, self._certificate.restype = [pointer], pointer
        self._to_der = lib.i2d_X509
        self._to_der.argtypes = [pointer, ctypes.POINTER(ctypes.c_char_p)]

    def exported(self, ssl_object: Any) -> bytes:
        """RFC 9266: 32 octets, with an empty context."""
        handle = _handle(ssl_object)
        out = ctypes.create_string_buffer(EXPORTER_OCTETS)
        if handle is None or self._export(handle, out, EXPORTER_OCTETS, EXPORTER_LABEL, len(EXPORTER_LABEL),
                                          b"", 0, 1) != 1:
            return b""
        return out.raw

    def has_extended_master_secret(self, ssl_object: Any) -> bool:
        handle = _handle(ssl_object)
        return handle is not None and self._ctrl(handle, _GET_EXTMS_SUPPORT, 0, None) == 1

    def own_certificate(self, ssl_object: Any) -> bytes:
        """The certificate that we showed, as DER; several may be loaded, of which the handshake chose one."""
        handle = _handle(ssl_object)
        certificate = self._certificate(handle) if handle is not None else None
        length = self._to_der(certificate, None) if certificate else 0
        if not 0 < length <= _CERTIFICATE_LIMIT:
            return b""
        area = ctypes.create_string_buffer(length)
        place = ctypes.c_char_p(ctypes.addressof(area))
        return area.raw if self._to_der(certificate, ctypes.byref(place)) == length else b""


def _handle(ssl_object: Any) -> int | None:
    """The SSL* of a connection: in CPython's `_ssl._SSLSocket` it follows the reference to the socket, and the context
    follows it (Modules/_ssl.c, PySSLSocket, the same from 3.6 to 3.14). None where that is not what is found."""
    inner = ssl_object._sslobj
    header = object.__basicsize__
    if inner is None or type(inner).__name__ != "_SSLSocket" or type(inner).__basicsize__ < header + 24:
        return None
    _, handle, context = (ctypes.c_void_p * 3).from_address(id(inner) + header)
    return handle if context == id(inner.context) else None


@cache
def _library() -> _Library | None:
    """None where the handles cannot be had, or are not what they should be."""
    if sys.implementation.name != "cpython" or sys.maxsize < 2**32 or not hasattr(sys, "getrefcount"):
        return None
    try:
        import _ssl

        library = _Library(_ssl.__file__)
        return library if _proven(library) else None
    except (ImportError, OSError, AttributeError, ssl.SSLError, ValueError):
        return None


def _proven(library: _Library) -> bool:
    """Whether both ends of a connection in memory export the same, and the server's certificate is the one loaded."""
    server, client, certificate = _connection()
    ours, theirs = library.exported(server), library.exported(client)
    return len(ours) == EXPORTER_OCTETS and any(ours) and ours == theirs and (
        library.own_certificate(server) == certificate)


def _connection() -> tuple[ssl.SSLObject, ssl.SSLObject, bytes]:
    """Two ends of one TLS connection, and the server's certificate."""
    import datetime
    import os
    import tempfile

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now,
                                   now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                            serialization.NoEncryption()) + made.public_bytes(serialization.Encoding.PEM)
    side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(prefix="mailsuite-") as file:         # mode 0600
        os.write(file.fileno(), pem)
        side.load_cert_chain(file.name)
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    other.check_hostname, other.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = side.wrap_bio(to_server, to_client, server_side=True)
    client = other.wrap_bio(to_client, to_server)
    for _ in range(10):
        waiting = 0
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                waiting += 1
        if not waiting:
            break
    return server, client, made.public_bytes(serialization.Encoding.DER)
