"""What TLS policy tables are asked for, and which server names are sent."""

import logging
from typing import cast

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import Resolver
from mailsuite.smtp.client import Endpoint
from mailsuite.smtp.client_policy import Policy, default_policy, site_level
from mailsuite.smtp.client_tls import Policies, _keys

MX = Endpoint("mx.far.test", "192.0.2.1", domain="far.test")


@pytest.mark.parametrize(("endpoint", "nexthop", "want"), [
    (MX, "a.far.test", ["a.far.test", ".far.test", ".test"]), (MX, "test", ["test"]),
    (MX, "[mx.far.test]", ["[mx.far.test]"]), (MX, "[mx.far.test]:587", ["[mx.far.test]:587"]),
    (MX, "far.test:2525", ["far.test:2525"]), (MX, "inet:far.test:24", ["far.test:24"]),
    (Endpoint("here.test", path="private/lmtp"), "unix:private/lmtp", ["private/lmtp"])])
def test_keys(endpoint: Endpoint, nexthop: str, want: list[str]) -> None:
    assert _keys(endpoint, nexthop) == want


def policies(**settings: str) -> Policies:
    return Policies(Settings.of(settings), "smtp", cast(Resolver, None), logging.getLogger("mailsuite.test"))


@pytest.mark.parametrize(("policy", "want"), [
    (Policy("secure"), ""), (Policy("dane", base="tlsa.test"), "tlsa.test"),
    (Policy("may", servername="hostname"), "mx.far.test"), (Policy("may", servername="nexthop"), "far.test"),
    (Policy("may", servername="other.test"), "other.test"), (Policy("secure", kind="sts"), "mx.far.test"),
    (Policy("secure", kind="required", servername="other.test"), "other.test")])
def test_server_names(policy: Policy, want: str) -> None:
    """Without DANE none is sent by default, as with Postfix."""
    assert policies().server_name(policy, MX, "far.test") == want


def test_a_server_name_that_is_none() -> None:
    with pytest.raises(ConfigError):
        policies().server_name(Policy("may", servername="no name"), MX, "far.test")
    literal = Endpoint("192.0.2.1", "192.0.2.1")
    assert policies().server_name(Policy("may", servername="hostname"), literal, "192.0.2.1") in ("", "192.0.2.1")


@pytest.mark.parametrize(("settings", "want"), [
    ({"smtp_tls_security_level": "encrypt", "smtp_enforce_tls": "yes"}, "encrypt"), ({"smtp_use_tls": "yes"}, "may"),
    ({"smtp_enforce_tls": "yes"}, "verify"),
    ({"smtp_enforce_tls": "yes", "smtp_tls_enforce_peername": "no"}, "encrypt")])
def test_levels_of_old_parameters(settings: dict[str, str], want: str) -> None:
    assert default_policy(Settings.of({"compatibility_level": "3.6", **settings}), "smtp").level == want


@pytest.mark.parametrize(("values", "want"), [
    (["NONE"], "none"), (["MAY", "NONE"], "none"), (["NONE", "MAY"], "none"), (["MUST", "NONE"], "verify"),
    (["may", "must_nopeermatch"], "encrypt"), (["MUST", "MUST_NOPEERMATCH"], "verify")])
def test_per_site(values: list[str], want: str) -> None:
    found = ""
    for value in values:
        found = site_level(found, value)
    assert found == want
