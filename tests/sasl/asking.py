"""Questions to a whole auth service, and its answers as Dovecot's protocols have them."""

import asyncio
import hmac
from collections.abc import Sequence
from pathlib import Path

from mailsuite.base.errors import TemporaryError
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl.attempt import Continue, Granted, Reply
from mailsuite.sasl.client_protocol import denied_words, granted_words
from mailsuite.sasl.service import AuthService

BASE = "auth_mechanisms = plain cram-md5\nauth_username_chars =\nauth_username_format = %u\nauth_verbose = yes\n"
Ask = tuple[str, ...]


def service(folder: Path, text: str) -> AuthService:
    return AuthService(DovecotSettings.of(BASE + text.replace("DIR", str(folder))))


def answers(auth: AuthService, asks: Sequence[Ask]) -> list[str]:
    """One text for each of ("auth"|"cram", user, password, fact...), ("user"|"pass", user), ("list",)."""
    async def work() -> list[str]:
        try:
            return [await _answer(auth, ask) for ask in asks]
        finally:
            auth.close()
    return asyncio.run(work())


async def _answer(auth: AuthService, ask: Ask) -> str:
    facts = {"no-penalty": ""} | dict(fact.partition("=")[::2] for fact in ask[3:])
    try:
        match ask[0]:
            case "auth" | "cram":
                return await _login(auth, ask, facts)
            case "user":
                found = await auth.userdb(ask[1], "lmtp", facts)
                return "NOTFOUND" if found is None else " ".join([
                    found[0], *(f"{name}={value}" if value else name for name, value in found[1].items())])
            case "pass":
                request = await auth.passdb(ask[1], "lmtp", facts)
                return "NOTFOUND" if request is None else " ".join(filter(None, granted_words(request)))
            case _:
                names, complete = await auth.userdbs.names()
                return " ".join([*names, *([] if complete else ["fail"])])
    except TemporaryError:
        return "FAIL"


async def _login(auth: AuthService, ask: Ask, facts: dict[str, str]) -> str:
    user, password = (word.encode("utf-8", "surrogateescape") for word in ask[1:3])
    mech = auth.mechanisms["PLAIN" if ask[0] == "auth" else "CRAM-MD5"]
    attempt = auth.attempt(mech, "imap", facts)
    reply: Reply = await attempt.start(b"\0".join((b"", user, password)) if ask[0] == "auth" else None)
    if isinstance(reply, Continue):
        reply = await attempt.go_on(user + b" " + hmac.new(password, reply.octets, "md5").hexdigest().encode())
    assert not isinstance(reply, Continue)
    if isinstance(reply, Granted):
        found = await auth.userdb_after_login(reply.request)
        fields = {} if found is None else found[1]
        after = " ".join(f"{name}={value}" if value else name for name, value in fields.items())
        return " ".join(["OK", *filter(None, sorted(granted_words(reply.request)))]) + " | " + after
    return " ".join(["FAIL", *denied_words(reply)])
