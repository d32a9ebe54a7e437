"""memcache: tables against a real memcached, and servers that misbehave."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.opening import open_table
from tests.support.databases import Memcached, PostfixPostmap, needs, our_postmap
from tests.support.suite import free_port, open_folder

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("memcache")]
SOURCE = MapSource(Settings.of({}), "test")


@pytest.fixture(scope="module")
def server() -> Iterator[Memcached]:
    with open_folder() as folder, Memcached(folder / "server") as running:
        (folder / "postfix").mkdir()
        yield running


def put(server: Memcached, key: str, value: bytes) -> None:
    assert server.ask(b"set %b 0 0 %d\r\n%b\r\n" % (key.encode(), len(value), value)) == b"STORED\r\n"


def table(folder: Path, text: str, server: Memcached | None = None) -> str:
    path = folder / "t.cf"
    path.write_text((f"memcache = inet:127.0.0.1:{server.port}\n" if server else "") + text)
    return f"memcache:{path}"


@needs("memcache")
@pytest.mark.parametrize(("text", "words", "want"), [
    pytest.param("", ("-q", "k@a.test"), (0, b"val\n"), id="found"),
    pytest.param("", ("-q", "K@A.TEST"), (0, b"val\n"), id="folded"),
    pytest.param("", ("-q", "nope"), (1, b""), id="absent"),
    pytest.param("", ("-q", "a b"), (1, b""), id="a blank in the key"),
    pytest.param("", ("-q", "a\r\nget k@a.test"), (1, b""), id="a second command in the key"),
    pytest.param("key_format = p:%s\n", ("-q", "k"), (0, b"pval\n"), id="key_format"),
    pytest.param("key_format = p:%d\n", ("-q", "k"), (1, b""), id="no domain"),
    pytest.param("domain = b.test\n", ("-q", "k@a.test"), (1, b""), id="other domain"),
    pytest.param("data_size_limit = 2\n", ("-q", "k@a.test"), (1, b""), id="too large"),
    pytest.param("max_try = 0\n", ("-q", "k@a.test"), (1, b""), id="bad number"),
    pytest.param("", ("-s",), (0, b""), id="list"),
    pytest.param("", (), (1, b""), id="build"),
    pytest.param("", ("-d", "nope"), (1, b""), id="delete"),
])
def test_same_as_postfix(server: Memcached, text: str, words: tuple[str, ...], want: tuple[int, bytes]) -> None:
    put(server, "k@a.test", b"val")
    put(server, "p:k", b"pval")
    postfix = PostfixPostmap(server.folder.parent / "postfix")
    spec = table(server.folder.parent, text, server)
    mine = our_postmap(postfix.folder, *words, spec)
    assert mine[:2] == want
    if not PostfixPostmap.missing("memcache"):
        assert postfix.run(*words, spec)[:2] == want


@needs("memcache")
def test_the_backup_fills_the_cache(server: Memcached, tmp_path: Path) -> None:
    server.ask(b"flush_all\r\n")
    spec = table(tmp_path, "backup = inline:{b1=backval}\nttl = 100\n", server)
    assert asyncio.run(open_maps(spec, SOURCE).find("B1")) == "backval"
    assert server.ask(b"get b1\r\n") == b"VALUE b1 0 7\r\nbackval\r\nEND\r\n"
    assert asyncio.run(open_maps(table(tmp_path, "", server), SOURCE).find("b1")) == "backval"
    assert asyncio.run(open_maps(spec, SOURCE).find("b2")) is None
    assert open_table(spec, SOURCE).ask_now("b" * 251) is None
    with pytest.raises(TemporaryError):
        asyncio.run(open_maps(table(tmp_path, "backup = fail:x\n", server), SOURCE).find("zz"))


@pytest.mark.parametrize("where", ["inet:127.0.0.1:PORT", "unix:/nonexistent/socket"])
def test_nobody_there(tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture) -> None:
    text = f"memcache = {where.replace('PORT', str(free_port()))}\n"
    with caplog.at_level(logging.WARNING, "mailsuite"), pytest.raises(TemporaryError):
        asyncio.run(open_maps(table(tmp_path, text), SOURCE).find("k"))
    assert "connect to " in caplog.text
    assert asyncio.run(open_maps(table(tmp_path, text + "backup = inline:{k=v}\n"), SOURCE).find("k")) == "v"


@pytest.mark.parametrize("reply", [b"junk\r\n", b"VALUE k 0 99999999999\r\n", b"VALUE k 0 5\r\nab", b"x" * 5000, b"",
                                   b"VALUE k 0 2\r\nabcd\r\nEND\r\n", b"SERVER_ERROR out of memory\r\n"])
def test_replies_that_are_none(tmp_path: Path, reply: bytes) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            with peer:
                peer.recv(1000)
                peer.sendall(reply)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        text = f"memcache = inet:127.0.0.1:{listening.getsockname()[1]}\ntimeout = 1\nretry_pause = 0\n"
        with pytest.raises(TemporaryError):
            asyncio.run(open_maps(table(tmp_path, text), SOURCE).find("k"))
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(10)
    assert not thread.is_alive()


def test_not_for_who_runs_commands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mailsuite"), pytest.raises(TemporaryError):
        asyncio.run(open_maps(table(tmp_path, ""), MapSource(Settings.of({}), "local")).find("k"))
    assert "map is not allowed for security-sensitive data" in caplog.text
