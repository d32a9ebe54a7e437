"""What a remote host can do to a delivery: the mail is tried again, nothing is cut off, nothing unforeseen happens."""

import smtplib

import pytest

from tests.faults.far_end import FarEnd, Plan
from tests.faults.load import message
from tests.faults.shim import Shim
from tests.faults.world import World
from tests.support.suite import wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("size", [500, 3_000_000])
@pytest.mark.parametrize("failure", ["temporary", "cut", "cut_after_dot"])
def test_tried_again(shimmed: tuple[World, Shim], far: FarEnd, failure: str, size: int) -> None:
    world, _ = shimmed
    ident = f"far-{failure}-{size}"
    before = far.failures[failure]
    far.plan = Plan(**{failure: 1.0})
    with smtplib.SMTP("127.0.0.1", world.suite.ports["smtp"], timeout=30) as smtp:
        smtp.sendmail(world.sender, ["user1@far.test"], message(ident, size, sender=world.sender))
    wait_for(lambda: far.failures[failure] > before)
    far.plan = Plan()
    wait_for(lambda: ident in far.idents)
    wait_for(lambda: not world.queued())
    mine = [one for one in far.taken if one.ident == ident]
    assert all(one.whole for one in mine)
    assert len(mine) == 1, "it came twice"
    assert "internal software error" not in world.suite.log()
