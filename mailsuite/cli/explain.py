"""mailsuite explain ADDRESS: what will happen to an address, step by step.

    mailsuite -c DIR explain info@example.test --from a@far.test --client 198.51.100.7

Exit status: 0, or 1 when mail to the address would be refused, returned or wait.
"""

import asyncio
import ipaddress
import json
import logging
from typing import TYPE_CHECKING

import click

from mailsuite.base.errors import ConfigError

if TYPE_CHECKING:
    from mailsuite.explain.explainer import Question
    from mailsuite.explain.model import Explanation


class _Warnings(logging.Handler):
    """What the services would log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self.texts and len(self.texts) < 1000:
            self.texts.append(text)


@click.command()
@click.argument("address")
@click.option("--from", "sender", metavar="SENDER", default="", help="The envelope sender; the null sender without it.")
@click.option("--client", metavar="IP", default="", help="The client's address; a stranger without it.")
@click.option("--client-name", metavar="NAME", default="", help="The client's verified name, instead of what DNS says.")
@click.option("--helo", metavar="NAME", default="", help="What the client says to EHLO.")
@click.option("--sasl-user", "login", metavar="NAME", default="", help="Whom the client has logged in as.")
@click.option("--service", metavar="NAME", default="", help="The smtpd of master.cf that is asked; the first one else.")
@click.option("--dns", is_flag=True, help="Look for the hosts that mail for elsewhere goes to.")
@click.option("--policy", is_flag=True, help="Ask policy services, greylist and probes, too; they remember it.")
@click.option("--details", is_flag=True, help="Show every restriction that was looked at.")
@click.option("--json", "as_json_text", is_flag=True, help="For programs; docs/explain.md names the fields.")
@click.pass_obj
def explain(directory: str, address: str, sender: str, client: str, client_name: str, helo: str, login: str,
            service: str, dns: bool, policy: bool, details: bool, as_json_text: bool) -> None:
    """Say what will happen to mail for ADDRESS, step by step; nothing is sent."""
    from mailsuite.address.syntax import unquote_local
    from mailsuite.explain.explainer import Question
    from mailsuite.explain.model import as_json
    from mailsuite.explain.text import as_text

    if client:
        try:
            ipaddress.ip_address(client)
        except ValueError:
            raise click.BadParameter(f"{client} is not an IP address", param_hint="--client") from None
    question = Question(unquote_local(sender.removeprefix("<").removesuffix(">")), client, client_name, helo, login,
                        service, dns, policy)
    warnings = _Warnings()
    top = logging.getLogger("mailsuite")
    top.addHandler(warnings)
    top.propagate = False
    try:
        told = asyncio.run(_explained(directory, unquote_local(address.removeprefix("<").removesuffix(">")), question))
    except ConfigError as error:
        for line in error.public.split("\n"):
            click.echo(f"mailsuite: fatal: {line}", err=True)
        raise SystemExit(1) from None
    finally:
        top.removeHandler(warnings)
    told.warnings = warnings.texts
    if as_json_text:
        click.echo(json.dumps(as_json(told), indent=2))
    else:
        for line in as_text(told, details=details):
            click.echo(line)
    raise SystemExit(0 if told.is_fine else 1)


async def _explained(directory: str, address: str, question: "Question") -> "Explanation":
    from mailsuite.explain.explainer import Explainer
    from mailsuite.explain.site import Site

    return await Explainer(Site.load(directory)).explain(address, question)
