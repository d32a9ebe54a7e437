"""non_smtpd_milters: mail that no SMTP client brought; the client's commands are simulated for the milters.

    cleanup.local_inspectors = LocalMilters(settings).inspectors        one per process; None where none are configured

The milters see a client "localhost" [127.0.0.1] that says EHLO, MAIL, RCPT and DATA, then the message. They may refuse
the message, but not single recipients: such a milter keeps the mail in maildrop/ (451), with a warning.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mailsuite.address.syntax import quote_local
from mailsuite.base.log import logger
from mailsuite.queue.envelope import Handling
from mailsuite.queue.inspection import Inspected, Inspection, Inspector
from mailsuite.queue.refused import Refused
from mailsuite.smtp.facts import Client
from mailsuite.smtp.milter import params
from mailsuite.smtp.milter.client import Milter
from mailsuite.smtp.milter.macros import client_macros, login_macros
from mailsuite.smtp.milter.server_content import ContentMilter, decided
from mailsuite.smtp.milter.settings import MilterOptions, MilterSpec, read_milters
from mailsuite.smtp.milter.syntax import connect_data, string, strings
from mailsuite.smtp.params import SOFT_BOUNCE

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Intake

log = logger("cleanup")


class LocalMilters:
    """What all messages of a process share. Raises ConfigError."""

    def __init__(self, settings: "Settings") -> None:
        self.options = MilterOptions.of(settings)
        self.specs = read_milters(settings[params.NON_SMTPD_MILTERS], self.options)
        self.soft_bounce = settings[SOFT_BOUNCE]

    def inspectors(self, intake: "Intake") -> list[Inspector]:
        """Of one message: of no SMTP client, and not kept from milters (receive_override_options,
        internal_mail_filter_classes)."""
        if not self.specs or intake.envelope.program == "smtpd" or Handling.MILTER not in intake.envelope.handling:
            return []
        return [LocalMilter(self, spec, intake) for spec in self.specs]


class LocalMilter:
    """An inspection.Inspector: one milter, one message, one connection."""

    def __init__(self, milters: LocalMilters, spec: MilterSpec, intake: "Intake") -> None:
        self._milters, self._intake = milters, intake
        self._milter = Milter(spec, milters.options, log)

    async def inspect(self, message: Inspected) -> Inspection:
        try:
            before = await self._simulate(message)
            if before.refusal is not None or before.discard or before.edits:
                return before
            content = ContentMilter(self._milter, self._intake, lambda: self._values({"i": message.queue_id}),
                                    soft_bounce=self._milters.soft_bounce, origin_name=self._client().host)
            return await content.inspect(message)
        finally:
            self._milter.close()

    def _client(self) -> Client:
        origin = self._intake.envelope.origin
        if not origin.client_address:
            return Client("127.0.0.1", name="localhost", reverse_name="localhost", server_address="127.0.0.1")
        return Client(origin.client_address, int(origin.client_port) if origin.client_port.isdigit() else 0,
                      name=origin.client_name, reverse_name=origin.reverse_client_name or origin.client_name,
                      server_address=origin.server_address)

    def _values(self, more: Mapping[str, str]) -> dict[str, str]:
        origin = self._intake.envelope.origin
        return {**self._milters.options.macro_values, **client_macros(self._client()),
                **login_macros(origin.sasl_method, origin.sasl_username, origin.sasl_sender), **more}

    async def _simulate(self, message: Inspected) -> Inspection:
        """CONNECT, EHLO, MAIL, RCPT, DATA, until the milter objects."""
        client, sender = self._client(), _external(message.envelope.sender)
        known = {"i": message.queue_id}
        name = client.name if client.name != "unknown" else f"[{client.address}]"
        helo = message.envelope.origin.helo_name or client.name
        stages: list[tuple[str, str, bytes, Mapping[str, str]]] = [
            ("CONNECT", "connect", connect_data(name, client.address, client.port), {}),
            ("EHLO", "helo", string(helo), {}),
            ("MAIL", "mail", strings([sender]), {**known, "{mail_addr}": sender})]
        for address in dict.fromkeys(one.original or one.address for one in message.recipients):
            shown = _external(await self._intake.cleanup.rewriter.rewrite(address, True))
            stages.append(("RCPT", "rcpt", strings([shown]), {**known, "{rcpt_addr}": shown}))
        stages.append(("DATA", "data", b"", known))
        for where, event, data, macros in stages:
            answer = await self._milter.event(event, data, self._values(macros))
            if answer is None:
                continue
            found = decided(self._intake, answer, where, soft_bounce=self._milters.soft_bounce,
                            origin_name=client.host)
            if found.refusal is not None and where == "RCPT":
                log.warning("%s: milter configuration error: can't reject recipient in non-smtpd(8) submission",
                            message.queue_id)
                log.warning("%s: message not accepted, try again later", message.queue_id)
                found.refusal = Refused(451, "4.3.5", "Error: a milter refused a recipient of a local message")
            return found
        return Inspection()


def _external(address: str) -> str:
    return quote_local(address) if address else ""
