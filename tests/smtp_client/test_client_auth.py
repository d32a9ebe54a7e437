"""Mechanisms of the client, against a server's arithmetic; for the dialogue see tests/deliver/far_ends/sasl.yaml."""

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret
from mailsuite.config.settings import Settings
from mailsuite.smtp.client_auth import Credentials, Failures, authenticate, choose
from mailsuite.smtp.client_params import ClientConfig
from mailsuite.smtp.client_reply import Reply, ReplyReader
from mailsuite.smtp.client_sasl import ITERATIONS, MECHANISMS, Derive, SaslError
from mailsuite.smtp.client_session import Features, Receive, Send, Trouble, Work

ME = Credentials("me", Secret(b"secret"))
HOST = "mx.test[192.0.2.1]"


def config(**more: str) -> ClientConfig:
    return ClientConfig.of(Settings.of({"myhostname": "here.test", "smtp_sasl_security_options": "noanonymous"} | more),
                           "smtp")


class ScramServer:
    """What a server says to a client's messages. wrong: it does not know the password."""

    def __init__(self, digest: str, *, wrong: bool = False, iterations: int = 4096) -> None:
        self._digest, self._wrong, self._iterations = digest, wrong, iterations

    def first(self, message: bytes) -> bytes:
        self._bare = message.partition(b",,")[2] or message.split(b",", 2)[2]
        nonce = self._bare.partition(b"r=")[2]
        self.said = b"r=" + nonce + b"server,s=" + base64.b64encode(b"salt") + b",i=%d" % self._iterations
        return self.said

    def final(self, message: bytes) -> tuple[bytes, bool]:
        """The proof of the server, and whether the client's is right."""
        without, _, proof = message.rpartition(b",p=")
        salted = hashlib.pbkdf2_hmac(self._digest, b"other" if self._wrong else b"secret", b"salt", self._iterations)
        signed = b",".join((self._bare, self.said, without))
        key = hmac.digest(salted, b"Client Key", self._digest)
        mine = hmac.digest(hashlib.new(self._digest, key).digest(), signed, self._digest)
        good = bytes(a ^ b for a, b in zip(base64.b64decode(proof), mine, strict=True)) == key
        return b"v=" + base64.b64encode(hmac.digest(hmac.digest(salted, b"Server Key", self._digest), signed,
                                                    self._digest)), good


@pytest.mark.parametrize(("name", "digest"), [
    ("SCRAM-SHA-1", "sha1"), ("SCRAM-SHA-256", "sha256"), ("SCRAM-SHA-512", "sha512")])
@pytest.mark.parametrize("authzid", [False, True])
def test_scram(name: str, digest: str, authzid: bool) -> None:
    server = ScramServer(digest)
    exchange = MECHANISMS[name].begin("me", Secret(b"secret"), authzid)
    first = next(exchange)
    assert isinstance(first, bytes) and first.startswith(b"n,a=me,n=me,r=" if authzid else b"n,,n=me,r=")
    work = exchange.send(server.first(first))
    assert isinstance(work, Derive)
    final = exchange.send(work.run())
    assert isinstance(final, bytes)
    proof, good = server.final(final)
    assert good and exchange.send(proof) == b""


@pytest.mark.parametrize("challenge", [
    b"", b"r=other,s=c2FsdA==,i=1", b"r=NONCE,s=c2FsdA==,i=1", b"r=NONCEx,s=,i=1", b"r=NONCEx,s=c2FsdA==,i=0",
    b"r=NONCEx,s=c2FsdA==,i=x", b"r=NONCEx,s=c2FsdA==,i=%d" % (ITERATIONS + 1), b"r=NONCEx,s=c2FsdA==,i=" + b"9" * 99])
def test_scram_challenges_that_make_no_sense(challenge: bytes) -> None:
    exchange = MECHANISMS["SCRAM-SHA-256"].begin("me", Secret(b"secret"), False)
    first = next(exchange)
    assert isinstance(first, bytes)
    with pytest.raises(SaslError):
        exchange.send(challenge.replace(b"NONCE", first.partition(b"r=")[2]))


