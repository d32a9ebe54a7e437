"""Running the program of a script service (access/script_service.py): the client's end of Dovecot's protocol.

    call("/run/dovecot/quota-warning", ["95", "anna@demo.test"])        does not wait for the program; raises OSError
    plain(escaped(octets)) == octets                                    tabs, line ends and \\x01 in an argument
"""

import os
import socket

BEGINNING = b"VERSION\tscript\t4\t"
CALL_S = 10.0
_ESCAPES = ((b"\x01", b"\x011"), (b"\0", b"\x010"), (b"\t", b"\x01t"), (b"\r", b"\x01r"), (b"\n", b"\x01n"))
_PLAIN = {coded[1:]: octet for octet, coded in _ESCAPES}


def call(path: str, words: list[str]) -> None:
    """Have the service at a socket run its program with these words behind its own. Raises OSError."""
    arguments = b"".join(escaped(os.fsencode(word)) + b"\n" for word in words)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(CALL_S)
        sock.connect(path)
        sock.sendall(BEGINNING + b"0\nnoreply\n" + arguments + b"\n")


def escaped(octets: bytes) -> bytes:
    for octet, coded in _ESCAPES:
        octets = octets.replace(octet, coded)
    return octets


def plain(octets: bytes) -> bytes:
    first, *parts = octets.split(b"\x01")
    return first + b"".join(_PLAIN.get(part[:1], part[:1]) + part[1:] for part in parts)
