"""What we sign, dkimpy and opendkim verify; what they sign, we verify; chains likewise with dkimpy."""

import asyncio
import shutil
import subprocess
import time
from pathlib import Path

import dkim
import pytest

from mailsuite.auth_results.arc import verify_chain
from mailsuite.auth_results.content import parse_content
from mailsuite.auth_results.dkim import DkimOptions, SignOptions, verify
from mailsuite.auth_results.keys import PrivateKey, dns_record
from tests.auth_results.test_arc import HOPS, ZONE, sealed
from tests.support.dns_zone import ZoneResolver
from tests.support.opendkim import sign_with, signer
from tests.support.signing import MESSAGE, NAMES, key, pem, record, signed

FORMS = [(True, True), (True, False), (False, True), (False, False)]
BODIES = [b"", b"\n\n", b"plain\n", b" a \t b  \n\n.\n x\n\n\n", b"no end", b"8bit \xe4\n" * 3000]
NEEDS_OPENDKIM = pytest.mark.skipif(shutil.which("opendkim") is None, reason="opendkim is not installed")


def wire(message: bytes) -> bytes:
    return message.replace(b"\n", b"\r\n")


def message_with(body: bytes) -> bytes:
    return MESSAGE.partition(b"\n\n")[0] + b"\n\n" + body


def ours(message: bytes, zone: dict[str, list[str]]) -> list[tuple[str, str]]:
    found = asyncio.run(verify(parse_content(message), ZoneResolver(zone), DkimOptions(), time.time()))
    return [(one.result, one.reason) for one in found]


def dns_of(zone: dict[str, list[str]]) -> object:
    def ask(name: bytes, timeout: int = 5) -> bytes | None:
        records = zone.get(name.decode().rstrip("."))
        return records[0].removeprefix("TXT ").encode() if records else None
    return ask


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_dkimpy(kind: str, forms: tuple[bool, bool], body: bytes) -> None:
    mine, message = key(kind), message_with(body)
    options = SignOptions(NAMES, frozenset({b"from", b"cc"}), *forms)
    assert dkim.verify(wire(signed(message, mine, options, time.time())), dnsfunc=dns_of(record(mine)))
    secret = pem(kind)
    if kind == "ed25519":                       # dkimpy wants the bare seed
        import base64

        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
        secret = base64.b64encode(mine.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    names = [b"relaxed" if form else b"simple" for form in forms]
    value = dkim.sign(wire(message), b"sel", b"a.test", secret, canonicalize=tuple(names),
                      signature_algorithm=f"{kind}-sha256".encode())
    assert ours(value + wire(message), record(mine)) == [("pass", "")]
    assert ours(value + wire(message).replace(b"Hello", b"Hallo"), record(mine))[0][0] == "fail"


def run_opendkim(folder: Path, message: bytes, mine: PrivateKey) -> str:
    (folder / "message").write_bytes(wire(message))
    (folder / "keys").write_text(f"{mine.selector}._domainkey.{mine.domain} {dns_record(mine)}\n")
    (folder / "conf").write_text(f"TestPublicKeys {folder / 'keys'}\nSyslog no\nTemporaryDirectory {folder}\n")
    done = subprocess.run(["opendkim", "-x", str(folder / "conf"), "-t", str(folder / "message")], text=True,
                          capture_output=True, check=False, timeout=60)
    return done.stdout + done.stderr


@NEEDS_OPENDKIM
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_opendkim_verifies_ours(kind: str, forms: tuple[bool, bool], tmp_path: Path) -> None:
    mine = key(kind)
    options = SignOptions(NAMES, frozenset({b"from", b"cc"}), *forms)
    message = signed(message_with(BODIES[3]), mine, options, time.time())
    assert "verification (s=sel, d=a.test" in (said := run_opendkim(tmp_path, message, mine)) and "succeeded" in said
    assert "succeeded" not in run_opendkim(tmp_path, message.replace(b" a ", b" b "), mine)


@NEEDS_OPENDKIM
@pytest.mark.parametrize(("kind", "forms"), [
    ("rsa", "relaxed/relaxed"), ("rsa", "simple/simple"), ("rsa", "simple/relaxed"), ("ed25519", "relaxed/simple")])
def test_we_verify_opendkims(kind: str, forms: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(pem(kind))
    with signer(tmp_path, file, "a.test", "sel", forms, f"{kind}-sha256") as path:
        for body in (body for body in BODIES if body.endswith(b"\n")):      # else it does not sign relaxed bodies
            message = sign_with(path, message_with(body)) + message_with(body)
            assert ours(message, record(key(kind))) == [("pass", "")]
            assert ours(message.replace(b"ben@", b"eve@"), record(key(kind)))[0][0] == "fail"


def test_dkimpy_validates_our_chain() -> None:
    message = MESSAGE
    for number, hop in enumerate([HOPS[0], HOPS[2], HOPS[0]]):          # dkimpy knows RSA only, in chains
        message = sealed(message, hop, results=f"{hop.domain}; arc={'pass' if number else 'none'}")
        state, _, why = dkim.arc_verify(wire(message), dnsfunc=dns_of(ZONE))
        assert (state, why) == (b"pass", "success")
    state, _, _ = dkim.arc_verify(wire(message.replace(b"Hello", b"Hallo")), dnsfunc=dns_of(ZONE))
    assert state == b"fail"


def test_we_validate_dkimpys_chain_and_continue_it() -> None:
    first, last = HOPS[0], HOPS[2]

    def chain_of(message: bytes) -> str:
        found = asyncio.run(verify_chain(parse_content(message), ZoneResolver(ZONE), DkimOptions(), time.time()))
        return found.result if found.result == "pass" else f"{found.result}: {found.reason}"

    message = b"Authentication-Results: one.test; spf=pass; arc=none\n" + MESSAGE
    lines = dkim.arc_sign(wire(message), first.selector.encode(), first.domain.encode(), pem("rsa"), b"one.test")
    mixed = b"".join(lines) + wire(message)
    assert chain_of(mixed) == "pass"
    continued = sealed(mixed.replace(b"\r\n", b"\n"), HOPS[1], results="two.test; arc=pass")
    assert chain_of(continued) == "pass"
    third = b"Authentication-Results: three.test; arc=pass\n" + continued
    lines = dkim.arc_sign(wire(third), last.selector.encode(), last.domain.encode(), pem("rsa", 1024, 1), b"three.test")
    assert chain_of(b"".join(lines) + wire(third)) == "pass"
