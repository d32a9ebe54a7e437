"""mailsuite migrate: bring accounts from another IMAP server here, one or a list of them.

    mailsuite migrate --host imap.old.example anna@new.example          asks for the old password
    mailsuite migrate --host imap.old.example --accounts list.csv --jobs 4

A line of the list: new login, old login, old password, and perhaps the host; separated by commas, semicolons or tabs
(with quotes where one is part of a value); "#" begins a comment line. Nothing is removed on either side; what was
copied before is not copied again, so an interrupted run is simply run again, and a last run after the switch of the
MX records brings what came late. The old password reaches neither a command line nor the log.
"""

import csv
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mailsuite.cli.doveadm import Doveadm
    from mailsuite.cli.doveadm_sync import Outcome

PORTS = {"imaps": 993, "starttls": 143, "no": 143}
ENVIRONMENT = "MAILSUITE_OLD_PASSWORD"


@dataclass(frozen=True)
class OldAccount:
    """One line of the list."""

    user: str
    old_user: str
    password: str
    host: str


def read_list(path: Path, host: str) -> list[OldAccount]:
    """Raises click.ClickException with all lines that are wrong."""
    found, wrong = [], []
    text = path.read_text("utf-8-sig")
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1)
             if line.strip() and not line.lstrip().startswith("#")]
    for number, line in lines:
        delimiter = next((char for char in "\t;," if char in line), ",")
        fields = [field.strip() for field in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]
        if not 3 <= len(fields) <= 4 or not all(fields[:3]):
            wrong.append(f"{path} line {number}: not new login, old login, old password, perhaps a host")
        elif not (fields[3:] or [host])[0]:
            wrong.append(f"{path} line {number}: no host here, and no --host")
        else:
            found.append(OldAccount(fields[0], fields[1], fields[2], (fields[3:] or [host])[0] or host))
    doubles = sorted({one.user for one in found if [other.user for other in found].count(one.user) > 1})
    wrong += [f"{path}: {user} stands there more than once" for user in doubles]
    if wrong or not found:
        raise click.ClickException("\n".join(wrong) or f"{path}: no accounts")
    if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        click.echo(f"warning: {path} holds passwords and others can read it: chmod 600 {path}", err=True)
    return found


def overrides(account: OldAccount, *, port: int, tls: str, verify: bool, ca_file: str, master_user: str) -> list[str]:
    """What doveadm's -o would say."""
    host, colon, own_port = account.host.rpartition(":")
    if not colon or not own_port.isdigit() or host.count(":") and not host.endswith("]"):
        host, own_port = account.host, str(port)
    values = {"imapc_host": host.strip("[]"), "imapc_port": own_port, "imapc_user": account.old_user,
              "imapc_password": account.password, "imapc_ssl": tls, "imapc_ssl_verify": "yes" if verify else "no"}
    if ca_file:
        values["ssl_client_ca_file"] = os.path.abspath(ca_file)
    if master_user:
        values["imapc_master_user"] = master_user
    return [f"{name}={value}" for name, value in values.items()]


