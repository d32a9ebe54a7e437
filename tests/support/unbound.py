"""A real validating resolver for tests: unbound over zones that are signed here.

    with unbound(folder, [signed_zone("far.test", records), plain_zone("open.test", records)]) as port: ...

Zones are served by unbound itself (auth-zone) and validated like any other, from the trust anchor of each signed zone.
Skips the test where unbound is not installed.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dns.dnssec
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.suite import free_port, wait_for

TTL = 60


@dataclass(frozen=True)
class Zone:
    """text: a zone file. anchor: its DS or DNSKEY record; "" for an unsigned zone."""

    name: str
    text: str
    anchor: str = ""


def plain_zone(name: str, records: Sequence[str]) -> Zone:
    """records: "mx A 192.0.2.1", names relative to the zone."""
    lines = [f"@ {TTL} IN SOA ns root 1 3600 600 86400 60", f"@ {TTL} IN NS ns", f"ns {TTL} IN A 127.0.0.1"]
    for record in records:
        owner, rest = record.split(" ", 1)
        lines.append(f"{owner} {TTL} IN {rest}")
    return Zone(name, f"$ORIGIN {name}.\n" + "\n".join(lines) + "\n")


def signed_zone(name: str, records: Sequence[str], *, broken: str = "") -> Zone:
    """Signed with a fresh key (ECDSA P-256, NSEC). broken: the name whose signatures do not fit ("_25._tcp.mx")."""
    zone = dns.zone.from_text(plain_zone(name, records).text, origin=f"{name}.", relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    dnskey = dns.dnssec.make_dnskey(key.public_key(), dns.dnssec.Algorithm.ECDSAP256SHA256,
                                    flags=dns.rdtypes.dnskeybase.Flag.ZONE | dns.rdtypes.dnskeybase.Flag.SEP)
    dns.dnssec.sign_zone(zone, keys=[(key, dnskey)], dnskey_ttl=TTL, inception=int(time.time()) - 3600,
                         lifetime=86400, add_dnskey=True)
    if broken:
        node = zone[dns.name.from_text(f"{broken}.{name}.")]
        for rdataset in node.rdatasets:
            if rdataset.rdtype == dns.rdatatype.RRSIG:
                bad = [one.replace(signature=bytes([one.signature[0] ^ 1]) + one.signature[1:]) for one in rdataset]
                rdataset.clear()
                for one in bad:
                    rdataset.add(one)
    return Zone(name, zone.to_text(relativize=False), f"{name}. IN DNSKEY {dnskey.to_text()}")


@contextmanager
def unbound(folder: Path, zones: Sequence[Zone]) -> Iterator[int]:
    """Run it on a loopback port, which is yielded."""
    program = shutil.which("unbound", path="/usr/sbin:/usr/bin:/bin")
    if program is None:
        pytest.skip("unbound is not installed (scripts/install-peers)")
    port = free_port()
    server = [f'directory: "{folder}"', 'chroot: ""', 'username: ""', 'pidfile: ""', "do-daemonize: no",
              "use-syslog: no", f"interface: 127.0.0.1@{port}", "do-ip6: no", 'module-config: "validator iterator"',
              'local-zone: "test." nodefault', "num-threads: 1", "so-sndbuf: 0"]
    server += [f'trust-anchor: "{zone.anchor}"' for zone in zones if zone.anchor]
    text = "server:\n" + "".join(f"    {line}\n" for line in server) + "remote-control:\n    control-enable: no\n"
    for zone in zones:
        path = folder / f"{zone.name}.zone"
        path.write_text(zone.text)
        text += (f'auth-zone:\n    name: "{zone.name}."\n    zonefile: "{path}"\n    for-downstream: no\n'
                 "    for-upstream: yes\n    fallback-enabled: no\n")
    configuration = folder / "unbound.conf"
    configuration.write_text(text)
    with open(folder / "unbound.log", "wb") as log, subprocess.Popen(
            [program, "-d", "-c", str(configuration)], stdout=log, stderr=log) as process:
        try:
            wait_for(lambda: process.poll() is not None or _answers(port), 20, "unbound does not answer")
            assert process.poll() is None, (folder / "unbound.log").read_text()
            yield port
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        dns.query.udp(dns.message.make_query("version.test.", "A"), "127.0.0.1", port=port, timeout=1)
    except (TimeoutError, OSError, dns.exception.DNSException):
        return False
    return True
