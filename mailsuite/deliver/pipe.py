"""pipe(8): the message goes to a command that master.cf names, `flags=Rq user=vmail argv=/usr/bin/tool ${sender}`.

    options = parse_options(["flags=Rq", "user=vmail", "argv=/usr/bin/tool", "${sender}"])       raises ConfigError
    options.arguments(request, delimiter)                 the command's arguments, macros expanded

One command per request, for all its recipients: an argument with a recipient macro comes once for each. The command is
executed without a shell, as user= says and never as root or mail_owner. Exit statuses: deliver/exits.py.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import structs

from mailsuite.address.syntax import quote_local, split_domain, split_extension
from mailsuite.base.errors import ConfigError, MailError
from mailsuite.config.settings import Settings
from mailsuite.deliver import command
from mailsuite.deliver import params as p
from mailsuite.deliver.agent import CONFIGURATION_ERROR, Job, serve_agent
from mailsuite.deliver.environment import DEFAULT_PATH, exported_environment
from mailsuite.deliver.exits import judge
from mailsuite.deliver.headers import delivered_to, delivery_header
from mailsuite.deliver.run_as import Forbidden, Unknown, forbidden, identity_of
from mailsuite.net.privileges import Identity
from mailsuite.net.service import ServiceContext
from mailsuite.net.workers import WorkerPool, serve_requests
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT, DeliveryRequest
from mailsuite.queue.envelope import Recipient
from mailsuite.queue.params import ENABLE_ORIGINAL_RECIPIENT
from mailsuite.store.delivery import from_line

FLAGS = frozenset("BDFORXhqu.>")
_MACRO = re.compile(r"\$(?:(\$)|\{([^{}]+)\}|\(([^()]+)\)|(\w+))")
_ESCAPE = re.compile(r"\\([abfnrtv\\]|[0-7]{1,3})")
_FORBIDDEN = {Forbidden.ROOT: "root privileges", Forbidden.ROOT_GROUP: "privileged group id 0",
              Forbidden.MAIL_OWNER: "mail system owner OWNER"}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\"}


@dataclass(frozen=True)
class Options:
    """One service's command line."""

    identity: Identity
    argv: tuple[str, ...]
    flags: frozenset[str] = frozenset()
    directory: str = ""
    chroot: str = ""
    eol: str = "\n"
    null_sender: str = "MAILER-DAEMON"
    size: int = 0
    shown: str = field(default="", compare=False)

    def arguments(self, request: DeliveryRequest, delimiter: str) -> list[str]:
        """The argument list of one request. Raises ConfigError for an unknown macro."""
        common = self._common(request)
        each = [self._of_recipient(recipient, delimiter) for recipient in request.recipients]
        out: list[str] = []
        for argument in self.argv:
            if any(name in RECIPIENT_MACROS for name in _names(argument)):
                out += [_expand(argument, common | values) for values in each]
            else:
                out.append(_expand(argument, common | (each[0] if each else {})))
        return out

    @property
    def has_root(self) -> bool:
        """Whether the folder of chroot= is there."""
        return not self.chroot or os.path.isdir(self.chroot)

    def sender(self, request: DeliveryRequest) -> str:
        return request.sender or self.null_sender

    def _common(self, request: DeliveryRequest) -> dict[str, str]:
        facts, fold = request.facts, "h" in self.flags
        sender = self.sender(request)
        return {"sender": quote_local(sender) if "q" in self.flags else sender, "queue_id": request.queue_id,
                "nexthop": request.nexthop.lower() if fold else request.nexthop, "size": str(request.size),
                "client_address": facts.get("client_address", ""), "client_helo": facts.get("helo_name", ""),
                "client_hostname": facts.get("client_name", ""), "client_port": facts.get("client_port", ""),
                "client_protocol": facts.get("protocol_name", ""), "sasl_method": facts.get("sasl_method", ""),
                "sasl_sender": facts.get("sasl_sender", ""), "sasl_username": facts.get("sasl_username", ""),
                "envid": request.envid}

    def _of_recipient(self, recipient: Recipient, delimiter: str) -> dict[str, str]:
        address = self._fold(recipient.address)
        local, domain = split_domain(address)
        user, extension = split_extension(local, delimiter)
        return {"recipient": self._quote(address), "mailbox": local, "user": user, "extension": extension[1:],
                "original_recipient": self._quote(self._fold(recipient.original or recipient.address)),
                "domain": domain}

    def _fold(self, address: str) -> str:
        local, domain = split_domain(address)
        local = local.lower() if "u" in self.flags else local
        domain = domain.lower() if "h" in self.flags else domain
        return f"{local}@{domain}" if domain else local

    def _quote(self, address: str) -> str:
        return quote_local(address) if "q" in self.flags else address


