"""Classes of domains: what may be remembered."""

import asyncio
from pathlib import Path

import pytest

from mailsuite.config.settings import Settings
from mailsuite.maps.maps import MapSource
from mailsuite.rewrite.domains import Domains


def domains(**values: str) -> Domains:
    settings = Settings.of({"mydestination": "here.test", "inet_interfaces": "127.0.0.1", **values})
    return Domains(settings, MapSource(settings, "smtpd"))


@pytest.mark.parametrize(("domain", "want"), [
    ("here.test", "local"), ("box.test", "virtual_mailbox"), ("BOX.test", "virtual_mailbox"), ("far.test", "default")])
def test_a_class_that_no_table_decides_is_remembered(domain: str, want: str) -> None:
    known = domains(virtual_mailbox_domains="box.test")
    assert known.known_class(domain) is None
    found = asyncio.run(known.class_of(domain))
    known.remember(domain, found)
    assert (found, known.known_class(domain)) == (want, want)


def test_a_class_that_a_table_may_change_is_asked_for_each_time(tmp_path: Path) -> None:
    (tmp_path / "relay").write_text("relay.test x\n")
    known = domains(relay_domains=f"texthash:{tmp_path}/relay")
    known.remember("relay.test", asyncio.run(known.class_of("relay.test")))
    assert known.known_class("relay.test") is None


def test_what_is_remembered_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mailsuite.rewrite.domains.CLASSES_LIMIT", 3)
    known = domains()
    for number in range(4):
        known.remember(f"{number}.test", "default")
    assert [known.known_class(f"{number}.test") for number in range(4)] == [None, None, None, "default"]
