"""Plug-ins as people write them for aiosmtpd; nothing here knows of mailsuite, `Streams` excepted."""

import asyncio
from typing import Any

from aiosmtpd.handlers import AsyncMessage, Message
from aiosmtpd.smtp import MISSING, AuthResult, LoginPassword, auth_mechanism

SEEN: list[Any] = []


class ExampleHandler:
    """The one of aiosmtpd's documentation (Using the controller)."""

    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):  # type: ignore[no-untyped-def]
        if not address.endswith("@example.test"):
            return "550 not relaying to that domain"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # type: ignore[no-untyped-def]
        print(f"Message from {envelope.mail_from}")
        print(f"Message for {envelope.rcpt_tos}")
        print("Message data:\n")
        for ln in envelope.content.decode("utf8", errors="replace").splitlines():
            print(f"> {ln}".strip())
        print()
        print("End of message")
        return "250 Message accepted for delivery"


class Watches:
    """Every hook, and what it saw."""

    async def handle_HELO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        session.host_name = hostname
        SEEN.append(("HELO", hostname, session.peer[0]))
        return "250 hello " + hostname

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> Any:
        session.host_name = hostname
        SEEN.append(("EHLO", hostname, [line for line in responses if "VRFY" in line]))
        return [line for line in responses if "VRFY" not in line] + ["250 X-MINE"]

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("bad"):
            return "553 5.7.9 no mail from you"
        SEEN.append(("MAIL", address, options, session.extended_smtp, session.authenticated))
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 sender is fine"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("later"):
            return "450 4.2.0 try later"
        SEEN.append(("RCPT", address, options))
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient is fine"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> Any:
        SEEN.append(("DATA", envelope.mail_from, list(envelope.rcpt_tos), envelope.content))
        if b"spam" in envelope.content:
            return "554 5.7.9 spam\r\nreally"
        return MISSING if b"missing" in envelope.content else "250 2.6.0 taken"

    async def handle_RSET(self, server: Any, session: Any, envelope: Any) -> str:
        SEEN.append(("RSET", envelope.mail_from))
        return "250 reset"

    async def handle_NOOP(self, server: Any, session: Any, envelope: Any, arg: str) -> str:
        return f"250 noop {arg}".strip()

    async def handle_VRFY(self, server: Any, session: Any, envelope: Any, address: str) -> str:
        return f"252 perhaps {address}"

    async def handle_QUIT(self, server: Any, session: Any, envelope: Any) -> str:
        return "221 so long"


class OldEhlo:
    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str) -> str:
        session.host_name = hostname
        await server.push("250-X-PUSHED")
        return "250 X-OLD"


class RefusesEhlo:
    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]) -> Any:
        return ["550 5.7.1 not you"]


class OldStyle:
    """Before handle_DATA there was process_message, with smtpd's arguments."""

    def process_message(self, peer: Any, mailfrom: str, rcpttos: list[str], data: bytes) -> str | None:
        SEEN.append((peer[0], mailfrom, rcpttos, data))
        return "550 5.7.1 old refusal" if b"spam" in data else None


class Raises:
    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        raise ZeroDivisionError("in a plug-in")

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        raise ZeroDivisionError("in a plug-in")


class RaisesAtData:
    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        raise ZeroDivisionError("in a plug-in")


class Explains(Raises):
    async def handle_exception(self, error: Exception) -> str:
        return f"542 5.3.0 {type(error).__name__}"


class Hangs:
    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        await asyncio.sleep(60)
        return "250 late"


class Nonsense:
    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> Any:
        return 250


class Changes:
    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        envelope.mail_from = "new@far.test"
        envelope.rcpt_tos = ["c@example.test"]
        envelope.content = b"Subject: new\r\nX-New: yes\r\n\r\nnew body\r\n"
        return "250 OK"


class Streams:
    """Ours: wants the message as blocks."""

    stream_content = True

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        SEEN.append((envelope.content, sum(len(block) for block in envelope.message.body())))
        return "250 OK"


class Keeps(Message):
    def handle_message(self, message: Any) -> None:
        SEEN.append(message)


class KeepsLater(AsyncMessage):
    async def handle_message(self, message: Any) -> None:
        SEEN.append(message)


class Logins:
    """auth_* as in aiosmtpd's documentation (Authentication system)."""

    async def auth_PLAIN(self, server: Any, args: list[str]) -> Any:
        answer = await server.challenge_auth("") if len(args) == 1 else __import__("base64").b64decode(args[1])
        if answer is MISSING:
            return AuthResult(success=False)
        _, login, password = answer.split(b"\0")
        if password != b"right":
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=LoginPassword(login, password))

    @auth_mechanism("X-QUESTIONS")
    async def auth_two_questions(self, server: Any, args: list[str]) -> Any:
        name = await server.challenge_auth("Name?")
        if name == b"root":
            await server.push("530 5.7.0 not root")
            return None
        color = await server.challenge_auth("Color?")
        return name if color == b"blue" else False

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> Any:
        SEEN.append((session.authenticated, session.auth_data))
        return MISSING
