"""What must not end the master."""

import socket
import subprocess
import sys

from mailsuite.master.supervise import Master, Process


def test_a_child_that_has_closed_its_channel_is_told_by_a_signal() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ours, theirs = socket.socketpair()
    ours.close()
    theirs.close()
    try:
        Master._tell(None, Process(child.pid, 0, ours, 0.0), {"op": "reload"})
        assert child.wait(20) == -15
    finally:
        child.kill()
