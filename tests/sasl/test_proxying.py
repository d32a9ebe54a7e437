"""What the auth service makes of proxy and proxy_maybe."""

import asyncio

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.sasl.proxying import finish_proxying
from mailsuite.sasl.request import AuthRequest

FACTS = {"lip": "192.0.2.1", "lport": "143"}


@pytest.mark.parametrize(("fields", "want"), [
    pytest.param({"a": "b"}, {"a": "b"}, id="nothing to do"),
    pytest.param({"proxy": "", "host": "192.0.2.9"}, {"proxy": "", "host": "192.0.2.9", "pass": "pw"},
                 id="the client's password goes on"),
    pytest.param({"proxy": "", "host": "192.0.2.9", "pass": "x"}, {"proxy": "", "host": "192.0.2.9", "pass": "x"},
                 id="but the database's own comes first"),
    pytest.param({"proxy_maybe": "", "host": "192.0.2.1"}, {}, id="ourselves: served here"),
    pytest.param({"proxy_maybe": "", "host": "192.0.2.1", "port": "143", "destuser": "anna"}, {},
                 id="ourselves, port and user named"),
    pytest.param({"proxy_maybe": "", "host": "192.0.2.1", "port": "144"},
                 {"proxy": "", "host": "192.0.2.1", "port": "144", "pass": "pw"}, id="another port"),
    pytest.param({"proxy_maybe": "", "host": "192.0.2.1", "destuser": "ben"},
                 {"proxy": "", "host": "192.0.2.1", "destuser": "ben", "pass": "pw"}, id="another user"),
    pytest.param({"proxy_maybe": "", "host": "192.0.2.2"}, {"proxy": "", "host": "192.0.2.2", "pass": "pw"},
                 id="another host"),
    pytest.param({"proxy": "", "host": "localhost"},
                 {"proxy": "", "host": "localhost", "hostip": "127.0.0.1", "pass": "pw"}, id="a name"),
])
def test_fields(fields: dict[str, str], want: dict[str, str]) -> None:
    request = AuthRequest("imap", FACTS, user="anna", fields=dict(fields))
    asyncio.run(finish_proxying(request, Secret(b"pw")))
    if request.fields.get("hostip") == "::1":
        want = {**want, "hostip": "::1"}
    assert request.fields == want


def test_a_master_is_named() -> None:
    request = AuthRequest("imap", FACTS, user="anna", master_user="boss", fields={"proxy": "", "host": "192.0.2.9"})
    asyncio.run(finish_proxying(request, Secret(b"pw")))
    assert request.fields["master"] == "boss"


def test_a_name_that_is_none() -> None:
    request = AuthRequest("imap", FACTS, user="anna", fields={"proxy": "", "host": "no such host"})
    with pytest.raises(TemporaryError) as raised:
        asyncio.run(finish_proxying(request, Secret(b"pw")))
    assert "DNS lookup for no such host failed" in raised.value.detail
