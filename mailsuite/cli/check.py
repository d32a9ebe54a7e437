"""mailsuite check, postfix check: what is wrong with a site, all in one go.

    mailsuite -c DIR check [--json]     exit status 1 when there are errors, else 0

`postfix check` prints the same; where Postfix's own has a line for a fault, that line is printed as Postfix prints it.
"""

import json
import logging
import sys
from typing import TYPE_CHECKING

import click

from mailsuite.base import log
from mailsuite.base.errors import ConfigError

if TYPE_CHECKING:
    from mailsuite.check.finding import Finding
    from mailsuite.check.site import Site


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs; docs/check.md names the fields.")
@click.pass_obj
def check(directory: str, as_json: bool) -> None:
    """Say all that is wrong with the configuration, its files and what they name."""
    raise SystemExit(check_command(directory, as_json=as_json))


def check_command(directory: str, *, as_json: bool = False, postfix: bool = False) -> int:
    """Print findings; the exit status. postfix: in the words of `postfix check`, where it has any."""
    from mailsuite.check.finding import Finding, Severity
    from mailsuite.check.site import Site

    log.setup_stderr("mailsuite")
    try:
        site = Site.load(directory)
    except ConfigError as error:
        findings = [Finding(Severity.ERROR, line, check="configuration") for line in error.public.split("\n")]
    else:
        findings = [Finding(Severity.ERROR, error.public, check="configuration") for error in site.errors]
        findings += [Finding(Severity.WARNING, text, check="configuration") for text in site.warnings]
        findings += [Finding(Severity.NOTE, text, check="configuration") for text in site.notes]
        findings += _looked_at(site)
    if as_json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        for finding in findings:
            _print(finding, postfix)
    return 1 if any(finding.severity is Severity.ERROR for finding in findings) else 0


def _looked_at(site: "Site") -> "list[Finding]":
    """Without what auth_verbose logs of the users that are looked for."""
    from mailsuite.check.checks import check_site

    access = logging.getLogger(log.ACCESS)
    before = access.level
    access.setLevel(logging.WARNING)
    try:
        return check_site(site)
    finally:
        access.setLevel(before)


def _print(finding: "Finding", postfix: bool) -> None:
    if postfix and finding.postfix:
        print(f"postfix/postfix-script: warning: {finding.postfix}", file=sys.stderr)
        return
    word = "fatal: " if finding.check == "configuration" and finding.severity.value == "error" else ""
    lines = [f"{word}{finding.where}{finding.text}", *finding.lines()[1:]] if word else finding.lines()
    print(f"mailsuite: {lines[0]}", *lines[1:], sep="\n", file=sys.stderr)
