"""From settings to processes and sockets.

    make_plan(settings, entries, dovecot) -> list[ServicePlan]      raises ConfigErrors, with file and line

A plan has no descriptors and can be compared with the last one, so that a reload changes only what changed.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.interfaces import ip_versions
from mailsuite.master.accounts import Accounts
from mailsuite.master.params import MASTER_SERVICE_DISABLE
from mailsuite.master.services import ACCESS, COMMANDS, LIBRARY, MISSING, PASSABLE, ServiceKind
from mailsuite.net.params import TCP_WINDOWSIZE

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings, Section
    from mailsuite.config.mastercf import MasterEntry
    from mailsuite.config.settings import Settings

DEFAULT_PROCESS_LIMIT = 100


@dataclass(frozen=True)
class SocketSpec:
    """One socket to listen on. kind: "inet", "unix", "pass" or "unix-dgram"; owner: (uid, gid) or None to leave it."""

    kind: str
    name: str
    address: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o666
    owner: tuple[int, int] | None = None
    tls: bool = False
    haproxy: bool = False
    window: int = 0             # tcp_windowsize

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes two specifications the same socket."""
        return self.kind, self.path or self.address, self.port


@dataclass
class ServicePlan:
    """One service as it shall run. key tells it from others across a reload."""

    key: str
    name: str
    command: str
    kind: ServiceKind
    settings: "Settings"
    sockets: list[SocketSpec] = field(default_factory=list)
    processes: int = 1
    process_limit: int = DEFAULT_PROCESS_LIMIT
    user: tuple[str, int, int] | None = None       # name, uid, gid; None: keep the rights of the master
    arguments: list[str] = field(default_factory=list)
    wakeup_s: int = 0
    library: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def program(self) -> str:
        """As Postfix's master calls it in its log, where pflogsumm and its kind look for it."""
        return f"{self.settings.text('daemon_directory')}/{self.command}" if self.command in COMMANDS else self.command


def cores() -> int:
    return len(os.sched_getaffinity(0))


def accepting_processes() -> int:
    """Processes of one smtpd service: one core is left to the queue and the deliveries (docs/decisions.md)."""
    return max(1, cores() - 1)


def make_plan(settings: "Settings", entries: "list[MasterEntry]", dovecot: "DovecotSettings | None",
              accounts: Accounts) -> list[ServicePlan]:
    """Plan every service of master.cf and dovecot.conf. Raises ConfigErrors."""
    errors: list[ConfigError] = []
    plans: list[ServicePlan] = []
    overrides = {entry.name: dict(entry.overrides) for entry in entries if entry.command in LIBRARY}
    disabled = settings[MASTER_SERVICE_DISABLE]
    for entry in entries:
        if _is_disabled(entry, disabled):
            continue
        try:
            plan = _mail_service(entry, settings, accounts)
        except ConfigError as error:
            errors.append(error)
            continue
        if plan is not None:
            plan.library = overrides
            plans.append(plan)
    if dovecot is not None:
        try:
            plans += _access_services(settings, dovecot, accounts)
        except ConfigErrors as several:
            errors += several.errors
        except ConfigError as error:
            errors.append(error)
    errors += _conflicts(plans)
    if errors:
        raise ConfigErrors(errors)
    return plans


def _is_disabled(entry: "MasterEntry", patterns: Sequence[str]) -> bool:
    """Whether master_service_disable names the service: "inet", "smtp/inet"; "!smtp/inet" in front spares it."""
    for pattern in patterns:
        if pattern.removeprefix("!") in (entry.type, f"{entry.name}/{entry.type}"):
            return not pattern.startswith("!")
    return False


def _conflicts(plans: list[ServicePlan]) -> list[ConfigError]:
    """Two services that want one socket."""
    seen: dict[tuple[str, str, int], str] = {}
    errors = []
    for plan in plans:
        for spec in plan.sockets:
            other = seen.setdefault(spec.key, plan.key)
            if other != plan.key:
                where = spec.path or f"{spec.address}:{spec.port}"
                errors.append(ConfigError(f"services {other} and {plan.key} both listen on {where}"))
    return errors


