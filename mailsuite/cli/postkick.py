"""postkick: wake a service of the mail system. See postkick(1).

    postkick [-c config_dir] [-v] class service request

class: public or private. request: characters that the service knows, e.g. D, F, A, I of qmgr(8), W of pickup(8). They
are written to the service's socket; nothing is answered. Exit: 0, 1.
"""

import os
import socket
import sys

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse, warn
from mailsuite.cli.params import APPLICATION_EVENT_DRAIN_TIME

PROGRAM = "postkick"
USAGE = "usage: postkick [-c config_dir] [-v] class service request"


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "c:v", USAGE, 1)
    if len(words) != 3:
        fatal(PROGRAM, USAGE, 1)
    directory = next((value for option, value in reversed(options) if option == "-c"), default_directory())
    settings = load(directory, PROGRAM, 1)
    kind, service, request = words
    wait_s = settings[APPLICATION_EVENT_DRAIN_TIME]
    try:
        kick(f"{settings.text('queue_directory')}/{kind}/{service}", os.fsencode(request), wait_s)
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            warn(PROGRAM, f"unable to look up {kind}/{service}: {error.strerror}")
        warn(PROGRAM, f"Cannot contact class {kind} service {service} - perhaps the mail system is down")
        return 1
    return 0


def kick(path: str, request: bytes, wait_s: float) -> None:
    """Hand a request over; returns when the service has read it and closed, or after wait_s. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.settimeout(wait_s)
        peer.connect(path)
        if not request:
            return                  # Postfix says nothing then, either
        peer.sendall(request)
        peer.shutdown(socket.SHUT_WR)
        try:
            while peer.recv(4096):
                pass
        except (TimeoutError, ConnectionResetError):
            pass                    # it has the request


if __name__ == "__main__":
    sys.exit(main())
