"""Rewriting, resolving, expanding, validating. What is expected was seen in Postfix 3.7 with the same settings."""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest

from mailsuite.base.errors import PermanentError, TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.rewrite.validate import sender_status

T = TypeVar("T")
BASE = {"myhostname": "mx.example.test", "mydomain": "example.test", "myorigin": "example.test",
        "mydestination": "$myhostname, example.test, localhost", "compatibility_level": "3.7", "alias_maps": ""}


def rewriter(**values: str) -> Rewriter:
    return Rewriter(Settings.of({**BASE, **values}))


def run(question: Awaitable[T]) -> T:
    async def wait() -> T:
        return await question
    return asyncio.run(wait())


@pytest.mark.parametrize(("address", "want"), [
    ("alice", "alice@example.test"), ("alice@d.test", "alice@d.test"), ("u@host", "u@host.example.test"),
    ("host!user", "user@host.example.test"), ("a!b!c", "b!c@a.example.test"), ("u%h", "u@h.example.test"),
    ("u%h@d.test", "u%h@d.test"), ("a!b@d.test", "a!b@d.test"), ("u@d.test.", "u@d.test"), ("u@d.test..", "u@d.test.."),
    ("u@", "u@"), ("", ""), ("x y", "x y@example.test"), ("a@[1.2.3.4]", "a@[1.2.3.4]"),
    ("u@123", "u@123.example.test"), ("a@b@c.test", "a@b@c.test"),
])
def test_rewrite(address: str, want: str) -> None:
    assert run(rewriter(append_dot_mydomain="yes").rewrite(address)) == want


def test_rewrite_remote() -> None:
    remote = rewriter(append_dot_mydomain="yes", remote_header_rewrite_domain="domain.invalid")
    assert run(remote.rewrite("bob", False)) == "bob@domain.invalid"
    assert run(remote.rewrite("bob@h", False)) == "bob@h.domain.invalid"
    assert run(rewriter().rewrite("bob", False)) == "bob"


@pytest.mark.parametrize(("address", "transport", "nexthop", "recipient"), [
    ("a@far.test", "smtp", "far.test", "a@far.test"), ("u@FAR.Test", "smtp", "far.test", "u@FAR.Test"),
    ("alice@example.test", "local", "mx.example.test", "alice@example.test"),
    ("a!b@example.test", "smtp", "a", "b@a"), ("u%h.test@example.test", "smtp", "h.test", "u@h.test"),
    ("u@h.test@example.test", "smtp", "h.test", "u@h.test"), ("u%h@far.test", "smtp", "far.test", "u%h@far.test"),
    ("u@[127.0.0.1]", "local", "mx.example.test", "u@[127.0.0.1]"),
    ("u@[192.0.2.77]", "smtp", "[192.0.2.77]", "u@[192.0.2.77]"),
    ("@example.test", "local", "mx.example.test", "MAILER-DAEMON@example.test"),
    ("u@example.test.", "local", "mx.example.test", "u@example.test"),
    ("alice", "local", "mx.example.test", "alice@mx.example.test"),
    ("u%a%example.test@example.test", "smtp", "a", "u@a"),
])
def test_resolve(address: str, transport: str, nexthop: str, recipient: str) -> None:
    got = run(rewriter().resolve("", address))
    assert (got.transport, got.nexthop, got.recipient) == (transport, nexthop, recipient)


@pytest.mark.parametrize("address", ["u@[foo]", "u@[::1]", "u@192.0.2.1", "u@-a.test", "u@a..test", "u@1.2.3", "u@",
                                     "u@example.test..", "-x@far.test"])
def test_bad_syntax(address: str) -> None:
    got = run(rewriter().resolve("", address))
    assert got.bad_syntax and got.transport == "error"


CLASSES = {"mydestination": "example.test, twice.test", "virtual_alias_domains": "alias.test twice.test",
           "virtual_mailbox_domains": "box.test", "relay_domains": "relay.test", "virtual_transport": "lmtp:unix:x",
           "virtual_alias_maps": "inline:{a@alias.test=alice}", "virtual_mailbox_maps": "inline:{b@box.test=b/}",
           "relay_recipient_maps": "inline:{r@relay.test=x}", "local_recipient_maps": "inline:{alice=x}",
           "parent_domain_matches_subdomains": "relay_domains"}


