"""The auth service over its sockets, as Dovecot 2.3.19 answered."""

import asyncio
import os
from base64 import b64encode
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from mailsuite.sasl import wire
from tests.sasl.support import auth_service, settings


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


async def talk(path: Path, *lines: list[str]) -> list[str]:
    """The answers to lines sent one by one; "<closed>" when the service has enough, "<nothing>" after CANCEL."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    userdb = path.name != "auth"
    while not (line := await reader.readline()).startswith(b"SPID" if userdb else b"DONE"):
        assert line
    writer.write(b"VERSION\t1\t1\n" + (b"" if userdb else b"CPID\t%d\n" % os.getpid()))
    heard = []
    for words in lines:
        writer.write(wire.line(*words))
        try:
            line = await asyncio.wait_for(reader.readline(), 0.2 if words[0] == "CANCEL" else 20)
        except TimeoutError:
            line = b"<nothing>\n"
        except ConnectionError:
            line = b""
        heard.append("<closed>" if not line else "\t".join(wire.words(line[:-1])))
        if not line:
            break
    writer.close()
    return heard


def run(work: Coroutine[Any, Any, list[str]]) -> list[str]:
    return asyncio.run(work)


def auth(user: str, password: str, *facts: str, authzid: str = "") -> list[str]:
    return ["AUTH", "1", "PLAIN", "service=imap", *facts, "resp=" + b64(f"{authzid}\0{user}\0{password}")]


PLAIN = [
    (auth("alice", "secret-alice"), "OK\t1\tuser=alice"),
    (auth("alice", "wrong"), "FAIL\t1\tuser=alice"),
    (auth("nosuch", "x"), "FAIL\t1\tuser=nosuch"),
    (auth("Alice", "secret-alice"), "OK\t1\tuser=alice\toriginal_user=Alice"),
    (auth("", "x"), "FAIL\t1\tuser=\toriginal_user="),
    (auth("a!b", "x"), "FAIL\t1\tuser=a!b\toriginal_user=a!b"),
    (auth("slow", "secret-sha512-crypt"), "OK\t1\tuser=slow"),
    (auth("nopass", ""), "OK\t1\tuser=nopass"),
    (auth("nopass", "x"), "FAIL\t1\tuser=nopass"),
    (auth("unknown", "abc"), "FAIL\t1\tuser=unknown"),
    (auth("broken", "abc"), "FAIL\t1\tuser=broken"),
    (auth("open", "anything"), "OK\t1\tuser=open"),
    (auth("refused", "secret-refused"), "OK\t1\tuser=refused\tnologin\treason=Come_back_later"),
    (auth("refused", "x"), "FAIL\t1\tuser=refused"),
    (auth("nets", "secret-nets"), "FAIL\t1\tuser=nets"),
    (auth("nets", "secret-nets", "rip=192.0.2.9"), "OK\t1\tuser=nets\t"),
    (auth("nets", "secret-nets", "rip=192.0.2.10"), "FAIL\t1\tuser=nets"),
    (auth("extra", "secret-extra"), "OK\t1\tuser=extra\tfoo=bar\tbaz\tnodelay=y"),
    (auth("ren", "secret-ren"), "OK\t1\tuser=alice\t\toriginal_user=ren"),
    (auth("dom@a.test", "secret-dom"), "OK\t1\tuser=dom@b.test\t\toriginal_user=dom@a.test"),
    (auth("short", "secret-short"), "OK\t1\tuser=short"),
    (auth("boss", "secret-boss", authzid="alice"), "OK\t1\tuser=alice\toriginal_user=boss\tauth_user=boss"),
    (auth("boss", "wrong", authzid="alice"), "FAIL\t1\tuser=boss"),
    (auth("boss", "secret-boss", authzid="nosuch"),
     "FAIL\t1\tuser=nosuch\tcode=authz_fail\toriginal_user=boss\tauth_user=boss"),
    (auth("alice*boss", "secret-boss"), "OK\t1\tuser=alice\toriginal_user=boss\tauth_user=boss"),
    (auth("extra", "secret-extra", authzid="alice"), "FAIL\t1\tuser=extra"),
    (["AUTH", "1", "PLAIN", "service=smtp", "resp=!!!"],
     "FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in initial response"),
    (["AUTH", "1", "PLAIN", "service=smtp", "resp=\u00e9"],
     "FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in initial response"),
    (["AUTH", "1", "PLAIN", "service=smtp", "resp=" + b64("alice")], "FAIL\t1"),
    (["AUTH", "1", "PLAIN", "service=smtp", "resp=="], "FAIL\t1"),
    (["AUTH", "1", "plain", "service=smtp"], "CONT\t1\t"),
    (["AUTH", "1", "NOSUCH", "service=smtp"], "<closed>"),
    (["AUTH", "1", "PLAIN", "resp=" + b64("\0a\0b")], "<closed>"),
    (["AUTH", "x", "PLAIN", "service=smtp"], "<closed>"),
    (["AUTH", "9" * 5000, "PLAIN", "service=smtp"], "<closed>"),
    (["AUTH", "1", "PLAIN", "service=smtp", "cbind-tls-unique=!", "resp=" + b64("\0a\0b")], "<closed>"),
    (["AUTH", "1"], "<closed>"),
    (["FOO", "1"], "<closed>"),
    (["CONT", "7", "eA=="], "FAIL\t7\treason=Authentication request timed out"),
]


@pytest.mark.parametrize(("words", "want"), PLAIN, ids=[f"{i}-{row[1][:20]}" for i, row in enumerate(PLAIN)])
def test_one_request(tmp_path: Path, words: list[str], want: str) -> None:
    async def work() -> list[str]:
        async with auth_service(tmp_path, settings(tmp_path)):
            return await talk(tmp_path / "auth", words)
    assert run(work()) == [want]


def test_longer_dialogues(tmp_path: Path) -> None:
    login = ["AUTH", "1", "LOGIN", "service=smtp"]
    plain = ["AUTH", "1", "PLAIN", "service=smtp"]

    async def work() -> list[str]:
        async with auth_service(tmp_path, settings(tmp_path)):
            path = tmp_path / "auth"
            return [
                *await talk(path, login, ["CONT", "1", b64("alice")], ["CONT", "1", b64("secret-alice")]),
                *await talk(path, login, ["CONT", "1", ""]),
                *await talk(path, plain, ["CONT", "1", "###"]),
                *await talk(path, plain, ["CONT", "1"]),
                *await talk(path, plain, plain),
                *await talk(path, plain, ["CANCEL", "1"], ["CONT", "1", "eA=="]),
            ]

    assert run(work()) == [
        "CONT\t1\tVXNlcm5hbWU6", "CONT\t1\tUGFzc3dvcmQ6", "OK\t1\tuser=alice",
        "CONT\t1\tVXNlcm5hbWU6", "FAIL\t1\tuser=\toriginal_user=",
        "CONT\t1\t", "FAIL\t1\tcode=invalid_base64\treason=Invalid base64 data in continued response",
        "CONT\t1\t", "<closed>",
        "CONT\t1\t", "<closed>",
        "CONT\t1\t", "<nothing>", "FAIL\t1\treason=Authentication request timed out",
    ]


def test_lookups(tmp_path: Path) -> None:
    async def work() -> list[str]:
        async with auth_service(tmp_path, settings(tmp_path)):
            return [
                *await talk(tmp_path / "auth-userdb", ["USER", "1", "extra", "service=imap"],
                            ["USER", "2", "nosuch", "service=imap"], ["PASS", "3", "extra", "service=x"],
                            ["REQUEST", "1", "1", "1", "0" * 32]),
                *await talk(tmp_path / "auth-master", ["REQUEST", "1", "1", "1", "0" * 32],
                            ["PASS", "2", "nosuch", "service=x"], ["CACHE-FLUSH", "3"], ["USER", "4", "alice"]),
            ]

    assert run(work()) == [
        "USER\t1\textra\tuid=5000\tgid=5000\thome=/h/extra\tmail=x:extra", "NOTFOUND\t2",
        "PASS\t3\tuser=extra\tfoo=bar\tbaz\tnodelay=y", "<closed>",
        "FAIL\t1", "NOTFOUND\t2", "OK\t3\t0", "<closed>"]


@pytest.mark.parametrize("noise", [
    b"\n", b"VERSION\t2\t0\n", b"\xff" * 100 + b"\n", b"x" * 20000, b"VERSION\t1\t1\nCPID\tx\n"])
def test_noise_closes_one_connection_only(tmp_path: Path, noise: bytes) -> None:
    async def work() -> list[str]:
        async with auth_service(tmp_path, settings(tmp_path)):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "auth"))
            writer.write(noise)
            await asyncio.wait_for(reader.read(), 20)
            writer.close()
            return await talk(tmp_path / "auth", auth("alice", "secret-alice"))
    assert run(work()) == ["OK\t1\tuser=alice"]


def test_who_may_not_log_in_is_nobodys_session(tmp_path: Path) -> None:
    """A login that nologin ends cannot be asked for afterwards, as in Dovecot."""
    async def work() -> list[str]:
        async with auth_service(tmp_path, settings(tmp_path)):
            said = []
            for user in ("alice", "refused"):
                reader, writer = await asyncio.open_unix_connection(str(tmp_path / "login/login"))
                cookie = ""
                while not (line := await reader.readline()).startswith(b"DONE"):
                    cookie = wire.words(line[:-1])[1] if line.startswith(b"COOKIE") else cookie
                writer.write(b"VERSION\t1\t1\nCPID\t77\n" + wire.line(*auth(user, f"secret-{user}")))
                assert (await reader.readline()).startswith(b"OK")
                said += await talk(tmp_path / "auth-master", ["REQUEST", "5", "77", "1", cookie])
                writer.close()
            return [text.partition("\t")[0] for text in said]
    assert run(work()) == ["USER", "FAIL"]
