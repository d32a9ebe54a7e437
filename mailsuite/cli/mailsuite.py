"""mailsuite: start, stop and look after the mail system.

    mailsuite [-c DIR] start|stop|reload|status|check|run|accounts|setup|explain|migrate|queue|
        trace|user|domain|alias|dkim|dmarc|spf|tlsrpt
"""

import click

from mailsuite import __version__
from mailsuite.cli.accounts import alias, domain, user
from mailsuite.cli.check import check
from mailsuite.cli.config import config
from mailsuite.cli.explain import explain
from mailsuite.cli.migrate import migrate
from mailsuite.cli.queue import queue
from mailsuite.cli.tlsrpt import tlsrpt
from mailsuite.cli.trace import trace


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


@cli.group()
def dkim() -> None:
    """Keys that sign our mail, and what DNS says of them."""


@dkim.command("key")
@click.argument("domain")
@click.option("--selector", default="mail", show_default=True, help="The key's name in DNS.")
@click.option("--algorithm", type=click.Choice(["rsa", "ed25519"]), default="rsa", show_default=True)
@click.option("--bits", type=click.Choice(["1024", "2048", "3072", "4096"]), default="2048", show_default=True,
              help="Of an RSA key.")
@click.pass_obj
def dkim_key(directory: str, domain: str, selector: str, algorithm: str, bits: str) -> None:
    """Make a key for DOMAIN; print its DNS record and how to use it."""
    from mailsuite.cli.mail_identity import key_command
    key_command(directory, domain, selector, algorithm, int(bits))


@dkim.command("record")
@click.argument("domain", default="")
@click.pass_obj
def dkim_record(directory: str, domain: str) -> None:
    """Print the DNS records of the keys of DOMAIN, or of all."""
    from mailsuite.cli.mail_identity import record_command
    record_command(directory, domain)


@dkim.command("check")
@click.argument("domain", default="")
@click.pass_obj
def dkim_check(directory: str, domain: str) -> None:
    """Compare the keys of DOMAIN, or all, with DNS."""
    from mailsuite.cli.mail_identity import check_command
    check_command(directory, domain)


@dkim.command("verify")
@click.argument("file", default="-")
@click.pass_obj
def dkim_verify(directory: str, file: str) -> None:
    """Verify the DKIM signatures and the ARC chain of a message."""
    from mailsuite.cli.mail_identity import verify_command
    verify_command(directory, file)


@cli.command()
@click.argument("domain")
@click.pass_obj
def dmarc(directory: str, domain: str) -> None:
    """What DOMAIN asks receivers of its mail to do, and where it wants reports."""
    from mailsuite.cli.mail_identity import dmarc_command
    dmarc_command(directory, domain)


@cli.command()
@click.argument("address")
@click.argument("sender")
@click.option("--helo", default="", help="The client's HELO name.")
@click.pass_obj
def spf(directory: str, address: str, sender: str, helo: str) -> None:
    """Whether the client ADDRESS may send for SENDER (an address or a domain)."""
    from mailsuite.cli.mail_identity import spf_command
    spf_command(directory, address, sender, helo)


cli.add_command(user)
cli.add_command(domain)
cli.add_command(alias)
cli.add_command(check)
cli.add_command(explain)
cli.add_command(migrate)
cli.add_command(queue)
cli.add_command(trace)
cli.add_command(config)
cli.add_command(tlsrpt)


def main() -> None:
    """Console script."""
    cli(prog_name="mailsuite")
