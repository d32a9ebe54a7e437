"""Every TLS level against servers with right and wrong certificates: outcomes and log lines as Postfix 3.7 has them."""

import dataclasses
import datetime
import hashlib
import json
import logging
import ssl
import time
from pathlib import Path
from typing import Any, cast

import dns.rdata
import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.deliver.agent import serve_agent
from mailsuite.deliver.smtp import RemoteAgent
from mailsuite.dns.resolver import Answer, DnsError, Mx, Resolver
from mailsuite.net.client_tls import client_identities
from mailsuite.net.service import ServiceContext
from mailsuite.queue.agent import RecipientReport
from mailsuite.smtp.client_sts import Kept, _shared
from mailsuite.tls.chain import Authorities, read_ahead
from mailsuite.tls.sts import parse_policy
from mailsuite.tlsrpt.report import make_report
from mailsuite.tlsrpt.store import rows
from tests.deliver.harness import Qmgr, with_agent
from tests.deliver.test_smtp import Server
from tests.support.chains import World, chain, make_world, public_key, tlsa
from tests.support.suite import free_port

HOST = "mx.far.test"
NOT_VERIFIED = ("deferred", "4.7.5", "Server certificate not verified")
SENT = ("sent", "2.0.0", "250 2.0.0 Taken")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("chains"))


@dataclasses.dataclass
class Names:
    """A resolver of one zone, far.test, whose MX is mx.far.test on 127.0.0.1. tlsa: its records, None: SERVFAIL."""

    tlsa: list[str] | None = dataclasses.field(default_factory=list)
    signed_mx: bool = True
    signed_host: bool = True
    canonical: str = HOST
    asked: list[str] = dataclasses.field(default_factory=list)

    async def mx(self, domain: str) -> Answer[Mx]:
        return Answer((Mx(10, HOST),), validated=self.signed_mx)

    async def addresses(self, host: str, *, family: str = "any", use_hosts: bool = True) -> Answer[str]:
        return Answer(("127.0.0.1",), validated=self.signed_host, name=self.canonical)

    async def records(self, name: str, rtype: str) -> Answer[Any]:
        self.asked.append(f"{rtype} {name}")
        if rtype == "NS":
            return Answer(("a.root.test",), validated=False)
        if rtype == "CNAME":
            return Answer(("alias",), validated=True)
        if self.tlsa is None:
            raise DnsError(name, rtype)
        return Answer(tuple(dns.rdata.from_text("IN", "TLSA", text) for text in self.tlsa), validated=True)


def send(world: World, certificate: str, caplog: pytest.LogCaptureFixture, names: Names | None = None, *,
         server: Server | None = None, on_port_25: bool = False, facts: dict[str, str] | None = None,
         sender: str = "a@b.test", **settings: str) -> tuple[tuple[str, str, str], list[str]]:
    """One message for far.test: status, code and reason, and what was logged about TLS; the port is left out.

    on_port_25: the nexthop has no port, as a recipient's domain has none.
    """
    far = server or Server(EHLO="250-far.test\r\n250 STARTTLS", STARTTLS="220 go ahead")
    if certificate and server is None:
        far.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        far.context.load_cert_chain(world.folder / f"{certificate}.pem")
        far.context.maximum_version = ssl.TLSVersion.TLSv1_2
    ports: list[int] = []
    fixed = free_port()

    async def talk(qmgr: Qmgr) -> RecipientReport:
        ports.append(await far.start(fixed))
        return (await qmgr.ask("x@far.test", nexthop="far.test" if on_port_25 else f"far.test:{fixed}",
                               sender=sender, facts=facts or {}))["x@far.test"]

    async def serve(context: ServiceContext) -> None:
        agent = RemoteAgent(context.settings, "smtp", cast(Resolver, names or Names()),
                            client_identities(context.settings))
        try:
            await serve_agent(context, agent.deliver)
        finally:
            await agent.close()

    caplog.set_level(logging.INFO)
    report = with_agent(serve, "smtp", {
        "myhostname": "here.test", "inet_interfaces": "192.0.2.99, 127.0.0.2", "smtp_tls_loglevel": "1",
        "smtp_tcp_port": str(fixed), "compatibility_level": "3.6",
        "smtp_tls_CAfile": str(world.authority)} | settings, talk)
    lines = [record.getMessage().replace(f":{ports[0]}", "") for record in caplog.records
             if record.name == "mailsuite.smtp"]
    return (report.status, report.dsn, report.reason.replace(f":{ports[0]}", "")), [
        line for line in lines if " status=" not in line and "to=<" not in line]


