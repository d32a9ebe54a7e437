"""mailsuite config: look things up in the configuration.

    mailsuite config explain NAME [--config-dir DIR] [--json]
"""

import json
import sys

import click


@click.group()
def config() -> None:
    """Look things up in the configuration."""


@config.command()
@click.argument("name")
@click.option("--config-dir", metavar="DIR", help="The folder with main.cf; as -c before the command.")
@click.option("--json", "as_data", is_flag=True, help="One JSON list.")
@click.pass_obj
def explain(directory: str, name: str, config_dir: str | None, as_data: bool) -> None:
    """What the parameter NAME means, its value in force, and where that comes from.

    Works for main.cf and dovecot.conf (mail_location, passdb/driver, service/auth/user).
    """
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.manual import explain as manual

    try:
        found = manual.explain(name, config_dir or directory)
    except ConfigError as error:
        print(f"mailsuite: fatal: {error.public}", file=sys.stderr)
        raise SystemExit(1) from None
    if not found:
        near = manual.near(name)
        print(f"mailsuite: {name}: no such parameter" + (f"; near: {', '.join(near)}" if near else ""), file=sys.stderr)
        raise SystemExit(1)
    if as_data:
        print(json.dumps([manual.as_json(item) for item in found], indent=2))
    else:
        print("\n\n".join(map(manual.as_text, found)))
