"""POP3 replies: values to octets.

    ok("3 106") -> b"+OK 3 106\\r\\n"        error("Unknown command.") -> b"-ERR Unknown command.\\r\\n"
    stuffed(octets) -> octets               a message as the lines of a multi-line reply, with its final "."
"""

INTERNAL = b"-ERR [SYS/TEMP] Internal error occurred. Refer to server log for more information.\r\n"


def ok(text: str = "") -> bytes:
    return f"+OK {text}\r\n".encode() if text else b"+OK\r\n"


def error(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode("utf-8", "surrogateescape")


def listing(lines: list[bytes]) -> bytes:
    """The lines of a multi-line reply (none begins with a dot), and its end."""
    return b"".join(lines) + b".\r\n"


def stuffed(octets: bytes) -> bytes:
    """RFC 1939 section 3: lines that begin with a dot get another."""
    if octets.startswith(b"."):
        octets = b"." + octets
    if b"\n." in octets:
        octets = octets.replace(b"\n.", b"\n..")
    return octets + (b".\r\n" if octets.endswith(b"\r\n") or not octets else b"\r\n.\r\n")


def expunged(number: int) -> bytes:
    return error(f"Message {number} expunged.")
