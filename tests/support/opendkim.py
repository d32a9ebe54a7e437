"""The real opendkim as a signer: its daemon on a Unix socket, and just enough of the milter protocol for a message.

    with signer(folder, key_file, "a.test", "sel") as path: field = sign_with(path, message)
"""

import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mailsuite.auth_results.content import parse_content
from tests.support.suite import wait_for


@contextmanager
def signer(folder: Path, key_file: Path, domain: str, selector: str, forms: str = "relaxed/relaxed",
           algorithm: str = "rsa-sha256") -> Iterator[str]:
    path = folder / "opendkim.sock"
    (folder / "opendkim.conf").write_text(
        f"Socket local:{path}\nMode s\nDomain {domain}\nSelector {selector}\nKeyFile {key_file}\n"
        f"Canonicalization {forms}\nSignatureAlgorithm {algorithm}\nSyslog no\nBackground no\nUMask 000\n"
        f"TemporaryDirectory {folder}\nRequireSafeKeys no\nOversignHeaders From\n")
    process = subprocess.Popen(["opendkim", "-f", "-x", str(folder / "opendkim.conf")], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    try:
        wait_for(lambda: _listens(path) or process.poll() is not None, 30, "opendkim does not start")
        assert process.poll() is None, process.stderr and process.stderr.read()
        yield str(path)
    finally:
        process.kill()          # it takes its time to end otherwise, and keeps nothing
        process.wait(20)
        if process.stderr is not None:
            process.stderr.close()


def _listens(path: Path) -> bool:
    """The socket is there before somebody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def sign_with(path: str, message: bytes) -> bytes:
    """The DKIM-Signature field, LF line ends."""
    content = parse_content(message)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(path)

        def send(command: bytes, octets: bytes = b"") -> None:
            sock.sendall(struct.pack(">I", len(octets) + 1) + command + octets)

        def receive() -> tuple[bytes, bytes]:
            size = struct.unpack(">I", read(4))[0]
            octets = read(size)
            return octets[:1], octets[1:]

        def read(size: int) -> bytes:
            octets = b""
            while len(octets) < size:
                more = sock.recv(size - len(octets))
                assert more, "opendkim hung up"
                octets += more
            return octets

        send(b"O", struct.pack(">III", 6, 0x1FF, 0))
        assert receive()[0] == b"O"
        steps = [(b"C", b"localhost\0004" + struct.pack(">H", 25) + b"127.0.0.1\0"), (b"H", b"localhost\0"),
                 (b"M", b"<anna@a.test>\0"), (b"R", b"<ben@b.test>\0")]
        steps += [(b"L", field.name + b"\0" + field.value.removeprefix(b" ") + b"\0") for field in content.fields]
        steps.append((b"N", b""))
        body = b"".join(content.body()).replace(b"\n", b"\r\n")
        steps += [(b"B", body[at:at + 65535]) for at in range(0, len(body), 65535)]
        for command, octets in steps:
            send(command, octets)
            assert receive()[0] == b"c", command
        send(b"E")
        found = b""
        while (answer := receive())[0] in b"hi":
            name, value, _ = (answer[1][4:] if answer[0] == b"i" else answer[1]).split(b"\0")
            if name == b"DKIM-Signature":
                found = name + b": " + value.replace(b"\r\n", b"\n") + b"\n"
        send(b"Q")
    return found
