"""non_smtpd_milters and mail that the suite itself makes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mailsuite.queue.envelope import Handling
from mailsuite.smtp.milter.server_local import LocalMilters
from tests.queue.support import World
from tests.support.milter import Milter

ADDS = {"replies": [{"at": "eom", "say": [["addheader", "X-Milter", "seen"], "continue"]}]}


def put(top: Path, double: Milter, **envelope: Any) -> bytes:
    world = World(top, non_smtpd_milters=double.where)
    world.cleanup.local_inspectors = LocalMilters(world.settings).inspectors
    accepted = asyncio.run(world.put(b"Subject: x\n\nbody\n", sender="", **envelope))
    return world.content("incoming", accepted.queue_id)


@pytest.mark.parametrize(("envelope", "seen"), [
    pytest.param({"program": "pickup"}, True, id="pickup"),
    pytest.param({"program": "smtpd"}, False, id="smtpd has milters of its own"),
    pytest.param({"program": "pickup", "handling": Handling.EXTERNAL & ~Handling.MILTER}, False, id="no_milters"),
    pytest.param({"program": "bounce", "handling": Handling.INTERNAL}, False, id="a bounce"),
    pytest.param({"program": "bounce", "handling": Handling.INTERNAL | Handling.MILTER}, True,
                 id="a bounce, with internal_mail_filter_classes")])
def test_whose_mail_they_see(envelope: dict[str, Any], seen: bool, tmp_path: Path) -> None:
    with Milter(ADDS) as double:
        assert (b"X-Milter: seen\n" in put(tmp_path, double, **envelope)) == seen
        assert bool(double.connections) == seen


def test_the_client_of_mail_that_came_by_smtp_once(tmp_path: Path) -> None:
    """postsuper -r: the facts of its first arrival are told."""
    with Milter() as double:
        put(tmp_path, double, program="pickup")
        packets = double.take()
    assert "connect: c.test 4 0 192.0.2.1" in packets and "helo: c.test" in packets and "mail: ''" not in packets