@click.command()
@click.argument("user", required=False)
@click.option("--host", default="", metavar="HOST[:PORT]", help="The old IMAP server.")
@click.option("--old-user", default="", help="The login there, if it is another than USER.")
@click.option("--accounts", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A list: new login, old login, old password, perhaps a host.")
@click.option("--tls", type=click.Choice(list(PORTS)), default="imaps", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), help="Default: 993 with imaps, else 143.")
@click.option("--no-verify", is_flag=True, help="Take any certificate. Who listens in then learns the password.")
@click.option("--ca-file", default="", type=click.Path(), help="Authorities that the old server's certificate is from.")
@click.option("--master-user", default="", help="Log in as this user with the one password, for each old login.")
@click.option("--only", multiple=True, metavar="MASK", help="Only these mailboxes (* and ? as usual); repeatable.")
@click.option("--exclude", multiple=True, metavar="MASK", help="Not these, or \\Junk, \\All...; repeatable.")
@click.option("--since", default="", metavar="DATE", help="Only mail received since then: 2024-05-31, or 30d.")
@click.option("--mirror", is_flag=True, help="Also remove here what is not there: only before the account is used.")
@click.option("--keep-names", is_flag=True, help="Do not put the old Sent mailbox's mail into the one for sent mail.")
@click.option("--jobs", type=click.IntRange(1, 32), default=1, show_default=True, help="Accounts at the same time.")
@click.option("--dry-run", is_flag=True, help="Log in, compare and count; change nothing.")
@click.option("-v", "--verbose", is_flag=True)
@click.pass_obj
def migrate(directory: str, user: str | None, host: str, old_user: str, accounts: Path | None, tls: str,
            port: int | None, no_verify: bool, ca_file: str, master_user: str, only: tuple[str, ...],
            exclude: tuple[str, ...], since: str, mirror: bool, keep_names: bool, jobs: int, dry_run: bool,
            verbose: bool) -> None:
    """Bring mail from another IMAP server: of USER, or of all accounts of a list."""
    from mailsuite.cli.doveadm import Doveadm, Exit, find_command
    from mailsuite.cli.human_values import parse_time

    if bool(user) == bool(accounts):
        raise click.UsageError("Give either USER or --accounts.")
    wanted = read_list(accounts, host) if accounts is not None else [_one(user or "", old_user, host)]
    values: dict[str, object] = {"dry_run": dry_run, "map_special": not keep_names}
    if since:
        try:
            values["since"] = parse_time(since)
        except ValueError as error:
            raise click.BadParameter(f"no date: {since}", param_hint="--since") from error
    options = {"R": [""], **({} if mirror else {"1": [""]}), **({"m": list(only)} if only else {}),
               **({"x": list(exclude)} if exclude else {})}
    command, _ = find_command(["backup" if mirror else "sync"])

    def one(account: OldAccount) -> "Outcome":
        doveadm = Doveadm(config=os.path.join(directory, "dovecot.conf"), verbose=verbose, command=command)
        doveadm.overrides = overrides(account, port=port or PORTS[tls], tls=tls, verify=not no_verify,
                                      ca_file=ca_file, master_user=master_user)
        return _bring(doveadm, account.user, options, values, quiet=jobs > 1)

    try:
        with ThreadPoolExecutor(jobs) as pool:
            outcomes = list(pool.map(one, wanted))
    except Exit as error:
        raise click.ClickException(error.text) from error
    show(wanted, outcomes, dry_run=dry_run)
    raise SystemExit(max((outcome.status for outcome in outcomes), default=0))


def _one(user: str, old_user: str, host: str) -> OldAccount:
    if not host:
        raise click.UsageError("--host is missing.")
    password = os.environ.get(ENVIRONMENT, "")
    if not password and sys.stdin.isatty():
        password = click.prompt(f"Password of {old_user or user} on {host}", hide_input=True)
    password = password or sys.stdin.readline().rstrip("\n")
    if not password:
        raise click.UsageError(f"No password: on a terminal, in {ENVIRONMENT}, or on standard input.")
    return OldAccount(user, old_user or user, password, host)


def _bring(doveadm: "Doveadm", user: str, options: dict[str, list[str]], values: dict[str, object], *,
           quiet: bool) -> "Outcome":
    """One account. Raises Exit when nothing can be done for anybody."""
    from mailsuite.cli.doveadm_sync import Progress, synchronize

    with Progress(user, verbose=doveadm.verbose, quiet=quiet) as progress:
        return synchronize(doveadm, user, ["imapc:"], {**options, "u": [user]}, values, "", progress)


WORDS = {0: "done", 2: "some refused", 67: "no such user"}


def show(accounts: list[OldAccount], outcomes: "list[Outcome]", *, dry_run: bool) -> None:
    """The table at the end."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Nothing was changed: this would be copied" if dry_run else None, title_justify="left")
    for title in ("account", "mailboxes", "messages", "size", "refused", "result"):
        table.add_column(title, justify="left" if title in ("account", "result") else "right",
                         overflow="fold", no_wrap=title not in ("account", "result"))
    for account, outcome in zip(accounts, outcomes, strict=True):
        numbers = outcome.numbers
        result = WORDS.get(outcome.status) or (outcome.errors[-1] if outcome.errors else "failed")
        table.add_row(account.user, str(numbers.get("folders", "")), str(numbers.get("copied", "")),
                      size_text(numbers["octets"]) if numbers else "", str(numbers.get("skipped", "")), result)
    Console(width=None if sys.stdout.isatty() else 120).print(table, markup=False)


def size_text(octets: int) -> str:
    size, unit = float(octets), "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1000 or unit == "TB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
