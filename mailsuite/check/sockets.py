"""Sockets by which the parts find each other: SASL, LMTP, and transports that master.cf does not have."""

import os
from collections.abc import Iterator

from mailsuite.check.finding import Finding, error, warning
from mailsuite.check.site import Site
from mailsuite.maps.maps import split_specs
from mailsuite.rewrite.transport import split_transport

TRANSPORTS = ("local_transport", "virtual_transport", "relay_transport", "default_transport", "mailbox_transport",
              "fallback_transport", "content_filter")


def listeners(site: Site, service: str) -> list[str]:
    """Paths of a service's Unix sockets in dovecot.conf."""
    if site.dovecot is None:
        return []
    section = site.dovecot.section("service", service)
    base = site.dovecot.text("base_dir")
    return [os.path.join(base, one.name) for one in (section.sections("unix_listener") if section is not None else [])
            if one.number("mode") != 0]


def check_sasl_socket(site: Site) -> Iterator[Finding]:
    """smtpd_sasl_path must be a listener of Dovecot's auth service, and mail_owner must reach it."""
    told: set[str] = set()
    for entry, own in site.services("smtpd"):
        if own.text("smtpd_sasl_auth_enable") != "yes":
            continue
        if (kind := own.text("smtpd_sasl_type")) != "dovecot":
            if kind not in told:
                yield error(f"smtpd_sasl_type {kind} is not available: {entry.name}/{entry.type} does not start",
                            site.service_place(entry, "smtpd_sasl_type"),
                            "smtpd_sasl_type = dovecot, smtpd_sasl_path = private/auth and a listener of that path in "
                            "dovecot.conf")
            told.add(kind)
            continue
        path = own.text("smtpd_sasl_path").removeprefix("unix:")
        if path in told or path.startswith("inet:"):
            continue
        told.add(path)
        place = site.service_place(entry, "smtpd_sasl_path")
        whole = path if path.startswith("/") else f"{own.text('queue_directory')}/{path}"
        if site.dovecot is None:
            # A dovecot.conf that cannot be read is told of by the strict load.
            if not os.path.exists(whole) and not os.path.exists(f"{site.directory}/dovecot.conf"):
                yield warning(f"smtpd_sasl_path {path}: there is no {whole}, and no dovecot.conf beside main.cf that "
                              "makes it: nobody can log in", place,
                              f"put a dovecot.conf into {site.directory}, or a link to it")
            continue
        known = listeners(site, "auth")
        if os.path.normpath(whole) not in map(os.path.normpath, known):
            owner = site.text("mail_owner")
            yield error(f"smtpd_sasl_path {path}: {site.dovecot.path} has no listener {whole}: nobody can log in to "
                        "send mail", place,
                        f"service auth {{ unix_listener {whole} {{ mode = 0660 user = {owner} group = {owner} }} }}\n"
                        f"in {site.dovecot.path}")
        elif site.privileged:
            yield from _reachable(site, whole)


def _reachable(site: Site, whole: str) -> Iterator[Finding]:
    assert site.dovecot is not None
    section = site.dovecot.section("service", "auth")
    for listener in section.sections("unix_listener") if section is not None else []:
        if os.path.normpath(os.path.join(site.dovecot.text("base_dir"), listener.name)) != os.path.normpath(whole):
            continue
        owner, mode = site.text("mail_owner"), listener.number("mode")
        user, group = listener.text("user"), listener.text("group")
        if not (mode & 0o006 == 0o006 or (user == owner and mode & 0o600 == 0o600)
                or (group == owner and mode & 0o060 == 0o060)):
            yield error(f"the listener {whole} (mode {mode:04o}, user {user or 'root'}, group {group or 'root'}) is "
                        f"closed to {owner}: nobody can log in to send mail", (site.dovecot.path, 0),
                        f"mode = 0660, user = {owner}, group = {owner} in unix_listener {whole}")


def check_lmtp_socket(site: Site) -> Iterator[Finding]:
    """lmtp:unix:PATH of a transport, against Dovecot's LMTP listener."""
    if site.dovecot is None:
        return
    known = {os.path.normpath(path) for path in listeners(site, "lmtp")}
    speaks = "lmtp" in site.dovecot.words("protocols")
    for name, text, place in site.parameters():
        if name not in TRANSPORTS:
            continue
        transport, nexthop = split_transport(text)
        if transport != "lmtp" or not nexthop.startswith("unix:"):
            continue
        path = nexthop.removeprefix("unix:")
        whole = os.path.normpath(path if path.startswith("/") else f"{site.text('queue_directory')}/{path}")
        if whole in known and not speaks:
            yield error(f"{name} = {text}: lmtp is not among protocols of {site.dovecot.path}: mail waits",
                        site.dovecot_place("protocols"), f"protocols = {site.dovecot.text('protocols')} lmtp")
        elif whole not in known and not os.path.exists(whole):
            yield error(f"{name} = {text}: nobody listens on {whole}: mail waits", place,
                        f"service lmtp {{ unix_listener {whole} {{ mode = 0660 user = {site.text('mail_owner')} }} }}\n"
                        f"in {site.dovecot.path}")


def check_transports(site: Site) -> Iterator[Finding]:
    """Transports of main.cf that master.cf does not have: their mail waits."""
    services = {entry.name for entry in site.entries if entry.type == "unix"}
    if not services:
        return                  # no master.cf: a strict load tells that
    given = [(name, text, place) for name, text, place in site.parameters() if name in TRANSPORTS and text]
    for name, text, place in given:
        transport = split_transport(text).transport
        if transport and transport not in services and "$" not in transport:
            yield error(f"{name} = {text}: master.cf has no service {transport}: mail waits", place,
                        f"a line \"{transport} unix - - n - - ...\" in {site.directory}/master.cf")
    for spec in split_specs(site.text("transport_maps")):
        yield from _table_transports(site, spec, services)


def _table_transports(site: Site, spec: str, services: set[str]) -> Iterator[Finding]:
    from mailsuite.maps.sources import key_and_value, logical_lines, read_text
    from mailsuite.maps.table import TableError
    kind, _, path = spec.partition(":")
    if kind not in ("hash", "btree", "lmdb", "cdb", "texthash") or not path.startswith("/"):
        return
    try:
        lines = list(logical_lines(read_text(path)))
    except TableError:
        return                  # check_tables tells that
    told: set[str] = set()
    for line in lines:
        transport = split_transport(key_and_value(line.text)[1]).transport
        if transport and transport not in services and transport not in told:
            told.add(transport)
            yield warning(f"transport {transport}: master.cf has no service of that name: mail waits",
                          (path, line.number),
                          f"a line \"{transport} unix - - n - - ...\" in {site.directory}/master.cf")