def _mail_service(entry: "MasterEntry", settings: "Settings", accounts: Accounts) -> ServicePlan | None:
    """One line of master.cf; None for what is a library call here or is switched off."""
    where = f"{entry.file}, line {entry.line}: "
    if entry.command in LIBRARY:
        return None
    if entry.command in MISSING:
        raise ConfigError(f"{where}service \"{entry.command}\" is not implemented (see docs/differences.md)")
    kind = COMMANDS.get(entry.command)
    if kind is None:
        raise ConfigError(f"{where}unknown command name \"{entry.command}\"")
    if entry.type == "pass" and entry.command not in PASSABLE:
        raise ConfigError(f"{where}service type \"pass\": only {', '.join(sorted(PASSABLE))} can take sockets so")
    own = settings.with_overrides(dict(entry.overrides)) if entry.overrides else settings
    limit = entry.maxproc if entry.maxproc is not None else int(settings.text("default_process_limit"))
    processes = 1
    if kind.spread:
        processes = accepting_processes() if limit == 0 else max(1, min(accepting_processes(), limit))
    # No network-facing code of ours runs with root's rights, whatever the unpriv column says.
    user = None if kind.root else accounts.mail_owner
    try:
        sockets = list(_mail_sockets(entry, own, accounts))
    except ConfigError as error:
        raise ConfigError(where + error.public) from error
    return ServicePlan(key=f"{entry.name}/{entry.type}", name=entry.name, command=entry.command, kind=kind,
                       settings=own, sockets=sockets, processes=processes, process_limit=limit, user=user,
                       arguments=list(entry.arguments), wakeup_s=entry.wakeup_s)


def _mail_sockets(entry: "MasterEntry", settings: "Settings", accounts: Accounts) -> Iterator[SocketSpec]:
    if entry.type == "inet":
        host, port = _host_and_port(entry.name)
        tls = settings.text("smtpd_tls_wrappermode").lower() == "yes" and entry.command == "smtpd"
        haproxy = entry.command == "smtpd" and settings.text("smtpd_upstream_proxy_protocol") == "haproxy"
        for address in [host] if host else interfaces(settings):
            yield SocketSpec("inet", entry.name, address=address, port=port, tls=tls, haproxy=haproxy,
                             window=settings[TCP_WINDOWSIZE])
        return
    folder = "private" if entry.private else "public"
    yield SocketSpec(entry.type if entry.type in ("unix-dgram", "pass") else "unix", entry.name,
                     path=os.path.join(settings.text("queue_directory"), folder, entry.name),
                     owner=accounts.owner_of_sockets)


def _host_and_port(name: str) -> tuple[str, int]:
    """"smtp", "127.0.0.1:2525", "[::1]:25"."""
    host, _, service = name.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if service.isdigit():
        port = int(service)
    else:
        try:
            port = socket.getservbyname(service, "tcp")
        except OSError:
            known = {"smtps": 465, "submissions": 465, "submission": 587, "smtp": 25}
            if service not in known:
                raise ConfigError(f"unknown service name \"{service}\"") from None
            port = known[service]
    if not 0 < port < 65536:
        raise ConfigError(f"bad port number \"{service}\"")
    return host, port


def interfaces(settings: "Settings") -> list[str]:
    """The addresses of inet_interfaces, filtered by inet_protocols. Raises ConfigError for an unknown protocol and a
    name without address."""
    versions = ip_versions(settings.text("inet_protocols"))
    four, six = 4 in versions, 6 in versions and has_ipv6()
    found: list[str] = []
    for word in settings.text("inet_interfaces").replace(",", " ").split():
        if word == "all":
            found += ["0.0.0.0"] * four + ["::"] * six
        elif word == "loopback-only":
            found += ["127.0.0.1"] * four + ["::1"] * six
        else:
            found += _resolved(word.removeprefix("[").removesuffix("]"), four, six)
    return list(dict.fromkeys(found))


def _resolved(word: str, four: bool, six: bool) -> list[str]:
    try:
        answers = socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)
    except OSError:
        raise ConfigError(f"parameter inet_interfaces: host not found: {word}") from None
    families = {socket.AF_INET: four, socket.AF_INET6: six}
    return [str(answer[4][0]) for answer in answers if families.get(answer[0], False)]


def has_ipv6() -> bool:
    """Whether a socket can be bound to an IPv6 address on this machine."""
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