RECIPIENT_MACROS = frozenset({"recipient", "original_recipient", "user", "extension", "mailbox"})
MACROS = RECIPIENT_MACROS | {"sender", "nexthop", "size", "domain", "queue_id", "client_address", "client_helo",
                             "client_hostname", "client_port", "client_protocol", "sasl_method", "sasl_sender",
                             "sasl_username", "envid"}


def _names(argument: str) -> list[str]:
    return [next((name for name in match.group(2, 3, 4) if name), "") for match in _MACRO.finditer(argument)]


def _expand(argument: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        return "$" if match[1] else values[match[2] or match[3] or match[4]]

    return _MACRO.sub(value, argument)


def parse_options(words: list[str], mail_owner: str = "") -> Options:
    """Read a command line. Raises ConfigError: unknown words, no user=, root, mail_owner."""
    options = Options(Identity(0, 0), ())
    for number, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "argv" and equals:
            argv = (*([value] if value else []), *words[number + 1:])
            options = replace(options, argv=argv, shown=" ".join(argv))
            break
        if name not in _OPTIONS or not equals:
            if word == "-v":
                continue
            raise ConfigError(f"unknown attribute name: {word}")
        options = _OPTIONS[name](options, value)
    if not options.argv:
        raise ConfigError("missing argv= command-line attribute")
    _check_macros(options.argv)
    return _check_identity(replace(options, identity=replace(options.identity, root=options.chroot)), words, mail_owner)


def _check_macros(argv: Iterable[str]) -> None:
    for argument in argv:
        for name in filter(None, _names(argument)):
            if name not in MACROS:
                raise ConfigError(f'unknown macro name: "{name}"')
        if "$" in _MACRO.sub("", argument):
            raise ConfigError(f'empty macro name: "{argument}"')


def _check_identity(options: Options, words: list[str], mail_owner: str) -> Options:
    if not any(word.startswith("user=") for word in words):
        raise ConfigError("missing user= command-line attribute")
    if (why := forbidden(options.identity, mail_owner)) is not None:
        raise ConfigError("user= command-line attribute specifies "
                          + _FORBIDDEN[why].replace("OWNER", mail_owner))
    return options


def _flags(options: Options, value: str) -> Options:
    unknown = set(value) - FLAGS
    if unknown:
        raise ConfigError(f"unknown flag: {''.join(sorted(unknown))} (ignored)")
    return replace(options, flags=frozenset(value))


def _user(options: Options, value: str) -> Options:
    try:
        return replace(options, identity=identity_of(value))
    except Unknown as error:
        raise ConfigError(f"get_service_attr: {error.public}") from error


def _size(options: Options, value: str) -> Options:
    if not value.isdigit():
        raise ConfigError(f"get_service_attr: bad size= value: {value}")
    return replace(options, size=int(value))


def _eol(value: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1]) or chr(int(found[1], 8)), value)


_OPTIONS: Mapping[str, Callable[[Options, str], Options]] = {
    "flags": _flags,
    "user": _user,
    "size": _size,
    "directory": lambda options, value: replace(options, directory=value),
    "chroot": lambda options, value: replace(options, chroot=value),
    "eol": lambda options, value: replace(options, eol=_eol(value)),
    "null_sender": lambda options, value: replace(options, null_sender=value),
}


