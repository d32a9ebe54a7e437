"""A client's login, as it is put to the auth service."""

import asyncio
from types import SimpleNamespace

from mailsuite.base.dialogue import Peer
from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.smtp.facts import Client, Facts
from mailsuite.smtp.observers import Observer
from mailsuite.smtp.questions import AuthStart
from mailsuite.smtp.server_login import Login


class Service:
    """An auth service that hears what is asked, and is away."""

    def __init__(self) -> None:
        self.initial: list[bytes | None] = []

    async def begin(self, mechanism: str, *, initial: bytes | None, **more: object) -> object:
        self.initial.append(initial)
        raise TemporaryError("away", status="4.7.0")


def test_an_empty_initial_response_is_not_none() -> None:
    """RFC 4954 section 4: "=" is an empty response; the auth protocol says it alike, "resp=" alone would be none."""
    service = Service()
    server = SimpleNamespace(auth=service, sasl_service="smtp", config=SimpleNamespace(observed=False))
    login = Login(server, Facts(Client("192.0.2.9", 1)))        # type: ignore[arg-type]  # a test double

    async def ask() -> None:
        for initial in (None, Secret(b""), Secret(b"YQ==")):
            await login.answer(AuthStart("PLAIN", initial), Observer(), Peer("192.0.2.9", 1), None)

    asyncio.run(ask())
    assert service.initial == [None, b"=", b"YQ=="]
