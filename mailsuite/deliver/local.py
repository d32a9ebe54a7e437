"""local(8): recipients of the machine: aliases, ~/.forward, mailboxes, commands.

    serve(context)        the parent: root, or whoever runs the suite; no thread, no file of a user is touched in it

expansion.py says what a recipient comes to, endpoints.py delivers, forward.py makes new mail. `World` is one
configuration with the worker pools; a reload makes another World over the same pools.
Nothing runs as root: files and commands of aliases that belong to root have the rights of default_privs. Only root's
own mailbox is written as root, by our code alone.
"""

import asyncio
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.deliver import command, mailbox
from mailsuite.deliver import params as p
from mailsuite.deliver.agent import CONFIGURATION_ERROR, Job, serve_agent
from mailsuite.deliver.endpoints import Endpoints
from mailsuite.deliver.environment import exported_environment
from mailsuite.deliver.expansion import Expansion
from mailsuite.deliver.forward import forward_main
from mailsuite.deliver.headers import delivered_to
from mailsuite.deliver.locking import mbox_locks
from mailsuite.deliver.passwd import Account, Accounts
from mailsuite.deliver.table_worker import TableWorkers
from mailsuite.maps import Found, Maps, MapSource, open_maps
from mailsuite.net.privileges import Identity
from mailsuite.net.service import ServiceContext
from mailsuite.net.workers import WorkerPool, serve_batches, serve_requests
from mailsuite.queue.agent import DEFERRED
from mailsuite.queue.params import ENABLE_ORIGINAL_RECIPIENT
from mailsuite.rewrite.rewriter import Rewriter
from mailsuite.smtp.params import MESSAGE_SIZE_LIMIT

if TYPE_CHECKING:
    from mailsuite.deliver.expansion import Node

_FILE_TABLES = frozenset({"hash", "btree", "lmdb", "cdb", "dbm", "texthash", "regexp", "pcre", "cidr"})


class Pools:
    """The workers; they outlive a reload, except the forwarder, which has settings of its own."""

    def __init__(self, context: ServiceContext) -> None:
        settings, most = context.settings, context.process_limit or 100
        idle, each = settings[p.DELIVERY_WORKER_IDLE], settings[p.DELIVERY_WORKERS_PER_USER]
        self.files = WorkerPool(serve_batches(mailbox.handle_batch), name="local worker", most=most, most_each=each,
                                depth=1, batch=mailbox.TOGETHER, alone=mailbox.goes_alone, idle_s=idle, allow_root=True)
        self.commands = WorkerPool(serve_requests(command.handle), name="local command worker", most=most,
                                   most_each=most, depth=1, idle_s=idle, no_new_privileges=False)
        self.forwarder = self.make_forwarder(context)

    @staticmethod
    def make_forwarder(context: ServiceContext) -> WorkerPool:
        return WorkerPool(forward_main(context.settings_of("cleanup")), name="local forwarder", depth=50,
                          idle_s=context.settings[p.DELIVERY_WORKER_IDLE])

    async def close(self) -> None:
        for pool in (self.files, self.commands, self.forwarder):
            await pool.close()


