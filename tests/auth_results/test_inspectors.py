"""The verifier and the signer inside cleanup."""

import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mailsuite.auth_results.checks import Checks
from mailsuite.auth_results.content import parse_content
from mailsuite.auth_results.key_ring import KeyRing
from mailsuite.auth_results.keys import new_key, write_key
from mailsuite.auth_results.signer import Signer
from mailsuite.auth_results.verifier import Verifier
from mailsuite.auth_results.wiring import add_signer, load_keys, reload_keys
from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Answer
from mailsuite.maps.maps import MapSource
from mailsuite.queue.cleanup import Refused
from mailsuite.queue.envelope import Envelope, Handling, Origin, Recipient
from mailsuite.rewrite.rewriter import Rewriter
from tests.queue.support import World
from tests.support.dns_zone import ZoneResolver
from tests.support.signing import MESSAGE, NOW, key, pem, record, signed

ALL = {"spf_verify": "yes", "dkim_verify": "yes", "dmarc_verify": "yes", "arc_verify": "yes",
       "mynetworks": "10.0.0.0/8", "message_size_limit": "0"}
ZONE = {**record(key()), "a.test": ["TXT v=spf1 ip4:192.0.2.1 -all"],
        "_dmarc.a.test": ["TXT v=DMARC1; p=reject; rua=mailto:agg@a.test"],
        "_dmarc.q.test": ["TXT v=DMARC1; p=quarantine"], "q.test": ["TXT v=spf1 -all"], "slow.test": ["TIMEOUT"],
        "_dmarc.slow.test": ["TXT v=DMARC1; p=reject"], "_dmarc.gone.test": ["TIMEOUT"]}
SIGNED = signed()
RECEIVED = b"Received: from a by mx.test\n"


class Place:
    """A cleanup with a verifier in front and a signer behind."""

    def __init__(self, top: Path, zone: Mapping[str, list[str]] = ZONE, **values: str) -> None:
        self.world = World(top, **{**ALL, **values})
        settings = self.world.settings
        self.resolver = ZoneResolver(zone)
        rewriter = Rewriter(settings)
        verifier = Verifier(settings, Checks(settings, self.resolver), MapSource(settings, "smtpd"),
                            clock=lambda: NOW + 60, sample=lambda: 0.0)
        if verifier.wanted:
            self.world.cleanup.first = [verifier]
        self.verifier = verifier
        add_signer(self.world.cleanup, settings, rewriter, load_keys(settings))

    async def take(self, message: bytes, *, client: str = "192.0.2.1", sender: str = "anna@a.test", user: str = "",
                   to: str = "b@mx.test", wanted: tuple[str, ...] = (), **more: Any) -> tuple[str, bytes]:
        origin = Origin("c.a.test", client, message_origin=f"c.a.test[{client}]", protocol_name="ESMTP",
                        helo_name="c.a.test", sasl_username=user)
        envelope = Envelope(sender=sender, **{"origin": origin, "local": False, "dmarc": frozenset(wanted), **more})
        intake = self.world.cleanup.begin(envelope)
        if wanted and not self.verifier.wanted:
            intake.inspectors.insert(0, self.verifier)
        await intake.recipient(Recipient(to))
        intake.write(RECEIVED + message)
        accepted = await intake.commit()
        queue = "hold" if envelope.hold else "incoming"
        return queue, self.world.content(queue, accepted.queue_id)

    def content(self, message: bytes, **more: Any) -> bytes:
        return asyncio.run(self.take(message, **more))[1]


def results_of(message: bytes) -> str:
    """Our header, unfolded."""
    found = [field.value for field in parse_content(message).fields if field.name == b"Authentication-Results"]
    assert len(found) == 1, found
    return " ".join(found[0].decode().split())


def test_all_pass(tmp_path: Path) -> None:
    message = Place(tmp_path).content(SIGNED)
    assert message.startswith(b"Authentication-Results: mx.test;\n\tspf=pass ")
    start = re.search(rb"\tb=(.{8})", SIGNED)
    assert start is not None
    shown = start[1].decode()
    assert results_of(message).replace('"', "") == (
        "mx.test; spf=pass smtp.mailfrom=anna@a.test; dkim=pass (1024-bit key) header.d=a.test header.i=@a.test "
        f"header.s=sel header.a=rsa-sha256 header.b={shown}; dmarc=pass (p=reject dis=none) header.from=a.test; "
        "arc=none")


def test_nothing_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        found = results_of(Place(tmp_path).content(SIGNED.replace(b"last", b"first"), client="192.0.2.2"))
    assert found.startswith("mx.test; spf=fail smtp.mailfrom=anna@a.test; dkim=fail (1024-bit key) "
                            'reason="body hash does not match" header.d=a.test')
    assert found.endswith("; dmarc=fail (p=reject dis=reject) header.from=a.test; arc=none")
    assert "rua=mailto:agg@a.test" in caplog.text


