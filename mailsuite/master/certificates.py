"""Are the certificates that dovecot.conf names fit for use? Asked at a reload, before anything is replaced.

    certificate_problems(dovecot) -> ["ssl_cert: Can't open file ...", ...]

Keys are read in a process of their own that ends at once: the master holds none. Where they cannot be read for want of
rights (a suite without root is its own administrator) that is a problem like any other.
"""

import os
import signal
from typing import TYPE_CHECKING

from mailsuite.net.dovecot_tls import certificate_errors

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

ANSWER_LIMIT = 65536
WAIT_S = 20


def certificate_problems(dovecot: "DovecotSettings | None") -> list[str]:
    """One line each; none when all is well, or when there is no dovecot.conf."""
    if dovecot is None:
        return []
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        _answer(dovecot, theirs)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        answer = pipe.read(ANSWER_LIMIT)
    os.waitpid(pid, 0)
    return answer.decode("utf-8", "replace").splitlines()


def _answer(dovecot: "DovecotSettings", pipe: int) -> None:
    """In the child; never returns."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(WAIT_S)            # a file on a dead network disk must not hold the master up for ever
        texts = [error.public for error in certificate_errors(dovecot)]
        os.write(pipe, "\n".join(texts).encode("utf-8", "surrogateescape")[:ANSWER_LIMIT])
    except BaseException as error:
        os.write(pipe, f"certificates cannot be checked: {error}".encode())
    finally:
        os._exit(0)