def established(trust: str) -> str:
    return (f"{trust} TLS connection established to {HOST}[127.0.0.1]: "
            "TLSv1.2 with cipher ECDHE-ECDSA-AES256-GCM-SHA384 (256/256 bits)")


def failed(why: str) -> str:
    return f"server certificate verification failed for {HOST}[127.0.0.1]: {why}"


def no_trust(why: str) -> str:
    return f"certificate verification failed for {HOST}[127.0.0.1]: {why}"


MISMATCH = failed("num=62:hostname mismatch")
PURPOSE = no_trust("not designated for use as a server certificate")


@pytest.mark.parametrize(("certificate", "level", "want", "lines"), [
    ("good", "may", SENT, [established("Trusted")]),
    ("good", "encrypt", SENT, [established("Trusted")]),
    ("good", "verify", SENT, [established("Verified")]),
    ("good", "secure", SENT, [established("Verified")]),
    ("chained", "verify", SENT, [established("Verified")]),
    ("common", "verify", SENT, [established("Verified")]),
    ("wild", "secure", SENT, [established("Verified")]),
    ("self", "may", SENT, [established("Untrusted")]),
    ("expired", "encrypt", SENT, [established("Untrusted")]),
    ("wrong", "encrypt", SENT, [established("Trusted")]),
    ("client", "may", SENT, [established("Untrusted")]),
    ("wrong", "verify", NOT_VERIFIED, [MISMATCH, established("Untrusted")]),
    ("wrong", "secure", NOT_VERIFIED, [MISMATCH, established("Untrusted")]),
    ("self", "verify", NOT_VERIFIED, [no_trust("self-signed certificate"), established("Untrusted")]),
    ("expired", "verify", NOT_VERIFIED, [failed("certificate has expired"), established("Untrusted")]),
    ("future", "secure", NOT_VERIFIED, [failed("certificate not yet valid"), established("Untrusted")]),
    ("missing", "verify", NOT_VERIFIED, [no_trust("untrusted issuer /CN=Test Middle"), established("Untrusted")]),
    ("client", "verify", NOT_VERIFIED, [PURPOSE, established("Untrusted")]),
])
def test_levels(certificate: str, level: str, want: tuple[str, str, str], lines: list[str], world: World,
                caplog: pytest.LogCaptureFixture) -> None:
    assert send(world, certificate, caplog, smtp_tls_security_level=level) == (want, lines)


def test_the_depth_of_a_chain(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got = send(world, "chained", caplog, smtp_tls_security_level="verify", smtp_tls_scert_verifydepth="1")
    assert got == (NOT_VERIFIED, [no_trust("certificate chain longer than limit(1)"), established("Untrusted")])


def test_authorities_that_cannot_be_read_trust_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_security_level="may", smtp_tls_CAfile="/nowhere/ca.pem")
    assert got == SENT and lines[-1] == established("Untrusted") and "/nowhere/ca.pem" in lines[0]