@pytest.mark.parametrize(("address", "address_class", "route", "unknown"), [
    ("alice@example.test", "local", "local:mx.example.test", None),
    ("alice@twice.test", "local", "local:mx.example.test", None),
    ("ghost@example.test", "local", "local:mx.example.test", (550, "5.1.1", "User unknown in local recipient table")),
    ("double-bounce@example.test", "local", "local:mx.example.test", None),
    ("postmaster1@example.test", "local", "local:mx.example.test",
     (550, "5.1.1", "User unknown in local recipient table")),
    ("postmaster@example.test", "local", "local:mx.example.test", None),
    ("a@alias.test", "virtual_alias", "error:5.1.1 User unknown in virtual alias table", None),
    ("x@alias.test", "virtual_alias", "error:5.1.1 User unknown in virtual alias table",
     (550, "5.1.1", "User unknown in virtual alias table")),
    ("b@box.test", "virtual_mailbox", "lmtp:unix:x", None),
    ("x@box.test", "virtual_mailbox", "lmtp:unix:x", (550, "5.1.1", "User unknown in virtual mailbox table")),
    ("r@relay.test", "relay", "relay:relay.test", None),
    ("s@sub.relay.test", "relay", "relay:sub.relay.test", (550, "5.1.1", "User unknown in relay recipient table")),
    ("d@far.test", "default", "smtp:far.test", None),
])
def test_classes(address: str, address_class: str, route: str, unknown: Any) -> None:
    made = rewriter(**CLASSES)
    got = run(made.resolve("", address))
    assert (got.address_class, f"{got.transport}:{got.nexthop}") == (address_class, route)
    assert run(made.validate_recipient(got, address)) == unknown


@pytest.mark.parametrize(("address", "status"), [
    ("ghost@example.test", "5.1.0"), ("x@alias.test", "5.1.7"), ("x@box.test", "5.1.0"),
])
def test_unlisted_sender(address: str, status: str) -> None:
    made = rewriter(**CLASSES)
    unknown = run(made.validate_recipient(run(made.resolve("", address)), address, sender=True))
    assert unknown is not None and unknown.status == status


def test_sender_status() -> None:
    assert [sender_status(f"5.{code}") for code in ("1.1", "1.2", "7.1")] == ["5.1.7", "5.1.8", "5.7.1"]


TRANSPORTS = ("inline:{ {vip@dom.test = smtp:[192.0.2.22]}, {dom.test = smtp:[192.0.2.21]}, "
              "{.dom.test = smtp:[192.0.2.21]:2526}, {err.test = error:5.7.9 not here}, {errplain.test = error:gone}, "
              "{errnone.test = error:}, {disc.test = discard:Silently}, {retry.test = retry:4.4.9 later please}, "
              "{same.test = :}, {hop.test = :[192.0.2.22]}, {local.test = local:}, {* = smtp:[192.0.2.23]} }")


@pytest.mark.parametrize(("address", "route", "refused"), [
    ("vip@dom.test", "smtp:[192.0.2.22]", None), ("vip+x@dom.test", "smtp:[192.0.2.22]", None),
    ("a@dom.test", "smtp:[192.0.2.21]", None), ("a@sub.dom.test", "smtp:[192.0.2.21]:2526", None),
    ("a@err.test", "error:5.7.9 not here", (550, "5.7.9", "not here")),
    ("a@errplain.test", "error:gone", (550, "5.1.1", "gone")),
    ("a@errnone.test", "error:Address is undeliverable", (550, "5.1.1", "Address is undeliverable")),
    ("a@retry.test", "retry:4.4.9 later please", (450, "4.4.9", "later please")),
    ("a@disc.test", "discard:Silently", None), ("a@same.test", "smtp:same.test", None),
    ("a@hop.test", "smtp:[192.0.2.22]", None), ("a@local.test", "local:local.test", None),
    ("a@other.test", "smtp:[192.0.2.23]", None), ("carol@example.test", "smtp:[192.0.2.23]", None),
])
def test_transport_maps(address: str, route: str, refused: Any) -> None:
    made = rewriter(transport_maps=TRANSPORTS, recipient_delimiter="+", parent_domain_matches_subdomains="",
                    local_recipient_maps="")
    got = run(made.resolve("", address))
    assert f"{got.transport}:{got.nexthop}" == route
    assert run(made.validate_recipient(got, address)) == refused


@pytest.mark.parametrize(("sender", "address", "nexthop"), [
    ("alice@example.test", "x@far.test", "[192.0.2.21]:2525"), ("bob@example.test", "x@far.test", "[192.0.2.22]"),
    ("bob@example.test", "y@relay.test", "[192.0.2.22]"), ("any@dep.test", "x@far.test", "mx.dep.test"),
    ("dunno@example.test", "x@far.test", "[192.0.2.21]:2525"), ("", "x@far.test", "[192.0.2.21]:2525"),
])
def test_relayhost(sender: str, address: str, nexthop: str) -> None:
    made = rewriter(relayhost="[192.0.2.21]:2525", relay_domains="relay.test", sender_dependent_relayhost_maps=(
        "inline:{ {bob@example.test = [192.0.2.22]}, {@dep.test = mx.dep.test}, {dunno@example.test = DUNNO} }"))
    assert run(made.resolve(sender, address)).nexthop == nexthop