# --- dovecot.conf ------------------------------------------------------------------------------------------------


def _access_services(settings: "Settings", dovecot: "DovecotSettings", accounts: Accounts) -> list[ServicePlan]:
    base_dir = dovecot.text("base_dir")
    protocols = dovecot.text("protocols").split()
    plans = [_unix_service("auth", settings, dovecot, base_dir, accounts)]
    logins = [name for name in LOGINS if name in protocols]
    programs = {section.name: section.text("executable").split() for section in dovecot.sections("service")}
    status = [name for name, words in programs.items() if words[:1] == ["quota-status"]]
    if logins or "lmtp" in protocols or status:
        access = _unix_service("access", settings, dovecot, base_dir, accounts)
        access.sockets += [SocketSpec("unix", name, path=os.path.join(base_dir, name), mode=0o660,
                                      owner=accounts.login_sockets) for name in logins]
        if "lmtp" in protocols or status:
            internal = accounts.internal_user
            access.sockets.append(SocketSpec("unix", "lmtp-delivery", path=os.path.join(base_dir, "lmtp-delivery"),
                                             mode=0o600, owner=internal[1:] if internal else None))
        if "imap" in logins:
            access.sockets.append(SocketSpec("unix", "imap-urlauth", path=os.path.join(base_dir, "imap-urlauth"),
                                             mode=0o666))
        if "lmtp" in protocols:
            plans.append(_lmtp_service(settings, dovecot, base_dir, accounts))
        plans.append(access)
    asked = [_program_service(name, "quota-status", settings, dovecot, accounts) for name in status]
    asked += [_script_service(name, words[1:], settings, dovecot, accounts)
              for name, words in programs.items() if words[:1] == ["script"]]
    plans += [plan for plan in asked if plan.sockets]
    if logins:
        _refuse_plugins(dovecot)
    for protocol in logins:
        plans.append(_login_service(protocol, settings, dovecot, accounts))
    return plans


def _plain(name: str, settings: "Settings", user: tuple[str, int, int] | None, command: str = "") -> ServicePlan:
    command = command or name
    return ServicePlan(key=f"{name}/access", name=name, command=command, kind=ACCESS[command], settings=settings,
                       user=user)


def _unix_service(name: str, settings: "Settings", dovecot: "DovecotSettings", base_dir: str,
                  accounts: Accounts, command: str = "") -> ServicePlan:
    """A service whose sockets are the unix_listener sections of its `service NAME { }`."""
    plan = _plain(name, settings, None if ACCESS[command or name].root else accounts.login_user, command)
    section = dovecot.section("service", name)
    for listener in section.sections("unix_listener") if section is not None else []:
        mode = listener.number("mode")
        if mode == 0:
            continue                    # Dovecot's way of switching a listener off
        plan.sockets.append(SocketSpec("unix", listener.name, path=os.path.join(base_dir, listener.name), mode=mode,
                                       owner=accounts.listener_owner(listener.text("user"), listener.text("group"),
                                                                     dovecot)))
    return plan


def _login_service(protocol: str, settings: "Settings", dovecot: "DovecotSettings", accounts: Accounts) -> ServicePlan:
    name = f"{LOGINS[protocol]}-login"
    plan = _plain(name, settings, accounts.login_user)
    section = dovecot.section("service", name)
    plan.process_limit = _login_places(section, dovecot)
    # Few places are kept in one process, which then knows who has waited longest.
    plan.processes = 1 if 0 < plan.process_limit < FEW_PLACES else cores()
    plan.sockets += _inet_listeners(section, dovecot)
    return plan


FEW_PLACES = 256
# Protocols with a login, and the first half of its service's name.
LOGINS = {"imap": "imap", "pop3": "pop3", "sieve": "managesieve"}


def _refuse_plugins(dovecot: "DovecotSettings") -> None:
    """What would let fewer in than we do. Raises ConfigError."""
    for name in ("login_access_sockets", "login_plugins"):
        if dovecot.text(name).strip():
            raise ConfigError(f"{dovecot.where(name) or dovecot.path}: {name} is not supported: nobody would be kept "
                              "out by it (see docs/differences.md)")


