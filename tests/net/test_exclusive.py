"""A connection wakes one of the processes that wait for it."""

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, os, re, select, socket, sys
from pathlib import Path
from mailsuite.net.exclusive import REGISTERED_S, share_fairly
from mailsuite.net.service import new_event_loop

def registrations(sock):
    found = []
    for name in os.listdir("/proc/self/fdinfo"):
        try:
            text = Path("/proc/self/fdinfo", name).read_text()
        except OSError:
            continue
        found += [int(events, 16) for tfd, events in re.findall(r"tfd:\\s*(\\d+) events:\\s*([0-9a-f]+)", text)
                  if int(tfd) == sock.fileno()]
    return found

other = select.epoll()                      # plain.py has one as well
other.register(socket.socketpair()[0])

async def main():
    loop, sock, accepted = asyncio.get_running_loop(), socket.create_server(("127.0.0.1", 0)), []
    sock.setblocking(False)
    for _ in range(2):                      # also after a pause
        loop.add_reader(sock.fileno(), lambda: accepted.append(sock.accept()[0]))
        share_fairly(loop, sock)
        await asyncio.sleep(REGISTERED_S * 3)
        print([bool(events & 1 << 28) for events in registrations(sock)])
        clients = [socket.create_connection(sock.getsockname()) for _ in range(3)]
        while len(accepted) < 3:
            await asyncio.sleep(0.01)
        accepted.clear()
        loop.remove_reader(sock.fileno())
        await asyncio.sleep(0.02)
        print(registrations(sock))
    share_fairly(loop, sock)                # nobody waits
    await asyncio.sleep(REGISTERED_S * 3)
    print(registrations(sock))
    sock.close()

with asyncio.Runner(loop_factory=new_event_loop) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_the_kernel_is_asked_for_one(loop: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], env={"MAILSUITE_LOOP": loop}, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.stdout.splitlines() == ["[True]", "[]", "[True]", "[]", "[]"], done.stderr
