"""auth_policy_*: what the server is asked and told, as Dovecot 2.3.19 did, and what its answer does."""

import asyncio
import json
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigErrors
from mailsuite.sasl.attempt import Denied, Granted, Reply
from mailsuite.sasl.service import AuthService
from tests.sasl.support import settings
from tests.sasl.test_oauth2 import SEEN, identity_provider

CONF = """
auth_penalty = no
auth_policy_server_url = http://127.0.0.1:{}/
auth_policy_server_api_header = X-API-Key: abc
auth_policy_hash_nonce = salty
"""
FACTS = {"rip": "192.0.2.1", "session": "sess", "secured": "tls", "client_id": "ID"}


def answer(asked: str) -> tuple[int, object]:
    if "command=report" in asked:
        return 200, {}
    if '"login": "slow"' in asked:
        return 200, {"status": -1, "msg": "go away"}
    return (500, {}) if '"login": "extra"' in asked else (200, {"status": 0})


def play(folder: Path, more: str, *logins: tuple[str, str]) -> tuple[list[Reply], list[tuple[str, dict[str, object]]]]:
    """The replies, and (target, body) of all that the server heard."""
    async def work() -> tuple[list[Reply], list[tuple[str, dict[str, object]]]]:
        async with identity_provider(answer) as port:
            service = AuthService(settings(folder, CONF.format(port) + more))
            replies = []
            for user, password in logins:
                attempt = service.attempt(service.mechanisms["PLAIN"], "imap", FACTS)
                replies.append(await attempt.start(f"\0{user}\0{password}".encode()))
                assert service.policy is not None
                await asyncio.gather(*service.policy._reports)
            service.close()
            return replies, [(target, json.loads(body)) for _, target, fields, body in SEEN
                             if fields["X-API-Key"] == "abc"]

    return asyncio.run(work())


def test_it_is_asked_and_told(tmp_path: Path) -> None:
    replies, heard = play(tmp_path, "", ("alice", "secret-alice"), ("alice", "wrong"))
    about = {"device_id": "ID", "login": "alice", "protocol": "imap", "pwhash": "01fd", "remote": "192.0.2.1",
             "session_id": "sess", "tls": True}
    wrong = about | {"pwhash": "0fdc"}
    assert [type(reply) for reply in replies] == [Granted, Denied]
    assert heard == [
        ("/?command=allow", about), ("/?command=allow", about),
        ("/?command=report", about | {"success": True, "policy_reject": False}),
        ("/?command=allow", wrong), ("/?command=report", wrong | {"success": False, "policy_reject": False})]


@pytest.mark.parametrize(("more", "user", "good"), [
    ("", "slow", False), ("auth_policy_log_only = yes\n", "slow", True),
    ("auth_policy_check_before_auth = no\n", "slow", False),
    ("auth_policy_check_before_auth = no\nauth_policy_check_after_auth = no\n", "slow", True),
    ("", "extra", True), ("auth_policy_reject_on_fail = yes\n", "extra", False)])
def test_its_answer(tmp_path: Path, more: str, user: str, good: bool) -> None:
    password = {"slow": "secret-sha512-crypt", "extra": "secret-extra"}[user]
    (reply,), heard = play(tmp_path, more, (user, password))
    assert isinstance(reply, Granted) == good
    assert heard[-1][1]["success"] == good and heard[-1][1]["policy_reject"] == (not good)
    if user == "slow" and not good:
        assert isinstance(reply, Denied) and reply.reason == "go away"


@pytest.mark.parametrize("more", ["auth_policy_hash_nonce =\n", "auth_policy_hash_mech = nosuch\n",
                                  "auth_policy_server_url = nosuch\n"])
def test_bad_configuration(tmp_path: Path, more: str) -> None:
    with pytest.raises(ConfigErrors):
        AuthService(settings(tmp_path, CONF.format(1) + more))
