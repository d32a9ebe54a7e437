"""mailsuite: start, stop and look after the mail system.

    mailsuite [-c DIR] start|stop|reload|status|check|run|accounts|setup
"""

import click

from mailsuite import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-c", "directory", metavar="DIR", envvar="MAIL_CONFIG", default="/etc/postfix", show_default=True,
              help="The folder with main.cf, master.cf and dovecot.conf.")
@click.version_option(__version__)
@click.pass_context
def cli(context: click.Context, directory: str) -> None:
    """A mail server that reads the configuration of Postfix and Dovecot."""
    context.obj = directory


@cli.command()
@click.pass_obj
def start(directory: str) -> None:
    """Start in the background; returns when mail is accepted."""
    from mailsuite.master import control
    raise SystemExit(control.start(directory))


@cli.command()
@click.pass_obj
def stop(directory: str) -> None:
    """Stop; returns when all of it has ended."""
    from mailsuite.master import control
    raise SystemExit(control.stop(directory))


@cli.command()
@click.pass_obj
def reload(directory: str) -> None:
    """Read the configuration again, without losing a connection."""
    from mailsuite.master import control
    raise SystemExit(control.reload(directory))


@cli.command()
@click.pass_obj
def status(directory: str) -> None:
    """Say whether it runs (exit status 0) or not (1)."""
    from mailsuite.master import control
    raise SystemExit(control.status(directory))


@cli.command()
@click.pass_obj
def check(directory: str) -> None:
    """Say all that is wrong with the configuration."""
    from mailsuite.master import control
    raise SystemExit(control.check(directory))


@cli.command()
@click.pass_obj
def run(directory: str) -> None:
    """Run in the foreground until Ctrl-C."""
    from mailsuite.master import control
    raise SystemExit(control.run(directory))


@cli.command()
@click.pass_obj
def accounts(directory: str) -> None:
    """Make the system accounts that the configuration names, where they are missing (as root)."""
    from mailsuite.cli.setup import make_missing_accounts
    raise SystemExit(make_missing_accounts(directory))


@cli.command()
@click.argument("site", type=click.Path())
def setup(site: str) -> None:
    """Make a folder SITE with a complete small mail server: configuration, certificates, two users."""
    from mailsuite.cli.setup import make_site
    raise SystemExit(make_site(site))


@cli.command()
@click.argument("site", type=click.Path(exists=True))
def demo(site: str) -> None:
    """Run the mail server of the folder SITE in the foreground, with a table of what to try."""
    from mailsuite.cli.setup import run_site
    raise SystemExit(run_site(site))


def main() -> None:
    """Console script."""
    cli(prog_name="mailsuite")
