"""Packets, reply texts, settings and macros of the milter client."""

import datetime
from contextlib import nullcontext
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certs.authority import ensure_certificates
from mailsuite.base.dialogue import TlsInfo
from mailsuite.base.errors import ConfigError, PeerError
from mailsuite.config.settings import Settings
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.milter.macros import certificate_macros, chosen, client_macros, refused_macros, smtp_macros
from mailsuite.smtp.milter.reply_text import read_reply_text
from mailsuite.smtp.milter.session import Act, MilterSession
from mailsuite.smtp.milter.settings import MilterOptions, read_milters
from mailsuite.smtp.milter.syntax import (
    Kind,
    PacketBuffer,
    Reply,
    connect_data,
    packet,
    read_agreement,
    read_reply,
)


@pytest.mark.parametrize(("letter", "data", "want"), [
    (b"c", b"", Reply(Kind.CONTINUE)),
    (b"h", b"X-A\0b\0", Reply(Kind.ADD_HEADER, strings=("X-A", "b"))),
    (b"i", b"\0\0\0\x02X-A\0\0", Reply(Kind.INSERT_HEADER, 2, ("X-A", ""))),
    (b"e", b"<a@b>\0", Reply(Kind.CHANGE_FROM, strings=("<a@b>",))),
    (b"e", b"<a@b>\0RET=HDRS\0", Reply(Kind.CHANGE_FROM, strings=("<a@b>", "RET=HDRS"))),
    (b"b", b"octets\0\xff", Reply(Kind.REPLACE_BODY, octets=b"octets\0\xff")),
    (b"c", b"x", None), (b"h", b"X-A\0b", None), (b"h", b"X-A\0", None), (b"i", b"\0\0", None),
    (b"h", b"a\0b\0c\0", None), (b"Z", b"", None), (b"y", b"", None)])
def test_replies(letter: bytes, data: bytes, want: Reply | None) -> None:
    with nullcontext() if want is not None else pytest.raises(PeerError):
        assert read_reply(letter, data, "eom") == want


@pytest.mark.parametrize("cut", range(20))
def test_packet_borders_do_not_matter(cut: int) -> None:
    stream = packet(b"c") + packet(b"h", b"X\0y\0") + packet(b"a")
    buffer = PacketBuffer(1000)
    taken = []
    for part in (stream[:cut], stream[cut:]):
        buffer.feed(part)
        while (one := buffer.take()) is not None:
            taken.append(one)
    assert taken == [(b"c", b""), (b"h", b"X\0y\0"), (b"a", b"")]


@pytest.mark.parametrize("octets", [b"\0\0\0\0", b"\0\0\x04\0", b"\xff\xff\xff\xff", b"GET / HTTP"])
def test_unreasonable_lengths(octets: bytes) -> None:
    buffer = PacketBuffer(1000)
    buffer.feed(octets)
    with pytest.raises(PeerError):
        buffer.take()


def options() -> MilterOptions:
    return MilterOptions.of(Settings.of({"queue_directory": "/var/spool/q"}))


@pytest.mark.parametrize("seed", range(200))
def test_noise_is_a_peer_error_at_most(seed: int) -> None:
    chance = Random(seed)
    session = MilterSession(options().defaults, options())
    session.feed(packet(b"O", bytes(12)) + b"".join(
        packet(bytes([chance.choice(b"catrdspy4fhime+2-bqOZ")]), chance.randbytes(chance.randrange(12)))
        for _ in range(20)))
    try:
        assert session.agreed()
        while session.answer("eom") is not None:
            pass
    except PeerError:
        pass


def test_symbols() -> None:
    agreement = read_agreement(b"\0\0\0\x06" + bytes(8) + b"\0\0\0\0j, {x} y\0\0\0\0\x05i\0")
    assert agreement.symbols == {"connect": ("j", "{x}", "y"), "eom": ("i",)}


@pytest.mark.parametrize(("name", "address", "port", "want"), [
    ("a.test", "192.0.2.1", 25, b"a.test\0" + b"4" + b"\0\x19192.0.2.1\0"),
    ("[2001:db8::1]", "2001:db8::1", 256, b"[2001:db8::1]\0" + b"6" + b"\x01\x002001:db8::1\0"),
    ("localhost", "", 0, b"localhost\0U")])
def test_connect(name: str, address: str, port: int, want: bytes) -> None:
    assert connect_data(name, address, port) == want


