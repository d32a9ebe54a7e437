"""mailsuite dkim, dmarc, spf: keys that sign our mail, and what DNS says of domains.

    mailsuite dkim key DOMAIN       make a key, print what to publish and what to configure
    mailsuite dkim record DOMAIN    print the DNS record of a key again
    mailsuite dkim check [DOMAIN]   compare keys with DNS
    mailsuite dkim verify [FILE]    verify the signatures of a message
    mailsuite dmarc DOMAIN          what the domain asks receivers to do, and where reports go
    mailsuite spf ADDRESS SENDER    whether ADDRESS may send for SENDER

Exit status: 0 good, 1 not good or not found, 2 could not be asked.
"""

import asyncio
import os
import pwd
import re
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from mailsuite.auth_results import params
from mailsuite.auth_results.arc import verify_chain
from mailsuite.auth_results.content import parse_content
from mailsuite.auth_results.dkim import DkimOptions, verify
from mailsuite.auth_results.dkim_key import parse_key
from mailsuite.auth_results.dkim_signature import DkimError
from mailsuite.auth_results.dmarc import discover
from mailsuite.auth_results.keys import KeyUnusable, PrivateKey, dns_record, new_key, read_key, write_key, zone_line
from mailsuite.auth_results.spf import SpfOptions, check_mail_from
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.dns.resolver import DnsError, Resolver
from mailsuite.maps.maps import MapSource, open_maps

T = TypeVar("T")
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*\Z")
SUFFIX = ".key"
MESSAGE_LIMIT = 100 * 1024 * 1024


def _fail(text: str, status: int = 1) -> "SystemExit":
    click.echo(f"mailsuite: {text}", err=True)
    return SystemExit(status)


def _settings(directory: str) -> Settings:
    try:
        return Settings.load(directory, strict=False)
    except ConfigError as error:
        raise _fail(error.public) from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except TemporaryError as error:
        raise _fail(error.detail or error.public, 2) from None


def _checked(name: str, what: str) -> str:
    lower = name.lower().rstrip(".")
    if not _NAME.match(lower) or len(lower) > 253:
        raise _fail(f"{name} is no {what}")
    return lower


# --- keys -----------------------------------------------------------------------------------------------------------

def make_key(settings: Settings, domain: str, selector: str, kind: str, bits: int = 2048) -> tuple[str, PrivateKey]:
    """A new key file below dkim_key_directory, for mail_owner only. Returns its name there and the key.

    Raises FileExistsError, OSError, KeyUnusable.
    """
    directory = Path(settings[params.DKIM_KEY_DIRECTORY])
    name = f"{domain}/{selector}{SUFFIX}"
    path = directory / name
    write_key(path, new_key(kind, bits))
    if os.geteuid() == 0:
        try:
            owner = pwd.getpwnam(settings.text("mail_owner"))
            os.chown(path, owner.pw_uid, owner.pw_gid)
        except KeyError:
            pass            # root's: read before rights are dropped
    return name, read_key(str(path), domain, selector)


def key_command(directory: str, domain: str, selector: str, kind: str, bits: int) -> None:
    """`mailsuite dkim key`."""
    settings = _settings(directory)
    domain, selector = _checked(domain, "domain"), _checked(selector, "selector")
    try:
        name, key = make_key(settings, domain, selector, kind, bits)
    except FileExistsError as error:
        raise _fail(f"{error.filename} exists; choose another --selector for a new key") from None
    except (OSError, KeyUnusable) as error:
        raise _fail(str(error)) from None
    click.echo(f"made {settings[params.DKIM_KEY_DIRECTORY]}/{name}\n")
    click.echo("Publish this in DNS:\n")
    click.echo(_published(key) + "\n")
    table = settings[params.DKIM_SIGN_DOMAINS]
    click.echo(f"Then add this line to the table of dkim_sign_domains ({table or 'not set yet'}), and reload:\n")
    click.echo(f"{domain} {selector}:{name}\n")
    click.echo(f"`mailsuite dkim check {domain}` compares DNS with the key.")


def _published(key: PrivateKey) -> str:
    return zone_line(f"{key.selector}._domainkey.{key.domain}", dns_record(key))


async def _listed(settings: Settings, domain: str) -> str | None:
    maps = open_maps(settings[params.DKIM_SIGN_DOMAINS], MapSource(settings, "mailsuite"))
    return None if maps.empty else await maps.find(domain)


def _keys(settings: Settings, domain: str) -> list[PrivateKey]:
    """Keys of a domain: those the table names, else the files of its folder. Raises KeyUnusable."""
    directory = settings[params.DKIM_KEY_DIRECTORY]
    value = _run(_listed(settings, domain))
    if value is not None:
        words = [word.partition(":") for word in value.replace(",", " ").split()]
        return [read_key(name if name.startswith("/") else f"{directory}/{name}", domain, selector)
                for selector, _, name in words]
    return [read_key(str(path), domain, path.name.removesuffix(SUFFIX))
            for path in sorted(Path(directory, domain).glob(f"*{SUFFIX}"))]


