"""`mailsuite tlsrpt`: the TLS report of a day, for each domain or for one, as RFC 8460's JSON.

    mailsuite tlsrpt                            yesterday (UTC), all domains that want reports
    mailsuite tlsrpt --day 2026-11-20 example.org
    mailsuite tlsrpt --list                     the days and domains that anything is known of, and where reports go

Exit status: 0, 1 when nothing was counted, 75 when the counts cannot be read.
"""

import datetime
import json

import click

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.tlsrpt.report import make_report


@click.command("tlsrpt")
@click.argument("domain", default="")
@click.option("--day", default="", help="The day, YYYY-MM-DD (UTC); yesterday by default.")
@click.option("--list", "listing", is_flag=True, help="Days, domains, sessions, failures, and where reports go.")
@click.pass_obj
def tlsrpt(directory: str, domain: str, day: str, listing: bool) -> None:
    """The TLS report of a day for DOMAIN, or for each domain that wants one (smtp_tlsrpt_enable = yes)."""
    from mailsuite.config.command import load_for_command
    from mailsuite.smtp.client_tls_params import TLSRPT_DATABASE

    try:
        settings = load_for_command(directory, lambda text: click.echo(f"mailsuite: warning: {text}", err=True))
    except ConfigError as error:
        raise click.ClickException(error.public) from error
    path = settings[TLSRPT_DATABASE]
    try:
        if listing:
            return _list(path)
        _print(path, _day(day), domain.lower().rstrip("."), settings.text("mydomain"))
    except TemporaryError as error:
        click.echo(f"mailsuite tlsrpt: {error} (is smtp_tlsrpt_enable set?)", err=True)
        raise SystemExit(75) from error


def _day(text: str) -> str:
    try:
        if text:
            return datetime.date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise click.BadParameter(f"{text} is not a day like 2026-11-20") from error
    return (datetime.datetime.now(datetime.UTC).date() - datetime.timedelta(days=1)).isoformat()


def _print(path: str, day: str, domain: str, organization: str) -> None:
    from mailsuite.tlsrpt.store import rows

    found = rows(path, day)
    domains = sorted({outcome.domain for outcome, _ in found if domain in ("", outcome.domain)})
    if not domains:
        click.echo(f"mailsuite tlsrpt: nothing was counted on {day}{' for ' + domain if domain else ''}", err=True)
        raise SystemExit(1)
    for one in domains:
        report = make_report(found, day, one, organization=organization, contact=f"postmaster@{organization}")
        click.echo(json.dumps(report, indent=2))


def _list(path: str) -> None:
    from mailsuite.tlsrpt.store import contacts, days, rows

    for day in days(path):
        records, counted = contacts(path, day), rows(path, day)
        for domain in sorted({outcome.domain for outcome, _ in counted}):
            sessions = sum(count for outcome, count in counted if outcome.domain == domain)
            failures = sum(count for outcome, count in counted if outcome.domain == domain and outcome.result)
            click.echo(f"{day} {domain} sessions={sessions} failures={failures} {records.get(domain, '')}".rstrip())
