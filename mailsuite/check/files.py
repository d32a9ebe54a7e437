"""Files and programs that the configuration names and that are not there: authorities, programs of pipe and of aliases,
:include: lists; and an alias file without the alias that every site needs.
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator

from mailsuite.base.errors import ConfigError
from mailsuite.check.finding import Finding, error, warning
from mailsuite.check.site import Site
from mailsuite.check.sockets import TRANSPORTS
from mailsuite.check.tables import named_tables
from mailsuite.deliver.aliases import Kind, parse_destinations
from mailsuite.deliver.pipe import parse_options
from mailsuite.maps.sources import AliasError, alias_and_value, logical_lines, read_text
from mailsuite.maps.table import TableError

# Parameters whose value is a file or folder ("none" and "" are neither).
NAMED_FILES = ("smtpd_tls_CAfile", "smtpd_tls_CApath", "smtp_tls_CAfile", "smtp_tls_CApath", "smtp_tls_cert_file",
               "smtp_tls_key_file", "lmtp_tls_CAfile", "lmtp_tls_CApath", "bounce_template_file",
               "smtpd_tls_dh1024_param_file")
ALIAS_FILE_LIMIT = 16 << 20


def check_named_files(site: Site) -> Iterator[Finding]:
    """Authorities, templates."""
    for name in NAMED_FILES:
        path = site.text(name).strip()
        if site.settings.is_set(name) and path.startswith("/") and not os.path.exists(path):
            yield error(f"{name}: {path} does not exist", site.place(name), f"make {path}, or remove {name}")


def check_programs(site: Site) -> Iterator[Finding]:
    """Commands of master.cf's pipe services and of main.cf. A master.cf has examples that nobody uses."""
    for entry, own in site.services("pipe"):
        if not _is_used(site, entry.name):
            continue
        place = (entry.file, entry.line)
        try:
            options = parse_options(list(entry.arguments), own.text("mail_owner"))
        except ConfigError as wrong:
            yield error(f"{entry.name}: {wrong.public}", place, "see pipe(8) for the line's form")
            continue
        if not _is_program(options.argv[0]):
            yield error(f"{entry.name}: the program {options.argv[0]} does not exist or cannot be executed", place,
                        f"install {options.argv[0]}, or put another after argv=")
    for name in ("mailbox_command",):
        command = site.settings.raw(name)
        if command and (program := _program_of(command)) and not _is_program(program):
            yield error(f"{name}: the program {program} does not exist or cannot be executed", site.place(name),
                        f"install {program}, or remove {name}")


def _is_used(site: Site, transport: str) -> bool:
    """Whether a parameter or a table names the transport."""
    pattern = re.compile(rf"(?<![\w.:/-]){re.escape(transport)}:")
    for name, text, _ in site.parameters():
        if pattern.search(text) or (text == transport and name in TRANSPORTS):
            return True
    for _, _, path, _ in named_tables(site):
        try:
            if os.path.getsize(path) <= ALIAS_FILE_LIMIT and pattern.search(read_text(path)):
                return True
        except (OSError, TableError):
            continue
    return False


def _program_of(command: str) -> str:
    """The absolute path that a shell command begins with; "" when it begins otherwise."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return words[0] if words and words[0].startswith("/") and "$" not in words[0] else ""


def _is_program(path: str) -> bool:
    found = path if "/" in path else shutil.which(path) or ""
    return os.path.isfile(found) and os.access(found, os.X_OK)


def check_aliases(site: Site) -> Iterator[Finding]:
    """Lines that make no sense, missing :include: files and programs, and no postmaster."""
    paths = {path: place for name, kind, path, place in named_tables(site)
             if name == "alias_maps" and kind in ("hash", "btree", "lmdb", "cdb")}
    names: set[str] = set()
    for path in paths:
        try:
            if os.path.getsize(path) > ALIAS_FILE_LIMIT:
                return
            text = read_text(path)
        except (OSError, TableError):
            return                          # tables.py tells that
        for line in logical_lines(text):
            try:
                name, value = alias_and_value(line.text)
            except AliasError as wrong:
                yield warning(f"{wrong}: the line is not used", (path, line.number), "name: address, address")
                continue
            names.add(name.lower())
            yield from _destinations(name, value, (path, line.number))
    if paths and "postmaster" not in names and site.words("mydestination") and not _elsewhere(site):
        path = next(iter(paths))
        yield warning("no alias for postmaster, whom RFC 5321 requires", (path, 0),
                      f"postmaster: root\nin {path}, then newaliases")


def _elsewhere(site: Site) -> bool:
    """Whether postmaster may be known to another table."""
    others = re.findall(r"[a-z]+:\S+", site.text("alias_maps"))
    return len(others) > 1 and any(not spec.startswith(("hash:", "btree:", "lmdb:", "nis:")) for spec in others)


def _destinations(name: str, value: str, place: tuple[str, int]) -> Iterator[Finding]:
    for destination in parse_destinations(value):
        match destination.kind:
            case Kind.INCLUDE if not os.path.exists(destination.text):
                yield error(f"alias {name}: the file {destination.text} does not exist", place,
                            f"make {destination.text}, or take :include:{destination.text} out")
            case Kind.COMMAND if (program := _program_of(destination.text)) and not _is_program(program):
                yield error(f"alias {name}: the program {program} does not exist or cannot be executed", place,
                            f"install {program}, or take the command out")
            case Kind.FILE if not os.path.isdir(os.path.dirname(destination.text.rstrip("/")) or "/"):
                yield warning(f"alias {name}: the folder of {destination.text} does not exist", place,
                              f"mkdir -p {os.path.dirname(destination.text.rstrip('/'))}")
