"""mailsuite user, domain, alias: who has mail here, changed in the files that the configuration names.

    mailsuite -c DIR user add anna@demo.test            asks for the password; --password-stdin reads a line
    mailsuite -c DIR user list --json
    mailsuite -c DIR domain del demo.test --force --dry-run

Exit: 0 done (or would be, with --dry-run); 1 refused, with the reason; 2 the command line is wrong.
A running suite takes all of it without a restart; where main.cf itself changed it is told to read it again.
"""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from mailsuite.base.errors import ConfigError

if TYPE_CHECKING:
    from mailsuite.accounts.plan import Plan
    from mailsuite.accounts.site import AccountSite

DRY_RUN = click.option("--dry-run", is_flag=True, help="Show what would change, as diff -u, and change nothing.")
JSON = click.option("--json", "as_json", is_flag=True, help="For programs; docs/accounts.md names the fields.")
FORCE = click.option("--force", is_flag=True, help="Even if mail will be returned because of it.")
STDIN = click.option("--password-stdin", is_flag=True, help="The password is the first line of standard input.")
SCHEME = click.option("--scheme", default="", help="How it is stored; that of the passdb, or SHA512-CRYPT.")
WEAK = click.option("--weak", is_flag=True, help="Take a password that is easily guessed.")


@click.group()
def user() -> None:
    """Add, change and remove mailboxes with their logins."""


@click.group()
def domain() -> None:
    """The domains whose mail ends here."""


@click.group()
def alias() -> None:
    """Addresses that forward to others."""


def _refuse(error: ConfigError) -> "SystemExit":
    for line in error.public.split("\n"):
        click.echo(f"mailsuite: {line}", err=True)
    return SystemExit(1)


def _change(directory: str, make: "Callable[[AccountSite], Plan]", *, dry_run: bool) -> None:
    """Make a plan and carry it out, under the site's lock."""
    from mailsuite.accounts.plan import carry_out, locked
    from mailsuite.accounts.site import AccountSite

    _quiet()
    try:
        with locked(directory):
            site = AccountSite.load(directory)
            plan = make(site)
            if dry_run:
                click.echo(plan.diff(), nl=False)
                return
            carry_out(plan, site.settings)
    except ConfigError as error:
        raise _refuse(error) from None
    for line in plan.done:
        click.echo(line)
    if plan.main_cf:
        _reload(directory)
    for line in plan.notes:
        click.echo(f"note: {line}")


def _quiet() -> None:
    """Complaints about other lines of tables are `mailsuite check`'s."""
    log = logging.getLogger("mailsuite")
    log.propagate = False
    log.addHandler(logging.NullHandler())


def _reload(directory: str) -> None:
    from mailsuite.master import control

    if control.status(directory, say=lambda _: None) != 0:
        return
    if control.reload(directory) == 0:
        click.echo("the running mail system reads main.cf again")
    else:
        raise SystemExit(1)


def _show(rows: Sequence[Any], columns: Sequence[tuple[str, Callable[[Any], str]]], *, as_json: bool) -> None:
    """rows: dataclasses."""
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name, _ in columns:
        table.add_column(name)
    for row in rows:
        table.add_row(*[value(row) for _, value in columns])
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200).print(table)


def _listed(directory: str, find: "Callable[[AccountSite], Sequence[Any]]") -> Sequence[Any]:
    from mailsuite.accounts.site import AccountSite

    _quiet()
    try:
        return find(AccountSite.load(directory))
    except ConfigError as error:
        raise _refuse(error) from None


def _password(address: str, *, from_stdin: bool, weak: bool) -> bytes:
    """Asked for twice, or a line of standard input. Raises ConfigError: it is too weak."""
    from mailsuite.accounts.passwords import weakness
    from mailsuite.accounts.plan import Refused

    if from_stdin:
        text = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
    elif sys.stdin.isatty():
        text = click.prompt(f"Password of {address}", hide_input=True, confirmation_prompt=True, default="",
                            show_default=False)
    else:
        raise Refused("no terminal to ask for the password: --password-stdin reads it from standard input")
    if (why := weakness(text, address)) is not None and not (weak and text):
        raise Refused(f"the password {why}")
    return text.encode("utf-8", "surrogateescape")


def _hashed(site: "AccountSite", address: str, password: bytes, scheme: str) -> str:
    from mailsuite.accounts.plan import Refused
    from mailsuite.sasl import schemes

    login = site.login(address)
    name = scheme.upper() or login.scheme
    try:
        return f"{{{name}}}{schemes.generate(name, password, login.key)}"
    except schemes.SchemeError as error:
        raise Refused(f"--scheme {name}: {error.detail or error.public} (doveadm pw -l lists them)") from error


def _with_password(directory: str, address: str, *, from_stdin: bool, weak: bool) -> bytes:
    try:
        return _password(address, from_stdin=from_stdin, weak=weak)
    except ConfigError as error:
        raise _refuse(error) from None


# --- user ---------------------------------------------------------------------------------------------------------


@user.command("add")
@click.argument("address")
@click.option("--quota", default="", help="For example 500M or 2G; where the userdb reads the passwd-file.")
@STDIN
@SCHEME
@WEAK
@DRY_RUN
@click.pass_obj
def user_add(directory: str, /, address: str, quota: str, password_stdin: bool, scheme: str, weak: bool,
             dry_run: bool) -> None:
    """Make a mailbox ADDRESS and its login."""
    from mailsuite.accounts.users import add_user, checked_address, checked_quota

    try:
        address, quota = checked_address(address), checked_quota(quota)
    except ConfigError as error:
        raise _refuse(error) from None
    password = _with_password(directory, address, from_stdin=password_stdin, weak=weak)
    _change(directory, lambda site: add_user(site, address, _hashed(site, address, password, scheme), quota=quota),
            dry_run=dry_run)