@pytest.mark.parametrize(("text", "want"), [
    ("550 5.7.1 no", "550 5.7.1 no"), ("450 later", "450 later"), ("550 5.7.1 ", "550 5.7.1 "),
    ("550-5.7.1 a\r\n550 5.7.1 b\r\n", "550 5.7.1 a\n550 5.7.1 b"), ("550 100%% sure", "550 100% sure"),
    ("550 a\x00\x1bb\tc", "550 a??b\tc"),
    ("250 fine", None), ("550", None), ("550x", None), ("", None), ("550 4.7.1 x", None), ("550-a\r\n551 b", None),
    ("\r\n".join(["550-x"] * 60), None)])
def test_reply_texts(text: str, want: str | None) -> None:
    with nullcontext() if want is not None else pytest.raises(PeerError):
        assert read_reply_text(text) == want


def test_settings_of_a_milter() -> None:
    first, second, third = read_milters(
        "inet:mail.test:8891, { unix:run/m, default_action=accept { command_timeout = 5s } protocol=2 },"
        "local:/run/n", options())
    assert (first.name, first.host, first.port, first.default_action, first.version) == (
        "inet:mail.test:8891", "mail.test", 8891, "tempfail", 6)
    assert (second.path, second.default_action, second.command_timeout_s, second.content_timeout_s, second.version) == (
        "/var/spool/q/run/m", "accept", 5, 300, 2)
    assert third.path == "/run/n"
    six, = read_milters("inet:[::1]:25", options())
    assert six.host == "::1"


@pytest.mark.parametrize("text", [
    "mail.test:25", "inet:mail.test", "inet:mail.test:smtp", "unix:", "{}", "{ inet:a:1, colour=red }",
    "{ inet:a:1, default_action=maybe }", "{ inet:a:1, protocol=5 }", "{ inet:a:1, connect_timeout }", "{ inet:a:1"])
def test_bad_milters(text: str) -> None:
    with pytest.raises(ConfigError):
        read_milters(text, options())


@pytest.mark.parametrize("name", ["milter_protocol", "milter_default_action", "milter_connect_timeout"])
def test_bad_settings(name: str) -> None:
    with pytest.raises(ConfigError):
        MilterOptions.of(Settings.of({name: "5x"}))


def test_macros() -> None:
    values = client_macros(Client("192.0.2.1", 99, name="unknown", reverse_name="rev.test"))
    assert values["_"] == "rev.test [192.0.2.1] (may be forged)"
    assert chosen(["j", "{client_port}", "none", "{if_name}"], {"j": "mx", **values}, {"{if_name}": "eth0"}) == (
        b"j\0mx\0{client_port}\x0099\0{if_name}\0eth0\0")
    assert chosen(["j"], {"j": "a\0b"}, {}) == b"j\0a?b\0"


def test_macros_of_tls_and_logins() -> None:
    facts = Facts(Client("192.0.2.1"), tls=TlsInfo("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, 256),
                  sasl_method="PLAIN", sasl_username="joe", queue_id="4F3A2")
    values = smtp_macros(facts, 3)
    assert {name: values[name] for name in values if name not in client_macros(facts.client)} == {
        "{client_connections}": "3", "{tls_version}": "TLSv1.3", "{cipher}": "TLS_AES_256_GCM_SHA384",
        "{cipher_bits}": "256", "{auth_type}": "PLAIN", "{auth_authen}": "joe", "i": "4F3A2"}


def test_macros_of_a_client_certificate(tmp_path: Path) -> None:
    made = ensure_certificates(tmp_path, ["mx.test"], datetime.datetime.now(datetime.UTC))
    der = x509.load_pem_x509_certificate(made.chain.read_bytes()).public_bytes(Encoding.DER)
    found = certificate_macros(der)
    assert set(found) == {"{cert_subject}", "{cert_issuer}"} and found["{cert_subject}"] == "mx.test"
    assert certificate_macros(b"no certificate") == {}


def test_macros_of_a_refused_recipient() -> None:
    assert refused_macros("554 5.7.1 <a@b.test>: Relay access denied") == {
        "{rcpt_mailer}": "error", "{rcpt_host}": "5.7.1", "{rcpt_addr}": "Relay access denied"}
    assert refused_macros("450 greylisted") == {
        "{rcpt_mailer}": "error", "{rcpt_host}": "", "{rcpt_addr}": "greylisted"}


def test_an_old_milter_is_not_told_what_it_does_not_know() -> None:
    session = MilterSession(options().defaults, options())
    session.feed(packet(b"O", b"\0\0\0\x02" + bytes(8)))
    assert session.agreed()
    assert session.event("data", b"", {"i": "x"}) == session.event("unknown", b"x\0", {}) == b""
    assert session.event("helo", b"x\0", {}).endswith(packet(b"H", b"x\0"))
    session.feed(packet(b"c"))
    answer = session.answer("helo")
    assert answer is not None and answer.act is Act.CONTINUE