def test_sender_dependent_transport() -> None:
    made = rewriter(sender_dependent_default_transport_maps="inline:{ {a@b.test = slow:}, {c@b.test = x:y} }")
    assert [run(made.resolve(sender, "x@far.test")).transport for sender in ("a@b.test", "c@b.test", "d@b.test")] == [
        "slow", "x", "smtp"]
    assert run(made.resolve("c@b.test", "x@far.test")).nexthop == "y"


def test_relocated() -> None:
    made = rewriter(relocated_maps="inline:{ {gone = the moon}, {@example.test = elsewhere} }")
    got = run(made.resolve("", "gone@example.test"))
    assert got.error == "5.1.6 User has moved to the moon"
    assert run(made.validate_recipient(got, "gone@example.test")) == (550, "5.1.6", "User has moved to the moon")
    assert run(made.resolve("", "x@far.test")).error == ""
    whole = rewriter(relocated_maps="inline:{ {gone = 5.1.6 To the moon} }", relocated_prefix_enable="no")
    assert run(whole.resolve("", "gone@example.test")).error == "5.1.6 To the moon"


VIRTUAL = ("inline:{ {info@alias.test = alice, bob}, {one@alias.test = two@alias.test}, {two@alias.test = carol}, "
           "{ext@alias.test = alice}, {ext+special@alias.test = bob}, {@catch.test = carol}, "
           "{@other.test = @alias.test}, {sales = bob@far.test}, {self@far.test = self@far.test, alice}, "
           "{l1@l.test = l2@l.test}, {l2@l.test = l1@l.test}, {grow@l.test = grow+x@l.test}, "
           "{quoted@alias.test = \"a b\"@far.test} }")


@pytest.mark.parametrize(("address", "want"), [
    ("info@alias.test", ["alice@example.test", "bob@example.test"]), ("one@alias.test", ["carol@example.test"]),
    ("ext+tag@alias.test", ["alice+tag@example.test"]), ("ext+special@alias.test", ["bob@example.test"]),
    ("any@catch.test", ["carol@example.test"]), ("info@other.test", ["alice@example.test", "bob@example.test"]),
    ("sales@example.test", ["bob@far.test"]), ("self@far.test", ["self@far.test", "alice@example.test"]),
    ("quoted@alias.test", ["a b@far.test"]), ("x@nowhere.test", ["x@nowhere.test"]), ("sales", ["bob@far.test"]),
])
def test_virtual_alias(address: str, want: list[str]) -> None:
    assert run(rewriter(virtual_alias_maps=VIRTUAL, recipient_delimiter="+").expand_recipient(address)) == want


@pytest.mark.parametrize("address", ["l1@l.test", "grow@l.test"])
def test_virtual_alias_without_end(address: str) -> None:
    made = rewriter(virtual_alias_maps=VIRTUAL, recipient_delimiter="+", propagate_unmatched_extensions="virtual")
    with pytest.raises(PermanentError) as caught:
        run(made.expand_recipient(address))
    assert caught.value.status == "4.6.0" and "message not accepted, try again later" in str(caught.value)


def test_virtual_alias_limit() -> None:
    made = rewriter(virtual_alias_maps="inline:{ {many@l.test = a, b, c} }", virtual_alias_expansion_limit="2")
    with pytest.raises(PermanentError, match="map expansion size for many@l.test"):
        run(made.expand_recipient("many@l.test"))


CANONICAL = {"canonical_maps": "inline:{ {bob = Bob.Builder}, {@old.test = @new.test}, {one@c.test = two@c.test}, "
                               "{two@c.test = three@c.test}, {l1@l.test = l2@l.test}, {l2@l.test = l1@l.test} }",
             "sender_canonical_maps": "inline:{ {carol = carol.out@pub.test} }",
             "recipient_canonical_maps": "inline:{ {carol.in@pub.test = carol} }", "recipient_delimiter": "+"}


def test_canonical() -> None:
    made = rewriter(**CANONICAL)
    assert run(made.sender("bob@example.test")) == "Bob.Builder@example.test"
    assert run(made.sender("carol")) == "carol.out@pub.test"
    assert run(made.sender("")) == ""
    assert run(made.recipient("u+ext@old.test")) == "u+ext@new.test"
    assert run(made.recipient("one@c.test")) == "three@c.test"
    assert run(made.recipient("carol.in@pub.test")) == "carol@example.test"
    assert run(made.recipient("l1@l.test")) == "l1@l.test"