def pretty(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest().upper()


def test_fingerprints(world: World, caplog: pytest.LogCaptureFixture) -> None:
    own = chain(world.folder / "self.pem")[0]
    for octets in (own, public_key(own)):
        caplog.clear()
        got = send(world, "self", caplog, smtp_tls_security_level="fingerprint",
                   smtp_tls_fingerprint_cert_match=f"{'00' * 32} {pretty(octets)}")
        assert got == (SENT, [established("Verified")])
    caplog.clear()
    got = send(world, "self", caplog, smtp_tls_security_level="fingerprint", smtp_tls_fingerprint_cert_match="AA:BB")
    assert got == (NOT_VERIFIED, [
        f"{HOST}[127.0.0.1]: unusable TLSA RR: 3 1 255 AABB", f"{HOST}[127.0.0.1]: unusable TLSA RR: 3 0 255 AABB",
        f"{HOST}[127.0.0.1]: all fingerprints unusable",
        failed("num=1:unspecified certificate verification error"), established("Untrusted")])


def test_level_fingerprint_without_fingerprints(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "self", caplog, smtp_tls_security_level="fingerprint")
    assert got == ("deferred", "4.7.5", "client TLS configuration problem")
    assert lines == [
        "nexthop domain far.test: configured at fingerprint security level, but with no fingerprints to match.",
        "TLS policy lookup for far.test/mx.far.test: client TLS configuration problem"]


@pytest.mark.parametrize(("reply", "level", "want"), [
    ("454 4.7.0 later", "may", SENT),
    ("554 5.7.0 no TLS", "may", SENT),
    ("454 4.7.0 later", "encrypt", ("deferred", "4.7.0", "refused to start TLS: 454 4.7.0 later")),
    ("554 5.7.0 no TLS", "verify", ("bounced", "5.7.0", "refused to start TLS: 554 5.7.0 no TLS")),
])
def test_starttls_refused(reply: str, level: str, want: tuple[str, str, str], world: World,
                          caplog: pytest.LogCaptureFixture) -> None:
    server = Server(EHLO="250-far.test\r\n250 STARTTLS", STARTTLS=reply)
    got, _ = send(world, "", caplog, server=server, smtp_tls_security_level=level)
    assert got[:2] == want[:2] and got[2].endswith(want[2]) and server.connections == 1


def test_starttls_is_noted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_security_level="none", smtp_tls_note_starttls_offer="yes")
    assert got == SENT and lines == [f"Host offered STARTTLS: [{HOST}]"]


@pytest.mark.parametrize(("value", "want", "warning"), [
    ("secure match=mx.far.test:.elsewhere.test", SENT, ""),
    ("secure match=.far.test servername=hostname", SENT, ""),
    ("secure match=nexthop", NOT_VERIFIED, ""),
    ("encrypt protocols=TLSv1.2 ciphers=high exclude=RC4", SENT, ""),
    ("encrypt protocols=TLSv1.3", ("deferred", "4.7.5", "Cannot start TLS: handshake failure"), ""),
    ("encrypt protocols=TLSv7", ("deferred", "4.7.5", "Cannot start TLS: handshake failure"),
     f'{HOST}[127.0.0.1]: Invalid TLS protocol list "TLSv7": aborting TLS session'),
    ("encrypt ciphers=huge", ("deferred", "4.7.5", "Cannot start TLS: handshake failure"),
     f'{HOST}[127.0.0.1]: invalid cipher grade: "huge"'),
    ("none ciphers=high", SENT, 'ignoring attribute "ciphers=high" with TLS disabled'),
    ("may connection_reuse=yes enable_rpk=no", SENT, ""),
    *((value, ("deferred", "4.7.5", "client TLS configuration problem"), warning) for value, warning in (
        ("sceure", 'invalid security level "sceure"'), ("half-dane", 'invalid security level "half-dane"'),
        ("may foo=bar", 'invalid attribute name: "foo"'),
        ("may foo", "malformed attribute/value pair \"foo\": missing '=' after attribute name"),
        ("may match=x.test", 'attribute "match" invalid at security level "may"'),
        ("encrypt tafile=/x", 'attribute "tafile" invalid at security level "encrypt"'),
        ("secure match=", 'attribute "match" has empty value'),
        ("may ciphers=high ciphers=medium", 'attribute "ciphers" is specified multiple times'),
        ("may connection_reuse=perhaps", 'attribute "connection_reuse" has bad value: "perhaps"'),
        ("secure tafile=/nowhere", "error opening trust anchor file: /nowhere: No such file or directory"))),
])
def test_policy_tables(value: str, want: tuple[str, str, str], warning: str, world: World,
                       caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_policy_maps="regexp:{{/^far[.]test/ " + value + "}}")
    assert got == want
    if warning:
        assert any(line.endswith(warning) for line in lines), lines


def test_a_table_that_cannot_be_asked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_policy_maps="hash:/nowhere/policy")
    assert got == ("deferred", "4.7.5", "client TLS configuration problem")
    assert f'smtp_tls_policy_maps, next-hop destination "{HOST.partition(".")[2]}": policy table lookup error' in lines


def test_wrapper_mode_wants_a_level(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_wrappermode="yes", smtp_tls_security_level="may")
    assert got == ("deferred", "4.3.0", "server unavailable or unable to receive mail")
    assert lines == ['smtp_tls_wrappermode requires "smtp_tls_security_level = encrypt" (or stronger)']