def _keys_of(settings: Settings, domain: str) -> list[PrivateKey]:
    """All domains that have a folder of keys, when none is named."""
    top = Path(settings[params.DKIM_KEY_DIRECTORY])
    domains = [_checked(domain, "domain")] if domain else sorted(path.name for path in top.glob("*") if path.is_dir())
    try:
        found = [key for one in domains for key in _keys(settings, one)]
    except KeyUnusable as error:
        raise _fail(error.public) from None
    if not found:
        raise _fail(f"no key {'of ' + domain if domain else 'in ' + str(top)}; `mailsuite dkim key DOMAIN` makes one")
    return found


def record_command(directory: str, domain: str) -> None:
    """`mailsuite dkim record`."""
    for key in _keys_of(_settings(directory), domain):
        click.echo(_published(key))


def check_command(directory: str, domain: str) -> None:
    """`mailsuite dkim check`: one line a key."""
    settings = _settings(directory)
    keys = _keys_of(settings, domain)
    states = _run(_compare(settings, keys))
    for key, state in zip(keys, states, strict=True):
        click.echo(f"{key.selector}._domainkey.{key.domain}: {state or 'ok'}")
    raise SystemExit(2 if any("not be asked" in state for state in states) else 1 if any(states) else 0)


async def _compare(settings: Settings, keys: list[PrivateKey]) -> list[str]:
    """For each key "" or what is wrong with its record."""
    resolver = Resolver.of(settings)
    return [await _compare_one(resolver, key) for key in keys]


async def _compare_one(resolver: Resolver, key: PrivateKey) -> str:
    try:
        answer = await resolver.txt(f"{key.selector}._domainkey.{key.domain}")
    except DnsError as error:
        return f"DNS could not be asked: {error.why}"
    if not answer:
        return "not in DNS"
    if len(answer.records) > 1:
        return "several records in DNS; there must be one"
    try:
        published = parse_key(answer.records[0])
    except DkimError as error:
        return f"the record in DNS is not valid: {error}"
    own = parse_key(dns_record(key).encode())
    if (published.kind, published.key) != (own.kind, own.key):
        return "DNS has another key"
    return "the record says that the key is for tests (t=y)" if published.testing else ""


def verify_command(directory: str, file: str) -> None:
    """`mailsuite dkim verify`."""
    settings = _settings(directory)
    try:
        with (sys.stdin.buffer if file == "-" else open(file, "rb")) as source:
            content = parse_content(source.read(MESSAGE_LIMIT))
    except OSError as error:
        raise _fail(f"{file}: {error.strerror}") from None

    async def work() -> list[str]:
        resolver, now = Resolver.of(settings), time.time()
        found = await verify(content, resolver, DkimOptions(signatures=50), now)
        arc = await verify_chain(content, resolver, DkimOptions(), now)
        lines = [f"dkim={one.result} d={one.domain} s={one.selector} a={one.algorithm}"
                 + (f" ({one.reason})" if one.reason else "") for one in found] or ["dkim=none"]
        if arc.result != "none":
            lines.append(f"arc={arc.result} sets={arc.sets}" + (f" ({arc.reason})" if arc.reason else ""))
        return lines

    lines = _run(work())
    click.echo("\n".join(lines))
    raise SystemExit(0 if any(line.startswith("dkim=pass") for line in lines) else 1)


# --- DNS ------------------------------------------------------------------------------------------------------------

def dmarc_command(directory: str, domain: str) -> None:
    """`mailsuite dmarc`."""
    settings = _settings(directory)
    domain = _checked(domain, "domain")
    tree_walk = settings[params.DMARC_ORGANIZATIONAL_DOMAIN] == "treewalk"
    found_at, record, policy, organization = _run(discover(domain, Resolver.of(settings), tree_walk=tree_walk))
    click.echo(f"domain: {domain}\norganizational domain: {organization}")
    if record is None:
        click.echo("no DMARC record")
        raise SystemExit(1)
    click.echo(f"record of: _dmarc.{found_at}\npolicy for this domain: {policy}"
               f"\nalignment: dkim {'strict' if record.strict_dkim else 'relaxed'}, "
               f"spf {'strict' if record.strict_spf else 'relaxed'}"
               f"\npercent: {record.percent}\naggregate reports to: {', '.join(record.aggregate) or '-'}"
               f"\nfailure reports to: {', '.join(record.failures) or '-'}")


def spf_command(directory: str, address: str, sender: str, helo: str) -> None:
    """`mailsuite spf`."""
    settings = _settings(directory)
    options = SpfOptions(settings[params.SPF_LOOKUP_LIMIT], settings[params.SPF_VOID_LOOKUP_LIMIT],
                         settings[params.AUTH_RESULTS_TIMEOUT], settings[params.AUTH_RESULTS_HOSTNAME])
    name = helo or sender.rpartition("@")[2]
    result = _run(check_mail_from(Resolver.of(settings), address, sender if "@" in sender else f"postmaster@{sender}",
                                  name, options))
    by = f"by {result.mechanism}" if result.mechanism else ""
    more = [text for text in (by, result.problem, result.explanation) if text]
    click.echo(result.result + (f" ({'; '.join(more)})" if more else ""))
    raise SystemExit(0 if result.result == "pass" else 2 if result.result == "temperror" else 1)