class World:
    """One configuration of local: tables, parameters, accounts, workers."""

    def __init__(self, settings: Settings, pools: Pools) -> None:
        self.settings, self.log = settings, logger("local")
        self.files, self.commands, self.forwarder = pools.files, pools.commands, pools.forwarder
        self.accounts, self.rewriter = Accounts(), Rewriter(settings)
        self._source = MapSource(settings, "local")
        self._read_tables()
        self._read_parameters()

    def _read_tables(self) -> None:
        def maps(name: str) -> Maps:
            return open_maps(self.settings.text(name), self._source)

        self._aliases = maps("alias_maps")
        self.mailbox_transport_maps = maps("mailbox_transport_maps")
        self.mailbox_command_maps = maps("mailbox_command_maps")
        self.fallback_transport_maps = maps("fallback_transport_maps")
        self.mailbox_transport = self.settings.text("mailbox_transport")
        self.fallback_transport = self.settings.text("fallback_transport")
        self.mailbox_command = self.settings.raw("mailbox_command")     # its $names are the shell's

    def _read_parameters(self) -> None:
        settings = self.settings
        self.host, self.delimiter = settings.text("myhostname"), settings.text("recipient_delimiter")
        self.queue_directory = settings.text("queue_directory")
        self.home_mailbox, self.spool = settings.text("home_mailbox"), settings.text("mail_spool_directory")
        self.locks, self.limit = mbox_locks(settings, p.MAILBOX_DELIVERY_LOCK), settings[p.MAILBOX_SIZE_LIMIT]
        self.full_tempfail = settings[p.MAILBOX_FULL_TEMPFAIL]
        self.mistake = mailbox.limit_problem(self.limit, p.MAILBOX_SIZE_LIMIT.name, settings[MESSAGE_SIZE_LIMIT])
        self.strict, self.sync_directory = settings[p.STRICT_MAILBOX_OWNERSHIP], settings[p.MAILDIR_SYNC_DIRECTORY]
        self.command_time_limit = settings[p.COMMAND_TIME_LIMIT]
        self.output_limit, self.shell = settings[p.COMMAND_OUTPUT_LIMIT], settings.text("local_command_shell")
        self.commands_in, self.files_in = settings[p.ALLOW_MAIL_TO_COMMANDS], settings[p.ALLOW_MAIL_TO_FILES]
        marks = settings[p.PREPEND_DELIVERED_HEADER]
        self.mark_commands, self.mark_files = "command" in marks, "file" in marks
        self.mark_forwards = "forward" in marks
        self.tells_original = settings[ENABLE_ORIGINAL_RECIPIENT]
        self.owner_request_special = settings[p.OWNER_REQUEST_SPECIAL]
        self.frozen_delivered_to = settings[p.FROZEN_DELIVERED_TO]
        self.require_home = settings[p.REQUIRE_HOME_DIRECTORY]
        self.expand_owner, self.reset_owner = settings[p.EXPAND_OWNER_ALIAS], settings[p.RESET_OWNER_ALIAS]
        self.duplicate_limit, self.expansion_limit = settings[p.DUPLICATE_FILTER_LIMIT], settings[p.EXPANSION_LIMIT]
        self.propagate = frozenset(settings.text("propagate_unmatched_extensions").replace(",", " ").split())
        self._forward_path = settings.raw("forward_path").replace(",", " ").split()
        self._command_filter = frozenset(settings.text("command_expansion_filter"))
        self._forward_filter = frozenset(settings.text("forward_expansion_filter"))
        self._directory_filter = frozenset(settings.text("execution_directory_expansion_filter"))
        self.exported = exported_environment(settings)
        owner = self.accounts.named(settings.text("mail_owner"))
        self.mail_owner = owner.identity if owner else Identity(os.geteuid(), os.getegid())

    now = staticmethod(time.time)

    # --- tables -----------------------------------------------------------------------------------------------------

    async def find_alias(self, name: str) -> Found | None:
        """Raises TemporaryError, in the words that a deferred recipient gets."""
        try:
            return await self._aliases.find_with_source(name)
        except TemporaryError as error:
            raise TemporaryError("alias database unavailable", status="4.3.0", detail=str(error)) from error

    def alias_account(self, table: str) -> Account | None:
        """Whose rights an alias table gives: its owner's; None for root's and for what is no file."""
        kind, _, path = table.partition(":")
        if kind not in _FILE_TABLES:
            return None
        for name in (f"{path}.db", f"{path}.{kind}", path):
            try:
                uid = os.stat(name).st_uid
            except OSError:
                continue
            if uid == 0:
                return None
            account = self.accounts.of_uid(uid)
            if account is None:
                raise ConfigError(f"no account for the owner {uid} of alias database {path}")
            return account
        return None

    async def by_user(self, maps: Maps, node: "Node") -> str | None:
        """What a table says of the user; extensions are not looked at."""
        try:
            return await maps.find(node.user)
        except TemporaryError as error:
            raise TemporaryError("table lookup failure", status="4.3.0", detail=str(error)) from error

    def default_account(self) -> Account:
        """default_privs. Raises ConfigError."""
        return self.accounts.default(self.settings[p.DEFAULT_PRIVS])

    def owners(self, uid: int) -> list[int]:
        """Who may own a user's .forward."""
        return [uid, 0, os.geteuid()]

    # --- expansions of parameters -----------------------------------------------------------------------------------

    def _values(self, node: "Node", account: Account | None) -> dict[str, str]:
        values = {"home": "", "shell": "", "user": node.user, "local": node.local, "domain": node.domain,
                  "recipient": node.address, "extension": node.extension,
                  "recipient_delimiter": node.local[len(node.user):][:1] if node.extension else self.delimiter[:1]}
        if account is not None:
            values |= {"home": account.home, "shell": account.shell}
        return values

    def _expand(self, text: str, node: "Node", account: Account | None, allowed: frozenset[str]) -> str:
        values = {name: value if name in ("home", "shell") else "".join(c if c in allowed else "_" for c in value)
                  for name, value in self._values(node, account).items()}
        return self.settings.expand(text, values)

    def forward_paths(self, node: "Node", account: Account) -> Iterator[tuple[str, bool]]:
        """The files of forward_path, and whether the extension is in their name; without one, such are left out."""
        for item in self._forward_path:
            uses = "extension" in item
            if uses and not node.extension and "extension?" not in item and "extension:" not in item:
                continue
            yield self._expand(item, node, account, self._forward_filter), uses

    def luser_relay(self, node: "Node") -> str:
        """Where mail for unknown users goes; "" for nowhere."""
        return self._expand(self.settings.raw("luser_relay"), node, None, self._forward_filter)

    def execution_directory(self, node: "Node", account: Account) -> str:
        """Where a command runs; outside of a user's own context there is no $home. Raises ConfigError."""
        text = self.settings.raw("command_execution_directory")
        known = account if node.personal else None
        return text and self._expand(text, node, known, self._directory_filter) or self.queue_directory

    def clean_for_command(self, value: str) -> str:
        """A value for a command's environment: what could mean something to a shell becomes "_"."""
        return "".join(char if char in self._command_filter else "_" for char in value)


class LocalAgent:
    """Delivers jobs in the World of the moment."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def deliver(self, job: Job) -> None:
        world, request = self.world, job.request
        if world.mistake:
            job.log.critical("%s", world.mistake)
            job.report_rest(DEFERRED, "4.3.5", CONFIGURATION_ERROR, relay="local")
            return
        endpoints = Endpoints(world)
        with job.message_file() as fd:
            marks = delivered_to(fd, request.offset, request.size)
            for recipient in request.recipients:
                await Expansion(world, endpoints, job, recipient, fd, marks).run()


async def serve(context: ServiceContext) -> None:
    pools, tables = Pools(context), TableWorkers(context.settings)
    agent = LocalAgent(World(context.settings, pools))

    def reload(settings: Settings, dovecot: object) -> None:
        tables.renew(settings)
        world = World(settings, pools)          # raises before anything has changed
        old, pools.forwarder = pools.forwarder, pools.make_forwarder(context)
        world.forwarder, agent.world = pools.forwarder, world
        closing.append(asyncio.get_running_loop().create_task(old.close()))

    closing: list[asyncio.Task[None]] = []
    context.on_reload = reload
    try:
        await serve_agent(context, agent.deliver)
    finally:
        await tables.close()
        await pools.close()