def test_authorities_are_read_while_root_may(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "ca.pem").write_bytes(Path(world.authority).read_bytes())
    file.chmod(0o600)
    read_ahead(str(file), "", defaults=False)
    monkeypatch.setattr("mailsuite.tls.chain.os.access", lambda path, mode: False)
    assert Authorities.of(str(file)) is Authorities.of(str(file))


@pytest.mark.parametrize(("sites", "level", "want"), [
    ("regexp:{{/^far[.]test/ MUST}}", "may", "Verified"),
    ("inline:{{mx.far.test = MUST_NOPEERMATCH}}", "may", "Trusted"),
    ("inline:{{mx.far.test = NONE}}", "may", ""), ("inline:{{mx.far.test = MAY}}", "verify", "Verified"),
])
def test_per_site(sites: str, level: str, want: str, world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_security_level=level, smtp_tls_per_site=sites)
    assert got == SENT and lines == ([established(want)] if want else [])


def test_a_policy_table_comes_before_per_site(world: World, caplog: pytest.LogCaptureFixture) -> None:
    got, lines = send(world, "good", caplog, smtp_tls_policy_maps="static:encrypt", smtp_tls_per_site="static:NONE")
    assert got == SENT
    assert lines == ["smtp_tls_per_site ignored when smtp_tls_policy_maps is not empty.", established("Trusted")]