@user.command("passwd")
@click.argument("address")
@STDIN
@SCHEME
@WEAK
@DRY_RUN
@click.pass_obj
def user_passwd(directory: str, /, address: str, password_stdin: bool, scheme: str, weak: bool, dry_run: bool) -> None:
    """Give ADDRESS a new password."""
    from mailsuite.accounts.users import set_password

    password = _with_password(directory, address, from_stdin=password_stdin, weak=weak)
    _change(directory, lambda site: set_password(site, address, _hashed(site, address, password, scheme)),
            dry_run=dry_run)


@user.command("del")
@click.argument("address")
@click.option("--keep-mail", is_flag=True, help="Leave the mail where it is; else it goes to a trash folder beside it.")
@FORCE
@DRY_RUN
@click.pass_obj
def user_del(directory: str, /, address: str, keep_mail: bool, force: bool, dry_run: bool) -> None:
    """Remove ADDRESS; its mail is moved away, not removed."""
    from mailsuite.accounts.users import delete_user

    _change(directory, lambda site: delete_user(site, address, keep_mail=keep_mail, force=force), dry_run=dry_run)


@user.command("disable")
@click.argument("address")
@DRY_RUN
@click.pass_obj
def user_disable(directory: str, /, address: str, dry_run: bool) -> None:
    """Let ADDRESS log in no more; its mail still arrives."""
    from mailsuite.accounts.users import disable

    _change(directory, lambda site: disable(site, address), dry_run=dry_run)


@user.command("enable")
@click.argument("address")
@DRY_RUN
@click.pass_obj
def user_enable(directory: str, /, address: str, dry_run: bool) -> None:
    """Undo disable; the password is the old one."""
    from mailsuite.accounts.users import enable

    _change(directory, lambda site: enable(site, address), dry_run=dry_run)


@user.command("list")
@JSON
@click.pass_obj
def user_list(directory: str, /, as_json: bool) -> None:
    """All mailboxes and logins."""
    from mailsuite.accounts.users import list_users

    def state(one: Any) -> str:
        return "disabled" if one.disabled else "yes" if one.login else "none"

    _show(_listed(directory, list_users), [
        ("address", lambda one: one.address), ("login", state),
        ("mailbox", lambda one: one.mailbox or "none: mail is refused"), ("quota", lambda one: one.quota)],
        as_json=as_json)


# --- domain -------------------------------------------------------------------------------------------------------


@domain.command("add")
@click.argument("name")
@click.option("--aliases", is_flag=True, help="It has aliases only, no mailboxes.")
@DRY_RUN
@click.pass_obj
def domain_add(directory: str, /, name: str, aliases: bool, dry_run: bool) -> None:
    """Take mail for the domain NAME."""
    from mailsuite.accounts.domains import add_domain

    _change(directory, lambda site: add_domain(site, name, aliases_only=aliases), dry_run=dry_run)


@domain.command("del")
@click.argument("name")
@click.option("--force", is_flag=True, help="Its users too; their mail goes to a trash folder.")
@DRY_RUN
@click.pass_obj
def domain_del(directory: str, /, name: str, force: bool, dry_run: bool) -> None:
    """Take mail for the domain NAME no more."""
    from mailsuite.accounts.domains import delete_domain

    _change(directory, lambda site: delete_domain(site, name, force=force), dry_run=dry_run)


@domain.command("list")
@JSON
@click.pass_obj
def domain_list(directory: str, /, as_json: bool) -> None:
    """All domains, by class."""
    from mailsuite.accounts.domains import list_domains

    _show(_listed(directory, list_domains), [
        ("domain", lambda one: one.name), ("class", lambda one: one.kind), ("users", lambda one: str(one.users)),
        ("aliases", lambda one: str(one.aliases))], as_json=as_json)


# --- alias --------------------------------------------------------------------------------------------------------


@alias.command("add")
@click.argument("name")
@click.argument("destinations", nargs=-1, required=True)
@click.option("--replace", is_flag=True, help="Put these destinations in the place of the old ones.")
@FORCE
@DRY_RUN
@click.pass_obj
def alias_add(directory: str, /, name: str, destinations: tuple[str, ...], replace: bool, force: bool,
              dry_run: bool) -> None:
    """Send mail for NAME (an address; or a local name such as root) to DESTINATIONS."""
    from mailsuite.accounts.aliases import add_alias

    _change(directory, lambda site: add_alias(site, name, destinations, replace=replace, force=force), dry_run=dry_run)


@alias.command("del")
@click.argument("name")
@click.argument("destinations", nargs=-1)
@DRY_RUN
@click.pass_obj
def alias_del(directory: str, /, name: str, destinations: tuple[str, ...], dry_run: bool) -> None:
    """Remove the alias NAME, or only some of its DESTINATIONS."""
    from mailsuite.accounts.aliases import delete_alias

    _change(directory, lambda site: delete_alias(site, name, destinations), dry_run=dry_run)


@alias.command("list")
@JSON
@click.pass_obj
def alias_list(directory: str, /, as_json: bool) -> None:
    """All aliases, and where they stand."""
    from mailsuite.accounts.aliases import list_aliases

    _show(_listed(directory, list_aliases), [
        ("alias", lambda one: one.name), ("destinations", lambda one: ", ".join(one.destinations)),
        ("written in", lambda one: f"{one.file}, line {one.line}")], as_json=as_json)
