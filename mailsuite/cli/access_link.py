"""A request to the access service, and the lines it says: for commands that talk with a user's worker.

    for said in ask("/run/dovecot/imap", {"doveadm": {...}}, [fd]): ...        dictionaries, to the end
"""

import json
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def ask(path: str, request: Mapping[str, object], fds: Sequence[int] = ()) -> Iterator[dict[str, Any]]:
    """Raises OSError when nobody is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(path)
        octets = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(sock, [octets], list(fds))
        if sent < len(octets):          # sending nothing to one who has answered and gone would fail
            sock.sendall(octets[sent:])
        with sock.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)