def test_null_sender_names_the_helo(tmp_path: Path) -> None:
    zone = {**ZONE, "c.a.test": ["TXT v=spf1 ip4:192.0.2.1 -all"]}
    found = results_of(Place(tmp_path, zone).content(MESSAGE, sender=""))
    assert "spf=pass smtp.helo=c.a.test; dkim=none; dmarc=pass" in found


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    found = results_of(Place(tmp_path, spf_verify="no", dmarc_verify="no", arc_verify="no").content(MESSAGE))
    assert found == "mx.test; dkim=none"


def test_received_spf(tmp_path: Path) -> None:
    message = Place(tmp_path, spf_received_header="yes").content(MESSAGE)
    value = next(field.value for field in parse_content(message).fields if field.name == b"Received-SPF")
    assert " ".join(value.decode().split()) == (
        "pass (mx.test: domain of anna@a.test designates 192.0.2.1 as permitted sender) client-ip=192.0.2.1; "
        'envelope-from="anna@a.test"; helo=c.a.test; receiver=mx.test; identity=mailfrom; '
        "mechanism=ip4:192.0.2.1")


def test_forged_headers_go(tmp_path: Path) -> None:
    forged = (b"Authentication-Results: mx.test; dkim=pass\nX-Other: 1\n"
              b"AUTHENTICATION-RESULTS: (x) MX.TEST;\n\tspf=pass\nAuthentication-Results: other.test; spf=fail\n")
    message = Place(tmp_path).content(forged + MESSAGE)
    values = [field.value for field in parse_content(message).fields if field.name.lower() == b"authentication-results"]
    assert len(values) == 2 and values[1] == b" other.test; spf=fail" and b"X-Other: 1\n" in message


def test_ten_thousand_forged_headers(tmp_path: Path) -> None:
    place = Place(tmp_path)
    message = place.content(b"Authentication-Results: mx.test; dkim=pass\n" * 10_000 + SIGNED)
    assert message.count(b"Authentication-Results") == 1 and "dkim=pass" in results_of(message)


@pytest.mark.parametrize(("more", "kept"), [
    ({"client": "10.0.0.5"}, True), ({"user": "anna"}, False), ({"program": "pickup"}, True),
    ({"handling": Handling.EXTERNAL & ~Handling.MILTER}, True)])
def test_who_is_not_verified(more: dict[str, Any], kept: bool, tmp_path: Path) -> None:
    place = Place(tmp_path)
    message = place.content(b"Authentication-Results: mx.test; own\n" + MESSAGE, **more)
    assert message.count(b"Authentication-Results") == int(kept) and not place.resolver.asked


@pytest.mark.parametrize(("message", "wanted", "want"), [
    (MESSAGE, ("reject",),
     "550 5.7.1 Unauthenticated mail from a.test is not accepted due to the domain's DMARC policy"),
    (SIGNED, ("reject",), ""), (MESSAGE, (), ""), (MESSAGE, ("reject_quarantine", "hold"), "hold"),
    (MESSAGE.replace(b"anna@a.test", b"x@q.test"), ("reject",), ""),
    (MESSAGE.replace(b"anna@a.test", b"x@q.test"), ("reject_quarantine",),
     "550 5.7.1 Unauthenticated mail from q.test is not accepted due to the domain's DMARC policy"),
    (MESSAGE.replace(b"anna@a.test", b"x@q.test"), ("reject", "hold"), "hold"),
    (MESSAGE.replace(b"anna@a.test", b"x@gone.test"), ("reject",),
     "451 4.7.1 DMARC policy of gone.test could not be evaluated, try again later"),
    (MESSAGE.replace(b"anna@a.test", b"x@gone.test"), ("hold",), ""),
    (MESSAGE.replace(b"anna@a.test", b"x@none.test"), ("reject", "reject_quarantine"), ""),
    (MESSAGE.replace(b"From: ", b"From: x@none.test\nFrom: "), ("reject",),
     "550 5.7.1 Unauthenticated mail from a.test is not accepted due to the domain's DMARC policy"),
])
@pytest.mark.parametrize("settings", [
    {}, dict.fromkeys(("spf_verify", "dkim_verify", "dmarc_verify", "arc_verify"), "no")],
                         ids=["verifying", "for the restriction only"])