def _login_places(section: "Section | None", dovecot: "DovecotSettings") -> int:
    """Connections of a login service at once, as Dovecot counts them; 0 where nothing limits them.

    With service_count = 1 each of Dovecot's processes serves a single client, whatever client_limit says.
    """
    if section is None or not (section.is_set("process_limit") or section.is_set("client_limit")
                               or dovecot.is_set("default_process_limit") or dovecot.is_set("default_client_limit")):
        return 0
    processes = _number(section, "process_limit") or int(dovecot.text("default_process_limit"))
    clients = _number(section, "client_limit") or int(dovecot.text("default_client_limit"))
    return processes * (1 if _number(section, "service_count") == 1 else clients)


def _lmtp_service(settings: "Settings", dovecot: "DovecotSettings", base_dir: str, accounts: Accounts) -> ServicePlan:
    """The LMTP server. It never runs as root, whatever `user` of its section says: it reads what peers send."""
    plan = _unix_service("lmtp", settings, dovecot, base_dir, accounts)
    own = dovecot.for_protocol("lmtp")
    if own.flag("lmtp_proxy"):
        raise ConfigError(f"{dovecot.path}: lmtp_proxy = yes: LMTP is not passed on to other servers "
                          "(see docs/differences.md); Postfix's transport_maps can bring mail there")
    # Who counts a user's deliveries must see all of them.
    plan.user, plan.processes = accounts.internal_user, 1 if own.number("lmtp_user_concurrency_limit") else cores()
    section = dovecot.section("service", "lmtp")
    processes = _number(section, "process_limit") or int(dovecot.text("default_process_limit"))
    plan.process_limit = max(1, _number(section, "client_limit")) * processes
    plan.sockets += _inet_listeners(section, dovecot)
    return plan


def _program_service(name: str, command: str, settings: "Settings", dovecot: "DovecotSettings",
                     accounts: Accounts) -> ServicePlan:
    """What a `service NAME { executable = COMMAND ... }` asks for, as its `user` or default_internal_user."""
    plan = _unix_service(name, settings, dovecot, dovecot.text("base_dir"), accounts, command)
    section = dovecot.section("service", name)
    plan.user = accounts.internal_user
    clients = _number(section, "client_limit") or int(dovecot.text("default_client_limit"))
    processes = _number(section, "process_limit") or int(dovecot.text("default_process_limit"))
    plan.process_limit = min(clients * processes, PROGRAM_CONNECTIONS)
    plan.sockets += _inet_listeners(section, dovecot)
    return plan


def _script_service(name: str, words: list[str], settings: "Settings", dovecot: "DovecotSettings",
                    accounts: Accounts) -> ServicePlan:
    """executable = script [OPTIONS] PROGRAM ARGUMENTS. Raises ConfigError."""
    while words[:1] and words[0].startswith("-"):
        del words[:2 if words[0] == "-e" else 1]        # -e NAMES, -p: of the program's environment, of its errors
    if not words:
        raise ConfigError(f"{dovecot.path}: service {name}: executable = script: which program?")
    plan = _program_service(name, "script", settings, dovecot, accounts)
    section = dovecot.section("service", name)
    if section is not None and section.text("user") and accounts.privileged:
        plan.user = accounts.user(section.text("user"), dovecot)
    plan.arguments = words
    return plan


PROGRAM_CONNECTIONS = 1000


def _inet_listeners(section: "Section | None", dovecot: "DovecotSettings") -> Iterator[SocketSpec]:
    tls_on = dovecot.text("ssl") != "no"
    for listener in section.sections("inet_listener") if section is not None else []:
        port = listener.number("port")
        ssl = listener.flag("ssl")
        if port == 0 or (ssl and not tls_on):
            continue
        addresses = (listener.text("address") or dovecot.text("listen")).replace(",", " ").split()
        for address in addresses:
            bound = {"*": "0.0.0.0", "[::]": "::"}.get(address, address.removeprefix("[").removesuffix("]"))
            if ":" in bound and not has_ipv6():
                continue
            yield SocketSpec("inet", listener.name, address=bound, port=port, tls=ssl, haproxy=listener.flag("haproxy"))


def _number(section: "Section | None", name: str) -> int:
    text = section.text(name) if section is not None else ""
    return int(text) if text.isdigit() else 0