def test_trust_anchor_files(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """An authority in the middle of the chain is enough; those of CAfile count no more."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    middle, key = tmp_path / "middle.crt", tmp_path / "root.key"
    middle.write_bytes(world.middle.certificate.public_bytes(Encoding.PEM))
    key.write_bytes(world.root.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for certificate, anchor, want in (("chained", middle, SENT), ("good", middle, NOT_VERIFIED), ("good", key, SENT)):
        got, _ = send(world, certificate, caplog, smtp_tls_security_level="verify",
                      smtp_tls_trust_anchor_file=str(anchor))
        assert got == want, (certificate, anchor)


# --- DANE -----------------------------------------------------------------------------------------------------------

def dane(world: World, certificate: str, caplog: pytest.LogCaptureFixture, names: Names, level: str = "dane",
         **settings: str) -> tuple[tuple[str, str, str], list[str]]:
    caplog.clear()
    return send(world, certificate, caplog, names, smtp_tls_security_level=level, smtp_dns_support_level="dnssec",
                **settings)


def own(world: World, name: str) -> bytes:
    return chain(world.folder / f"{name}.pem")[0]


NO_MATCH = failed("num=65:no matching DANE TLSA records")


@pytest.mark.parametrize("level", ["dane", "dane-only"])
@pytest.mark.parametrize(("certificate", "records", "want", "lines"), [
    ("good", [(3, 1, 1, "good")], SENT, [established("Verified")]),
    ("good", [(3, 1, 2, "good")], SENT, [established("Verified")]),
    ("good", [(3, 0, 0, "good")], SENT, [established("Verified")]),
    ("self", [(3, 1, 1, "self")], SENT, [established("Verified")]),
    ("expired", [(3, 0, 1, "expired")], SENT, [established("Verified")]),
    ("wrong", [(3, 1, 1, "wrong")], SENT, [established("Verified")]),
    ("good", [(3, 1, 1, "self")], NOT_VERIFIED, [NO_MATCH, established("Untrusted")]),
    ("good", [(3, 1, 1, "good"), (3, 1, 2, "self")], NOT_VERIFIED, [NO_MATCH, established("Untrusted")]),
    ("good", [(3, 1, 1, "self"), (3, 1, 1, "good")], SENT, [established("Verified")]),
    ("chained", [(2, 0, 1, "middle")], SENT, [established("Verified")]),
    ("chained", [(2, 1, 1, "middle")], SENT, [established("Verified")]),
    ("good", [(2, 0, 1, "root")], NOT_VERIFIED, [NO_MATCH, established("Untrusted")]),
    ("good", [(2, 0, 0, "root")], SENT, [established("Verified")]),
    ("good", [(2, 1, 0, "root")], SENT, [established("Verified")]),
    ("elsewhere", [(2, 0, 1, "middle")], NOT_VERIFIED, [MISMATCH, established("Untrusted")]),
    ("old", [(2, 0, 1, "middle")], NOT_VERIFIED, [failed("certificate has expired"), established("Untrusted")]),
])
def test_dane(certificate: str, records: list[tuple[int, int, int, str]], want: tuple[str, str, str],
              lines: list[str], level: str, world: World, caplog: pytest.LogCaptureFixture) -> None:
    if not (world.folder / "old.pem").exists():
        world.leaf("old", HOST, names=[HOST], by=world.middle, more=[world.middle.certificate], days=(-30, -3))
        world.leaf("elsewhere", "o.test", names=["o.test"], by=world.middle, more=[world.middle.certificate])
    from cryptography.hazmat.primitives.serialization import Encoding

    signers = {"root": world.root, "middle": world.middle}
    names = Names([tlsa(*numbers, signers[name].certificate.public_bytes(Encoding.DER) if name in signers
                        else own(world, name)) for *numbers, name in records])
    assert dane(world, certificate, caplog, names, level) == (want, lines)
    assert names.asked == [names.asked[0]] and names.asked[0].endswith("._tcp.mx.far.test")


def test_dane_records_of_no_use(world: World, caplog: pytest.LogCaptureFixture) -> None:
    good = tlsa(1, 1, 1, own(world, "good"))
    got, lines = dane(world, "good", caplog, Names([good]))
    assert got == SENT and lines[-1] == established("Trusted")
    assert "unsupported TLSA certificate usage: 1 1 1 " in lines[0]
    got, lines = dane(world, "good", caplog, Names([good]), "dane-only")
    assert got == ("deferred", "4.7.5", "TLSA records unusable")
    strange = Names([tlsa(3, 1, 1, own(world, "good")).replace("3 1 1", "3 1 9")])
    got, lines = dane(world, "good", caplog, strange)
    assert got == SENT and lines[1].endswith("all TLSA records unusable, fallback to unauthenticated TLS")
    got, lines = dane(world, "good", caplog, strange, "dane-only")
    assert got == NOT_VERIFIED and lines[1].endswith(": all TLSA records unusable")
    assert lines[2] == failed("num=1:unspecified certificate verification error")
    # Records tell that the server has TLS: without it nothing is sent.
    got, _ = dane(world, "", caplog, Names([good]), server=Server())        # type: ignore[arg-type]
    assert got[:2] == ("deferred", "4.7.4")


def test_dane_without_records(world: World, caplog: pytest.LogCaptureFixture) -> None:
    assert dane(world, "good", caplog, Names()) == (SENT, [established("Trusted")])
    got, lines = dane(world, "good", caplog, Names(), "dane-only")
    assert got == ("deferred", "4.7.5", "no TLSA records found")
    assert lines == ["TLS policy lookup for far.test/mx.far.test: no TLSA records found"]
    got, lines = dane(world, "good", caplog, Names(None))
    assert got == ("deferred", "4.7.5", "TLSA lookup error for mx.far.test")
    assert lines[0].startswith("DANE TLSA lookup problem: Host or domain name not found. Name service error for name=_")


def test_dane_behind_an_unsigned_mx(world: World, caplog: pytest.LogCaptureFixture) -> None:
    right, wrong = [tlsa(3, 1, 1, own(world, name)) for name in ("good", "self")]
    assert dane(world, "good", caplog, Names([right], signed_mx=False)) == (SENT, [established("Trusted")])
    assert dane(world, "good", caplog, Names([wrong], signed_mx=False))[0] == NOT_VERIFIED
    for policy in ("may", "encrypt"):
        got = dane(world, "good", caplog, Names([wrong], signed_mx=False), smtp_tls_dane_insecure_mx_policy=policy)
        assert got == (SENT, [established("Trusted")])
    got, _ = dane(world, "good", caplog, Names([right], signed_mx=False), "dane-only")
    assert got == ("deferred", "4.7.5", "non DNSSEC destination")


def test_dane_and_unsigned_zones(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A host in an unsigned zone is not asked for TLSA records, a signed alias into one is."""
    wrong = tlsa(3, 1, 1, own(world, "self"))
    unsigned = Names([wrong], signed_host=False)
    got, lines = dane(world, "good", caplog, unsigned)
    assert got == SENT and unsigned.asked == ["NS ."]
    assert lines[:2] == ["DNSSEC validation may be unavailable",
                         "reason: dnssec_probe 'ns:.' received a response that is not DNSSEC validated"]
    alias = Names([wrong], signed_host=False, canonical="real.test")
    assert dane(world, "good", caplog, alias)[0] == NOT_VERIFIED and alias.asked[-1].endswith("._tcp.mx.far.test")
    forced = Names([wrong], signed_host=False)
    got, _ = dane(world, "good", caplog, forced, smtp_tls_force_insecure_host_tlsa_lookup="yes", dnssec_probe="")
    assert got == NOT_VERIFIED


def test_dane_follows_aliases(world: World, caplog: pytest.LogCaptureFixture) -> None:
    names = Names([tlsa(3, 1, 1, own(world, "good"))], canonical="real.test")
    assert dane(world, "good", caplog, names)[0] == SENT
    assert [text.split(".", 2)[2] for text in names.asked] == ["real.test"]


def test_dane_needs_a_validating_resolver(world: World, caplog: pytest.LogCaptureFixture) -> None:
    names = Names([tlsa(3, 1, 1, own(world, "self"))])
    got, lines = send(world, "good", caplog, names, smtp_tls_security_level="dane")
    assert got == SENT and lines == ["far.test: dane configured with dnssec lookups disabled",
                                     established("Trusted")]
    got, _ = send(world, "good", caplog, names, smtp_tls_security_level="dane-only")
    assert got == ("deferred", "4.7.5", "client TLS configuration problem")


# --- MTA-STS and TLS reports ------------------------------------------------------------------------------------------

class PolicyNames(Names):
    """A domain that has an MTA-STS policy (kept already) and wants TLS reports."""

    async def txt(self, name: str) -> Answer[bytes]:
        text = {"_mta-sts.far.test": b"v=STSv1; id=1", "_smtp._tls.far.test": b"v=TLSRPTv1; rua=mailto:r@far.test"}
        return Answer((text[name],) if name in text else ())


def with_sts(world: World, certificate: str, caplog: pytest.LogCaptureFixture, folder: Path, policy: str, *,
             names: Names | None = None, mx: str = HOST, **settings: str) -> tuple[str, str, list[str], dict[str, Any]]:
    """Status, reason, lines of the log, and the domain's report of today. The policy lies in the cache already."""
    text = f"version: STSv1\nmode: {policy}\nmx: {mx}\nmax_age: 86400\n"
    cache = str(folder / f"cache-{len(list(folder.iterdir()))}")
    now = time.time()
    _shared(cache).put("far.test", json.dumps(dataclasses.asdict(Kept("1", now, parse_policy(text.encode())))))
    caplog.clear()
    got, lines = send(world, certificate, caplog, names or PolicyNames(), on_port_25=True, **({
        "smtp_tls_security_level": "may", "smtp_tls_mta_sts": "yes", "smtp_tls_mta_sts_cache": cache,
        "smtp_tlsrpt_enable": "yes", "smtp_tlsrpt_database": cache + ".sqlite"} | settings))
    day = datetime.datetime.fromtimestamp(now, datetime.UTC).date().isoformat()
    report = make_report(rows(cache + ".sqlite", day), day, "far.test", organization="here.test", contact="p@here.test")
    return got[0], got[2], lines, report


def counts(report: dict[str, Any]) -> list[tuple[str, int, int, list[str]]]:
    return [(entry["policy"]["policy-type"], entry["summary"]["total-successful-session-count"],
             entry["summary"]["total-failure-session-count"],
             [detail["result-type"] for detail in entry.get("failure-details", [])]) for entry in report["policies"]]


def test_sts_enforced(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    status, _, lines, report = with_sts(world, "good", caplog, tmp_path, "enforce")
    assert status == "sent" and lines == [established("Verified")]
    assert counts(report) == [("sts", 1, 0, [])]
    assert report["policies"][0]["policy"] == {
        "policy-type": "sts", "policy-string": ["version: STSv1", "mode: enforce", f"mx: {HOST}", "max_age: 86400"],
        "policy-domain": "far.test", "mx-host": [HOST]}
    for certificate, kind in (("self", "certificate-not-trusted"), ("expired", "certificate-expired"),
                              ("wrong", "certificate-host-mismatch")):
        status, reason, _, report = with_sts(world, certificate, caplog, tmp_path, "enforce")
        assert (status, reason) == ("deferred", "Server certificate not verified")
        assert counts(report) == [("sts", 0, 1, [kind])]
        assert report["policies"][0]["failure-details"][0]["receiving-mx-hostname"] == HOST
    status, reason, _, report = with_sts(world, "good", caplog, tmp_path, "enforce", mx="*.elsewhere.test")
    assert status == "deferred" and reason == f"MX host {HOST} does not match the MTA-STS policy of far.test"
    assert counts(report)[0][1:] == (0, 1, ["validation-failure"])


def test_sts_tested_or_none(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    status, _, lines, report = with_sts(world, "self", caplog, tmp_path, "testing")
    assert status == "sent" and lines == [established("Untrusted")]
    assert counts(report) == [("sts", 0, 1, ["certificate-not-trusted"])]
    assert counts(with_sts(world, "good", caplog, tmp_path, "testing")[3]) == [("sts", 1, 0, [])]
    status, _, _, report = with_sts(world, "self", caplog, tmp_path, "none")
    assert status == "sent" and counts(report) == [("no-policy-found", 1, 0, [])]


def test_dane_comes_before_sts(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    settings = {"smtp_tls_security_level": "dane", "smtp_dns_support_level": "dnssec"}
    record = tlsa(3, 1, 1, own(world, "self"))
    status, _, lines, report = with_sts(world, "self", caplog, tmp_path, "enforce", names=PolicyNames([record]),
                                        **settings)
    assert status == "sent" and lines == [established("Verified")] and counts(report) == [("tlsa", 1, 0, [])]
    assert report["policies"][0]["policy"]["policy-string"] == [record[:6] + record[6:].upper()]
    status, _, _, report = with_sts(world, "good", caplog, tmp_path, "enforce", names=PolicyNames([record]), **settings)
    assert status == "deferred" and counts(report) == [("tlsa", 0, 1, ["validation-failure"])]
    status, _, lines, _ = with_sts(world, "good", caplog, tmp_path, "enforce", names=PolicyNames([]), **settings)
    assert status == "sent" and lines == [established("Verified")]


def test_a_policy_table_comes_before_sts(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    status, _, lines, _ = with_sts(world, "self", caplog, tmp_path, "enforce",
                                   smtp_tls_policy_maps="inline:{{far.test = may}}")
    assert status == "sent" and lines == [established("Untrusted")]


def test_policies_of_a_socketmap_service(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What postfix-tlspol and postfix-mta-sts-resolver answer."""
    for value, want in (("secure match=mx.far.test servername=hostname policy_type=sts policy_domain=far.test "
                         "policy_ttl=86400 mx_host_pattern=*.far.test", "sent"),
                        ("secure match=mx.far.test policy_type=sts mx_host_pattern=other.test", "deferred")):
        got, _ = send(world, "good", caplog, smtp_tls_policy_maps="regexp:{{/^far[.]test/ " + value + "}}")
        assert got[0] == want


def test_who_wants_no_report_is_not_counted(world: World, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    class Silent(PolicyNames):
        async def txt(self, name: str) -> Answer[bytes]:
            return Answer(()) if name.startswith("_smtp.") else await super().txt(name)

    with pytest.raises(TemporaryError):     # there is no database even
        with_sts(world, "good", caplog, tmp_path, "enforce", names=Silent())


# --- REQUIRETLS -------------------------------------------------------------------------------------------------------

def offering(*keywords: str) -> Server:
    return Server(EHLO="\r\n".join(["250-far.test", *(f"250-{keyword}" for keyword in keywords), "250 8BITMIME"]),
                  STARTTLS="220 go ahead")


def require(world: World, certificate: str, caplog: pytest.LogCaptureFixture, server: Server, *, word: str = "yes",
            sender: str = "a@b.test", names: Names | None = None, **settings: str) -> tuple[str, str, str]:
    if "STARTTLS" in server.replies["EHLO"]:
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(world.folder / f"{certificate}.pem")
    got, _ = send(world, certificate, caplog, names, server=server, facts={"require_tls": word}, sender=sender,
                  **({"requiretls_enable": "yes", "smtp_tls_security_level": "may", "mydomain": "b.test"} | settings))
    return got


def mail_from(server: Server) -> list[str]:
    return [line for line in server.said if line.startswith("MAIL")]


def test_requiretls_is_passed_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    server = offering("STARTTLS", "REQUIRETLS")
    assert require(world, "good", caplog, server) == SENT
    assert mail_from(server) == ["MAIL FROM:<a@b.test> REQUIRETLS"]


NEEDED = "Encryption needed: "


@pytest.mark.parametrize(("certificate", "keywords", "signed", "dsn", "reason"), [
    ("good", ("STARTTLS",), True, "5.7.30", "REQUIRETLS support required, but was not offered by host mx.far.test"),
    ("self", ("STARTTLS", "REQUIRETLS"), True, "5.7.10", NEEDED + "Server certificate not verified"),
    ("wrong", ("STARTTLS", "REQUIRETLS"), True, "5.7.10", NEEDED + "Server certificate not verified"),
    ("good", ("REQUIRETLS",), True, "5.7.10", NEEDED + "TLS is required, but was not offered by host mx.far.test"),
    ("good", ("STARTTLS", "REQUIRETLS"), False, "5.7.10",
     NEEDED + "nothing vouches for the name of MX host mx.far.test (DNSSEC, MTA-STS)"),
])
def test_requiretls_or_back(certificate: str, keywords: tuple[str, ...], signed: bool, dsn: str, reason: str,
                            world: World, caplog: pytest.LogCaptureFixture) -> None:
    server = offering(*keywords)
    got = require(world, certificate, caplog, server, names=Names(signed_mx=signed))
    assert got[:2] == ("bounced", dsn) and got[2].startswith(reason)
    assert not mail_from(server)


@pytest.mark.parametrize(("policy", "keywords", "want", "said"), [
    ("opportunistic", (), "sent", "MAIL FROM:<a@b.test>"),
    ("opportunistic", ("STARTTLS", "REQUIRETLS"), "sent", "MAIL FROM:<a@b.test> REQUIRETLS"),
    ("opportunistic+starttls", (), "deferred", ""),
    ("opportunistic+starttls", ("STARTTLS",), "sent", "MAIL FROM:<a@b.test>"),
    ("disable", ("STARTTLS", "REQUIRETLS"), "sent", "MAIL FROM:<a@b.test>"),
    ("inline:{{.test = disable}}, enforce", (), "sent", "MAIL FROM:<a@b.test>"),
    ("inline:{{elsewhere.test = disable}}, enforce", (), "bounced", ""),
    ("enforced", ("STARTTLS", "REQUIRETLS"), "deferred", ""),
])
def test_requiretls_policies(policy: str, keywords: tuple[str, ...], want: str, said: str, world: World,
                             caplog: pytest.LogCaptureFixture) -> None:
    server = offering(*keywords)
    got = require(world, "self", caplog, server, smtp_requiretls_policy=policy,
                  parent_domain_matches_subdomains="")
    assert got[0] == want and mail_from(server) == ([said] if said else [])


def test_bounces_go_out_as_well_as_they_can(world: World, caplog: pytest.LogCaptureFixture) -> None:
    server = offering("STARTTLS")
    assert require(world, "self", caplog, server, sender="") == SENT and mail_from(server) == ["MAIL FROM:<>"]


def test_mail_that_had_rather_arrive(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """TLS-Required: no."""
    assert require(world, "self", caplog, offering("STARTTLS"), word="no", smtp_tls_security_level="secure") == SENT
    assert require(world, "self", caplog, offering(), word="no", smtp_tls_security_level="encrypt") == SENT
    got = require(world, "self", caplog, offering("STARTTLS"), word="no", smtp_tls_security_level="secure",
                  tls_required_enable="no")
    assert got == NOT_VERIFIED


def test_nobody_in_between_speaks_first(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """What comes before the handshake is not from the server (CVE-2011-0411)."""
    server = Server(EHLO="250-far.test\r\n250 STARTTLS", STARTTLS="220 go ahead\r\n250-forged\r\n250 SMTPUTF8")
    got, lines = send(world, "", caplog, server=server, smtp_tls_security_level="may")
    assert got == ("deferred", "4.7.5", "Cannot start TLS: handshake failure")
    assert lines == [f"SSL_connect error to {HOST}[127.0.0.1]: data came ahead of the handshake"]