def coded(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


def log_in(server: ScramServer, *, last: str, with_235: bool = False) -> list[str]:
    """The whole dialogue; last: the final reply."""
    said: list[str] = []
    dialogue = authenticate(config(), Features(True, {"AUTH": "SCRAM-SHA-256"}), HOST, ME, ["SCRAM-SHA-256"])
    reply: Reply | None = None
    try:
        while True:
            step = dialogue.send(reply)     # type: ignore[arg-type]
            reply = None
            if isinstance(step, Send):
                said.append(step.octets.decode().strip())
            elif isinstance(step, Work):
                step.result = step.run()
            elif isinstance(step, Receive):
                words = base64.b64decode(said[-1].split()[-1]) if said[-1] else b""
                if said[-1].startswith("AUTH"):
                    text = "334 " + coded(server.first(words))
                elif not words:
                    text = last
                else:
                    text = ("235 2.7.0 " if with_235 else "334 ") + coded(server.final(words)[0])
                reader = ReplyReader()
                reader.feed(text.encode() + b"\r\n")
                reply = reader.take()
    except StopIteration:
        return said


def test_scram_dialogue() -> None:
    said = log_in(ScramServer("sha256"), last="235 2.7.0 ok")
    assert len(said) == 3 and said[-1] == ""
    assert len(log_in(ScramServer("sha256"), last="", with_235=True)) == 2


@pytest.mark.parametrize("with_235", [False, True])
def test_a_server_that_does_not_know_the_password(with_235: bool) -> None:
    with pytest.raises(Trouble) as caught:
        log_in(ScramServer("sha256", wrong=True), last="235 ok", with_235=with_235)
    assert (caught.value.status, caught.value.public) == (
        "4.7.0", f"SASL authentication failed; cannot authenticate to server {HOST}: "
                 "the server does not know the password")


@pytest.mark.parametrize(("options", "offered", "want"), [
    ("noanonymous", "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", "SCRAM-SHA-256"),
    ("noplaintext, noanonymous", "LOGIN PLAIN CRAM-MD5", "CRAM-MD5"), ("noplaintext", "LOGIN PLAIN XOAUTH2", None),
    ("noactive", "CRAM-MD5 SCRAM-SHA-1", "SCRAM-SHA-1"), ("mutual_auth", "CRAM-MD5 PLAIN", None),
    ("", "PLAIN LOGIN XOAUTH2", "PLAIN"), ("", "LOGIN XOAUTH2", "LOGIN"), ("", "XOAUTH2", "XOAUTH2"),
    ("nodictionary", "SCRAM-SHA-256", None), ("", "GSSAPI NTLM", None)])
def test_choice(options: str, offered: str, want: str | None) -> None:
    made = config(smtp_sasl_security_options=options, smtp_sasl_tls_security_options="noplaintext",
                  smtp_sasl_tls_verified_security_options="")
    assert choose(made, offered.split(), tls=False, verified=False) == want
    assert choose(made, ["PLAIN"], tls=True, verified=False) is None
    assert choose(made, ["PLAIN"], tls=True, verified=True) == "PLAIN"


def test_tokens() -> None:
    exchange = MECHANISMS["XOAUTH2"].begin("me@x.test", Secret(b"token"), False)
    assert next(exchange) == b"user=me@x.test\1auth=Bearer token\1\1"
    assert exchange.send(b'{"status":"400"}') == b""
    exchange = MECHANISMS["OAUTHBEARER"].begin("me@x.test", Secret(b"token"), False)
    assert next(exchange) == b"n,a=me@x.test,\1auth=Bearer token\1\1"


def test_failures_are_remembered(tmp_path: Path) -> None:
    def failures(**more: Any) -> Failures:
        return Failures(Settings.of({"smtp_sasl_auth_cache_name": f"proxy:btree:{tmp_path}/auth"} | more), "smtp")

    first = failures()
    assert first.find("mx.test", ME) is None
    first.remember("mx.test", ME, Reply(454, ("454 4.7.0 later",)))
    assert first.find("mx.test", ME) is None
    first.remember("mx.test", ME, Reply(535, ("535 5.7.8 no",)))
    assert first.find("mx.test", ME) == ("5.7.8", "535 5.7.8 no")
    assert first.find("mx.test", Credentials("me", Secret(b"new"))) is None
    assert first.find("other.test", ME) is None
    with pytest.raises(ConfigError):
        Failures(Settings.of({"smtp_sasl_auth_cache_name": "btree:/x"}), "smtp")
