"""What a ManageSieve server says. Source: RFC 5804 sections 1.2 and 1.3."""

QUOTED_LIMIT = 1024              # octets of a quoted string; longer ones are literals


def string(text: str | bytes) -> bytes:
    """Quoted, or a literal where that cannot be."""
    octets = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    if len(octets) > QUOTED_LIMIT or any(octet in octets for octet in b"\r\n\0"):
        return b"{%d}\r\n" % len(octets) + octets
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def response(word: str, text: str = "", code: str = "") -> bytes:
    """OK, NO or BYE with its line end."""
    parts = [word.encode()]
    if code:
        parts.append(b"(" + code.encode("utf-8", "surrogateescape") + b")")
    if text:
        parts.append(string(text))
    return b" ".join(parts) + b"\r\n"


def ok(text: str, code: str = "") -> bytes:
    return response("OK", text, code)


def no(text: str, code: str = "") -> bytes:
    return response("NO", text, code)


def bye(text: str, code: str = "") -> bytes:
    return response("BYE", text, code)


def tag(octets: bytes) -> str:
    """The response code that echoes NOOP's argument."""
    return "TAG " + string(octets).decode("utf-8", "surrogateescape")


def capabilities(implementation: str, sieve: str, notify: str, *, sasl: str | None = None, starttls: bool = False,
                 xclient: bool = False) -> bytes:
    """The capability lines. sasl: the mechanisms; None after login."""
    pairs: list[tuple[str, str | None]] = [("IMPLEMENTATION", implementation), ("SIEVE", sieve)]
    if notify:
        pairs.append(("NOTIFY", notify))
    if sasl is not None:
        pairs.append(("SASL", sasl))
    if starttls:
        pairs.append(("STARTTLS", None))
    pairs.append(("VERSION", "1.0"))
    if xclient:
        pairs.append(("XCLIENT", None))
    return b"".join(string(name) + (b" " + string(value) if value is not None else b"") + b"\r\n"
                    for name, value in pairs)
