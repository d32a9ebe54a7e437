"""spawn: a command for each connection, with the rights that master.cf says and no others."""

import asyncio
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.deliver import spawn
from mailsuite.net.service import Listener, ServiceContext, new_event_loop
from tests.deliver.harness import ROOT, SOMEBODY

needs_root = pytest.mark.skipif(not ROOT, reason="needs root: everybody is who we are without")
USER = SOMEBODY.pw_name


def with_spawn(arguments: list[str], test: Callable[[str], Awaitable[Any]], *, limit: int = 0,
               **settings: str) -> Any:
    """Run a spawn service named "tool" on a Unix socket, and the test with the socket's path."""

    async def run(folder: Path) -> Any:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(folder / "socket"))
        sock.listen()
        context = ServiceContext("tool", "spawn", Settings.of({"queue_directory": str(folder)} | settings),
                                 listeners=[Listener("tool", sock, kind="unix")], arguments=arguments,
                                 process_limit=limit)
        service = asyncio.ensure_future(spawn.serve(context))
        try:
            return await test(str(folder / "socket"))
        finally:
            context.stopping.set()
            await service

    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(asyncio.wait_for(run(Path(name)), 90))


async def say(path: str, text: bytes) -> bytes:
    """What the command answers; b"" also for a connection that is closed at once."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(text)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(("script", "want"), [
    pytest.param("echo $x; cat", b"hello\n", id="input and output are the connection"),
    pytest.param("echo no $x >&2", b"no hello\n", id="standard error too"),
    pytest.param("id -un", USER.encode() + b"\n", id="rights"),
    pytest.param("id -G", f"{SOMEBODY.pw_gid}\n".encode(), id="no other groups", marks=needs_root),
    pytest.param("umask", b"0077\n", id="umask"),
    pytest.param("ls /proc/self/fd | wc -l", b"4\n", id="no other descriptors"),
    pytest.param("echo $FOO ${SUDO_USER-unset}", b"bar unset\n", id="export_environment"),
    pytest.param("echo $PATH", b"/usr/bin:/bin\n", id="PATH is nobody's choice"),
])
def test_a_command_has_the_connection(script: str, want: bytes) -> None:
    async def talk(path: str) -> bytes:
        return await say(path, b"hello\n")

    assert with_spawn([f"user={USER}", "argv=/bin/sh", "-c", f"read x; {script}"], talk,
                      export_environment="FOO=bar PATH=/elsewhere") == want


@pytest.mark.parametrize(("script", "told"), [
    ("exit 3", "command /bin/sh exit status 3"),
    ("kill -9 $$", "command /bin/sh killed by signal 9"),
    ("sleep 100", "command time limit exceeded"),
    ("exit 0", ""),
])
def test_abnormal_ends_are_told(script: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(path: str) -> None:
        await say(path, b"")

    with_spawn([f"user={USER}", "argv=/bin/sh", "-c", script], talk,
               tool_time_limit="1s" if "sleep" in script else "60s")
    assert told in caplog.text if told else not caplog.records


def test_a_missing_command_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(path: str) -> bytes:
        return await say(path, b"")

    assert with_spawn([f"user={USER}", "argv=/no/such/command"], talk) == b""
    assert "execvp /no/such/command: No such file or directory" in caplog.text


def test_more_than_maxproc_wait() -> None:
    async def talk(path: str) -> list[bytes]:
        return await asyncio.gather(*(say(path, b"%d" % number) for number in range(6)))

    script = "test -e busy && echo clash; : >busy; cat; rm busy"
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)         # a folder of a test
        assert with_spawn([f"user={USER}", "argv=/bin/sh", "-c", f"cd {folder}; {script}"], talk, limit=1) == [
            b"%d" % number for number in range(6)]


@pytest.mark.parametrize(("words", "why"), [
    (["argv=/bin/cat"], "missing user= attribute"),
    ([f"user={USER}"], "missing argv= attribute"),
    ([f"user={USER}", "flags=F", "argv=/bin/cat"], "unknown attribute name: flags=F"),
    pytest.param(["user=root", "argv=/bin/cat"], "request to deliver as root", marks=needs_root),
    pytest.param(["user=daemon:root", "argv=/bin/cat"], "request to use privileged group id 0", marks=needs_root),
    pytest.param(["user=bin", "argv=/bin/cat"], "request to deliver as mail system owner", marks=needs_root),
    pytest.param(["user=no-such-user", "argv=/bin/cat"], "unknown user name: no-such-user", marks=needs_root),
    pytest.param(["user=daemon:no-such", "argv=/bin/cat"], "unknown group name: no-such", marks=needs_root),
])
def test_what_master_cf_may_not_say(words: list[str], why: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError) as caught:
        spawn.parse_options(words, "bin")
    assert caught.value.public == why

    async def talk(path: str) -> bytes:
        return await say(path, b"hello\n")

    assert with_spawn(words, talk, mail_owner="bin") == b""
    assert why in caplog.text


