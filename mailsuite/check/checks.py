"""The table of checks, and running them.

    findings = check_site(site)                 all of them, worst first
    findings = check_site(site, cheap=True)     what `start` looks at: files and a few lists, no tables, no look-ups
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from mailsuite.base.log import logger
from mailsuite.check.certificates import check_certificates, check_signing_keys
from mailsuite.check.domains import check_catch_alls, check_overlaps, check_own_domain
from mailsuite.check.files import check_aliases, check_named_files, check_programs
from mailsuite.check.finding import Finding, Severity
from mailsuite.check.folders import (
    check_configuration_files,
    check_data_directory,
    check_mail_spool,
    check_queue_files,
    check_queue_folders,
)
from mailsuite.check.fulltext import check_fulltext
from mailsuite.check.mailboxes import check_formats, check_locks, check_mailbox_places, check_virtual_owners
from mailsuite.check.plugins import check_plugins
from mailsuite.check.relay import check_mynetworks, check_open_relay
from mailsuite.check.site import Site
from mailsuite.check.sockets import check_lmtp_socket, check_sasl_socket, check_transports
from mailsuite.check.tables import check_list_files, check_table_rights, check_table_types, check_tables

log = logger("check")


class Check(NamedTuple):
    """cheap: `start` runs it too."""

    name: str
    run: Callable[[Site], Iterator[Finding]]
    cheap: bool = False


CHECKS = (
    Check("configuration files", check_configuration_files, cheap=True),
    Check("queue folders", check_queue_folders),
    Check("queue files", check_queue_files),
    Check("data directory", check_data_directory, cheap=True),
    Check("mail spool", check_mail_spool, cheap=True),
    Check("tables", check_tables, cheap=True),
    Check("table types", check_table_types, cheap=True),
    Check("table rights", check_table_rights, cheap=True),
    Check("list files", check_list_files, cheap=True),
    Check("named files", check_named_files, cheap=True),
    Check("programs", check_programs, cheap=True),
    Check("aliases", check_aliases),
    Check("domains", check_overlaps),
    Check("catch-alls", check_catch_alls),
    Check("own domain", check_own_domain),
    Check("certificates", check_certificates),
    Check("signing keys", check_signing_keys),
    Check("open relay", check_open_relay),
    Check("mynetworks", check_mynetworks, cheap=True),
    Check("virtual owners", check_virtual_owners, cheap=True),
    Check("mailbox formats", check_formats, cheap=True),
    Check("mailbox places", check_mailbox_places),
    Check("locks", check_locks),
    Check("full text", check_fulltext),
    Check("plugins", check_plugins, cheap=True),
    Check("sasl socket", check_sasl_socket, cheap=True),
    Check("lmtp socket", check_lmtp_socket, cheap=True),
    Check("transports", check_transports, cheap=True),
)
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def check_site(site: Site, *, cheap: bool = False) -> list[Finding]:
    """What is wrong, without what a strict load refuses (site.errors). Never raises for a fault of the site."""
    found: list[Finding] = []
    for check in CHECKS:
        if check.cheap or not cheap:
            found += _findings(check, site)
    return sorted(found, key=lambda finding: _ORDER[finding.severity])


def _findings(check: Check, site: Site) -> list[Finding]:
    services = logging.getLogger("mailsuite")
    before = services.level
    services.setLevel(logging.CRITICAL)         # what services log of the fault is what the check says
    try:
        return [replace(finding, check=check.name) for finding in check.run(site)]
    except Exception as error:
        # One check that fails must not hide what the others found.
        services.setLevel(before)
        log.exception("unforeseen in the check of %s", check.name)
        return [Finding(Severity.WARNING, f"the check of {check.name} failed: {type(error).__name__}: {error}",
                        check=check.name)]
    finally:
        services.setLevel(before)