class PipeAgent:
    """One pipe service."""

    def __init__(self, context: ServiceContext, pool: WorkerPool) -> None:
        self._pool, self._name, self._words = pool, context.name, context.arguments
        self._mistake, self._fatal = "", False
        self.configure(context.settings)

    def configure(self, settings: Settings) -> None:
        self._settings = settings
        self._delimiter = settings.text("recipient_delimiter")
        self._tells_original = settings[ENABLE_ORIGINAL_RECIPIENT]
        self._env = exported_environment(settings) | {"PATH": DEFAULT_PATH}
        own = settings.text(f"{self._name}_time_limit")
        self._limit_s = p.COMMAND_TIME_LIMIT.parse(own) if own else settings[p.COMMAND_TIME_LIMIT]
        self._options: Options | None = None
        try:
            self._options = parse_options(self._words, settings.text("mail_owner"))
        except ConfigError as error:
            self._mistake, self._fatal = error.public, True
            if error.public.startswith(("unknown macro", "empty macro")):
                self._fatal = False
                self._mistake = f"file {settings.config_directory}/master.cf: service {self._name}: {error.public}"

    async def deliver(self, job: Job) -> None:
        options, request = self._options, job.request
        if options is None:
            (job.log.critical if self._fatal else job.log.warning)("%s", self._mistake)
            job.report_rest(DEFERRED, "4.3.5", CONFIGURATION_ERROR, relay=self._name)
        elif options.flags & {"D", "O"} and len(request.recipients) > 1:
            flag = "D" if "D" in options.flags else "O"
            job.log.warning("pipe flag `%s' requires %s_destination_recipient_limit = 1", flag, self._name)
            job.report_rest(DEFERRED, "4.3.5", CONFIGURATION_ERROR, relay=self._name)
        elif options.size and request.size > options.size:
            job.report_rest(BOUNCED, "5.2.3", "message too large", relay=self._name)
        else:
            with job.message_file() as fd:
                await self._run(job, options, fd)

    async def _run(self, job: Job, options: Options, fd: int) -> None:
        request = job.request
        if "D" in options.flags:
            marks = delivered_to(fd, request.offset, request.size)
            for recipient in list(job.open_recipients.values()):
                if recipient.address.lower() in marks:
                    job.report(recipient, BOUNCED, "5.4.6", f"mail forwarding loop for {recipient.address}",
                               relay=self._name)
            if not job.open_recipients:
                return
            request = structs.replace(request, recipients=list(job.open_recipients.values()))
        if not options.has_root:
            job.log.critical("chroot(%s): No such file or directory", options.chroot)
            job.report_rest(DEFERRED, "4.3.0", "temporary failure", relay=self._name)
            return
        if job.probe:
            job.report_rest(SENT, "2.0.0", f"delivers to command: {options.argv[0]}", relay=self._name)
            return
        try:
            answer = await self._pool.ask(options.identity, self._question(request, options), [fd])
        except MailError as error:
            job.log.warning("%s: %s", job.queue_id, error)
            job.report_rest(DEFERRED, "4.3.0", error.public, relay=self._name)
            return
        self._judge(job, options, answer)

    def _question(self, request: DeliveryRequest, options: Options) -> dict[str, Any]:
        flags, first = options.flags, request.recipients[0]
        sender = options.sender(request)
        head = from_line(quote_local(sender), request.sent_time or request.arrival_time) if "F" in flags else b""
        head += delivery_header(sender if "R" in flags else None,
                                (first.original or first.address) if "O" in flags and self._tells_original else "",
                                first.address if "D" in flags else "")
        return command.ask_command(
            options.arguments(request, self._delimiter), env=self._env,
            cwd=options.directory or ("/" if options.chroot else self._settings.text("queue_directory")), head=head,
            offset=request.offset, size=request.size, time_limit_s=self._limit_s,
            output_limit=self._settings[p.COMMAND_OUTPUT_LIMIT], eol=options.eol, quote=">" in flags,
            dots="." in flags, blank="B" in flags, program="pipe")

    def _judge(self, job: Job, options: Options, answer: Mapping[str, Any]) -> None:
        if answer.get("fatal"):
            job.log.critical("%s", answer["fatal"])
        if answer["ok"] and answer["timeout"]:
            job.log.warning("pipe_command_read: read time limit exceeded")
        for recipient in list(job.open_recipients.values()):
            if not answer["ok"]:
                status = DEFERRED if answer["status"].startswith("4") else BOUNCED
                job.report(recipient, status, answer["status"], answer["reason"], relay=self._name)
                continue
            verdict = judge(command.ended_of(answer), options.argv[0])
            if verdict.ignored:
                job.log.warning('bounce_append: ignoring dsn code "%s"', verdict.ignored)
            reason = re.sub(r"\s", " ", verdict.reason)
            if verdict.status == SENT:
                told = f" ({reason[:100].rstrip()})" if reason.strip() else ""
                job.report(recipient, SENT, "2.0.0", f"delivered via {self._name} service{told}", relay=self._name,
                           action="delivered" if "X" in options.flags else "relayed")
            else:
                job.report(recipient, verdict.status, verdict.dsn, reason, relay=self._name,
                           diagnostic=verdict.diagnostic)


async def serve(context: ServiceContext) -> None:
    most = context.process_limit or 100
    pool = WorkerPool(serve_requests(command.handle), name=f"{context.name} worker", most=most, most_each=most, depth=1,
                      idle_s=context.settings[p.DELIVERY_WORKER_IDLE], no_new_privileges=False)
    agent = PipeAgent(context, pool)
    context.on_reload = lambda new, dovecot: agent.configure(new)
    try:
        await serve_agent(context, agent.deliver)
    finally:
        await pool.close()