def test_dmarc_decisions(message: bytes, wanted: tuple[str, ...], want: str, settings: dict[str, str],
                         tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Place(tmp_path, **settings)
    with caplog.at_level(logging.INFO):
        try:
            queue, _ = asyncio.run(place.take(message, client="192.0.2.2", wanted=wanted))
            said = "hold" if queue == "hold" else ""
        except Refused as error:
            said = f"{error.code} {error.status} {error.public}"
    assert said == want
    if want[:1] == "5":
        assert f": reject: END-OF-MESSAGE from c.a.test[192.0.2.2]: {want}; from=<anna@a.test> to=<b@mx.test> " \
               "proto=ESMTP helo=<c.a.test>" in caplog.text


def test_mark(tmp_path: Path) -> None:
    message = Place(tmp_path).content(MESSAGE, client="192.0.2.2", wanted=("mark",))
    assert b"\nX-Spam-Flag: YES\n" in message
    assert b"X-Spam-Flag" not in Place(tmp_path).content(SIGNED, wanted=("mark",))


def test_silent_dns_is_a_temperror_in_time(tmp_path: Path) -> None:
    place = Place(tmp_path, auth_results_timeout="1s")

    async def never(name: str, rtype: str) -> Answer[Any]:
        await asyncio.Event().wait()
        raise AssertionError

    place.resolver._ask = never                         # type: ignore[method-assign]
    found = results_of(place.content(SIGNED))
    assert "spf=temperror" in found and "dkim=temperror" in found and "dmarc=temperror" in found


# --- signing --------------------------------------------------------------------------------------------------------

def signing(top: Path, kinds: tuple[str, ...] = ("rsa",), **values: str) -> dict[str, str]:
    (top / "keys").mkdir(exist_ok=True)
    names = []
    for kind in kinds:
        path = top / "keys" / f"{kind}.key"
        if not path.exists():
            path.write_bytes(pem(kind))
            path.chmod(0o600)
        names.append(f"{'sel' if kind == 'rsa' else kind}:{kind}.key")
    return {"dkim_sign_domains": f"inline:{{ {{ a.test = {' '.join(names)} }} {{ .b.test = sel:rsa.key }} }}",
            "dkim_key_directory": str(top / "keys"), **values}


@pytest.mark.parametrize(("more", "want"), [
    ({"client": "10.0.0.5"}, 1), ({"user": "anna"}, 1), ({"program": "pickup"}, 1),
    ({"program": "bounce", "is_bounce": True, "handling": Handling.INTERNAL}, 1), ({}, 0),
    ({"client": "10.0.0.5", "handling": Handling.EXTERNAL & ~Handling.MILTER}, 0),
    ({"program": "local", "handling": Handling.INTERNAL}, 0)])
def test_whose_mail_is_signed(more: dict[str, Any], want: int, tmp_path: Path) -> None:
    assert Place(tmp_path, **signing(tmp_path)).content(MESSAGE, **more).count(b"DKIM-Signature:") == want


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("forms", ["relaxed/relaxed", "simple/simple"])
def test_signed_mail_verifies_at_the_next_host(forms: str, size: int, tmp_path: Path) -> None:
    values = signing(tmp_path, ("rsa", "ed25519"), dkim_sign_canonicalization=forms)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    sent = Place(tmp_path / "one", **values).content(MESSAGE + b"x y \n" * size, user="anna")
    assert sent.startswith(RECEIVED + b"DKIM-Signature: ") and sent.count(b"DKIM-Signature") == 2
    zone = {**ZONE, **record(key("ed25519", selector="ed25519"))}
    place = Place(tmp_path / "two", zone, dkim_clock_skew="2000000000")
    found = results_of(place.content(sent, client="192.0.2.2"))
    assert found.count("dkim=pass") == 2 and "dmarc=pass" in found


@pytest.mark.parametrize(("sender", "domain"), [("x@b.test", ""), ("x@c.b.test", "b.test"), ("x@d.c.b.test", "b.test"),
                                                ("x@A.test", "a.test"), ("x@sub.a.test", ""), ("x@other.test", "")])
def test_which_domain_signs(sender: str, domain: str, tmp_path: Path) -> None:
    message = MESSAGE.replace(b"anna@a.test", sender.encode())
    found = Place(tmp_path, **signing(tmp_path)).content(message, user="anna")
    assert (f" d={domain};".encode() in found) if domain else b"DKIM-Signature" not in found


def test_not_signed_twice_by_one_key(tmp_path: Path) -> None:
    assert Place(tmp_path, **signing(tmp_path)).content(SIGNED, user="anna").count(b"DKIM-Signature") == 1


@pytest.mark.parametrize("trouble", ["missing", "open to all", "no key", "bad value"])
def test_mail_is_not_sent_unsigned(trouble: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values, path = signing(tmp_path), tmp_path / "keys/rsa.key"
    match trouble:
        case "missing":
            path.unlink()
        case "open to all":
            path.chmod(0o644)
        case "no key":
            path.write_bytes(b"rubbish")
        case _:
            values["dkim_sign_domains"] = "inline:{a.test=rsa.key}"
    with pytest.raises(Refused) as caught:
        Place(tmp_path, **values).content(MESSAGE, user="anna")
    assert (caught.value.code, caught.value.public) == (451, "Error: cannot sign the message now")
    assert "rsa.key" in caplog.text and "PRIVATE" not in caplog.text


def test_keys_read_before_rights_were_dropped_stay(tmp_path: Path) -> None:
    values = signing(tmp_path)
    settings = Settings.of(values)
    ring = load_keys(settings)
    (tmp_path / "keys/rsa.key").unlink()
    again = reload_keys(ring, settings)
    assert again is not None and again.key("a.test", "sel", "rsa.key").bits == 1024
    assert load_keys(Settings.of({})) is None and "PRIVATE" not in repr(again.key("a.test", "sel", "rsa.key"))


def test_a_folder_in_the_key_directory_is_no_key(tmp_path: Path) -> None:
    write_key(tmp_path / "a.test/x.key", new_key("ed25519"))
    ring = KeyRing.load(Settings.of({"dkim_sign_domains": "static:x", "dkim_key_directory": str(tmp_path)}))
    assert ring is not None and ring.key("a.test", "x", "a.test/x.key").algorithm == "ed25519-sha256"
    with pytest.raises(FileExistsError):
        write_key(tmp_path / "a.test/x.key", b"")


# --- ARC ------------------------------------------------------------------------------------------------------------

def test_forwarded_mail_is_sealed_and_the_seal_is_trusted(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    values = signing(tmp_path, arc_seal="list.test:sel:rsa.key", dkim_sign_domains="")
    relay = Place(tmp_path / "one", relay_domains="far.test", relay_recipient_maps="", **values)
    assert b"ARC-Seal" not in relay.content(SIGNED)                 # it stays here
    passed_on = relay.content(SIGNED, to="x@far.test")
    names = [field.name for field in parse_content(passed_on).fields[:4]]
    assert names == [b"ARC-Seal", b"ARC-Message-Signature", b"ARC-Authentication-Results", b"Authentication-Results"]
    changed = passed_on.replace(b"Subject: Hello", b"Subject: [list] Hello")
    zone = {**ZONE, **record(key(domain="list.test"))}

    def judged(message: bytes, **more: str) -> str:
        place = Place(tmp_path / "two", zone, dkim_clock_skew="2000000000", **more)
        try:
            return results_of(place.content(message, client="192.0.2.7", wanted=("reject",)))
        except Refused as error:
            return str(error.code)

    assert "arc=pass (i=1) header.d=list.test header.oldest-pass=0" in judged(passed_on)
    assert judged(changed) == "550" == judged(changed, arc_trusted_domains="list.test")       # the list changed it
    # Unchanged since the seal, but from an address that SPF knows nothing of, and without the author's signature.
    stripped = signed(MESSAGE, key(number=1))
    resealed = relay.content(stripped, to="x@far.test")
    assert judged(resealed) == "550"
    found = judged(resealed, arc_trusted_domains="list.test")
    assert 'dmarc=fail (p=reject dis=none) reason="vouched for by a trusted ARC chain"' in found
    assert "arc=pass" in found


def test_what_local_forwards_is_sealed_by_our_own_header(tmp_path: Path) -> None:
    values = signing(tmp_path, arc_seal="list.test:sel:rsa.key", dkim_sign_domains="")
    relay = Place(tmp_path, relay_domains="far.test", relay_recipient_maps="", **values)
    checked = relay.content(SIGNED)
    more: dict[str, Any] = {"to": "x@far.test", "program": "local", "handling": Handling.INTERNAL}
    assert b"ARC-Seal: i=1" in relay.content(checked, **more)
    assert b"ARC-Seal" not in relay.content(SIGNED, **more)             # nobody looked at it
    assert b"ARC-Seal" not in relay.content(checked, client="", **more)     # a local user may write anything


def test_clients_without_an_address(tmp_path: Path) -> None:
    for address in ("", "unknown", "UNAVAILABLE"):
        assert "spf=none" in results_of(Place(tmp_path).content(MESSAGE, client=address))


def test_arc_seal_is_checked_at_start(tmp_path: Path) -> None:
    settings = Settings.of({"arc_seal": "a.test:sel"})
    with pytest.raises(ConfigError, match="domain:selector:keyfile"):
        Signer(settings, MapSource(settings, "cleanup"), None, Rewriter(settings))