@pytest.mark.parametrize(("name", "value", "want"), [
    ("From", b" bob", b"Bob.Builder@example.test"),
    ("From", b" carol@example.test", b"carol.out@pub.test"),
    ("To", b" carol@example.test", b" carol@example.test"),
    ("CC", b" bob+tag@example.test", b"Bob.Builder+tag@example.test"),
    ("X-Other", b" bob", b" bob"),
    ("To", b"   x@far.test,y@far.test", b"   x@far.test,y@far.test"),
    ("To", b' alice (A L), <alice>, "x y"@d.test, @r.test:u@d.test',
     b'alice@example.test (A L), <alice@example.test>, "x y"@d.test,\n\tu@d.test'),
    ("To", b" host!user, a@, @, a@b@c.test, \xff@d.test",
     b'user@host, a@, "", "a@b"@c.test, \xff@d.test'),
    ("Cc", b" Team: alice, b@d.test;", b"Team: alice@example.test, b@d.test;"),
])
def test_header(name: str, value: bytes, want: bytes) -> None:
    assert run(rewriter(**CANONICAL).header(name, value)) == want


def test_header_of_remote_clients() -> None:
    assert run(rewriter(**CANONICAL).header("From", b" bob", False)) == b" bob"
    remote = rewriter(remote_header_rewrite_domain="domain.invalid")
    assert run(remote.header("From", b" bob", False)) == b"bob@domain.invalid"


@pytest.mark.parametrize(("address", "want"), [
    ("bob@pc.example.test", "bob@example.test"), ("root@pc.example.test", "root@pc.example.test"),
    ("z@keep.example.test", "z@keep.example.test"), ("q@sub.keep.example.test", "q@sub.keep.example.test"),
    ("x@notexample.test", "x@notexample.test"), ("x@Host.EXAMPLE.test", "x@EXAMPLE.test"),
])
def test_masquerade(address: str, want: str) -> None:
    made = rewriter(masquerade_domains="!keep.example.test, example.test", masquerade_exceptions="root")
    assert run(made.sender(address)) == want
    assert run(made.recipient(address)) == address


def test_bcc() -> None:
    made = rewriter(always_bcc="all@d.test", sender_bcc_maps="inline:{ {bob@example.test = sent@d.test} }",
                    recipient_bcc_maps="inline:{ {alice@example.test = got@d.test}, {@example.test = dom@d.test} }")
    assert run(made.bcc("bob@example.test", ["alice", "bob", "carol"])) == [
        "all@d.test", "sent@d.test", "got@d.test", "dom@d.test"]
    assert run(rewriter().bcc("bob@example.test", ["alice"])) == []
    as_written = rewriter(sender_bcc_maps='inline:{ {bob="r b"@d.test} }')
    assert run(as_written.bcc("bob@example.test", [])) == ['"r b"@d.test']


def test_generic() -> None:
    made = rewriter(smtp_generic_maps="inline:{ {bob@example.test = bob.public@isp.test}, "
                                      "{@example.test = ours@isp.test} }")
    generic = made.generic_maps("smtp_generic_maps")
    assert run(generic.address("bob@example.test")) == "bob.public@isp.test"
    assert run(generic.address("")) == ""
    assert run(generic.header("To", b" x@far.test, alice@example.test")) == b"x@far.test, ours@isp.test"
    assert run(generic.header("Subject", b" bob@example.test")) == b" bob@example.test"


def test_generic_takes_the_first_and_asks_once(caplog: pytest.LogCaptureFixture) -> None:
    generic = rewriter(lmtp_generic_maps="inline:{ {x@far.test=one@isp.test, two@isp.test}, "
                                         "{one@isp.test=never@isp.test} }").generic_maps("lmtp_generic_maps")
    assert run(generic.address("x@far.test")) == "one@isp.test"
    assert "multi-valued lmtp_generic_maps result for x@far.test" in caplog.text


def test_the_null_address_as_a_result() -> None:
    made = rewriter(canonical_maps="inline:{ {gone@example.test=<>}, {@old.test=@new.test} }")
    assert run(made.sender("gone")) == ""
    assert run(made.header("To", b" gone")) == b'""'
    assert run(made.recipient("@old.test")) == "@new.test"


@pytest.mark.parametrize("broken", [
    {"mydestination": "fail:x"}, {"transport_maps": "fail:x"}, {"virtual_alias_domains": "fail:x"},
    {"relocated_maps": "fail:x"}, {"sender_dependent_relayhost_maps": "fail:x"},
])
def test_a_table_that_cannot_be_asked_is_temporary(broken: dict[str, str]) -> None:
    with pytest.raises(TemporaryError):
        run(rewriter(**broken).resolve("a@b.test", "x@far.test"))


def test_a_broken_virtual_table_is_temporary() -> None:
    with pytest.raises(TemporaryError):
        run(rewriter(virtual_alias_maps="fail:x").expand_recipient("x@far.test"))
