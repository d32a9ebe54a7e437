"""Where an expansion of local(8) ends: a mailbox, a file, a command, another transport.

All of it happens in workers with the rights of the user (or of default_privs, where the user would be root); .forward
and :include: files are read that way, too.
"""

import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from mailsuite.address.syntax import quote_local
from mailsuite.base.errors import ConfigError, MailError, TemporaryError
from mailsuite.deliver import mailbox
from mailsuite.deliver.agent import CONFIGURATION_ERROR
from mailsuite.deliver.command import ask_command, ended_of
from mailsuite.deliver.environment import DEFAULT_PATH
from mailsuite.deliver.exits import judge
from mailsuite.deliver.headers import delivery_header
from mailsuite.deliver.passing import pass_on
from mailsuite.deliver.passwd import Account
from mailsuite.net.privileges import Identity
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT
from mailsuite.store.delivery import from_line

if TYPE_CHECKING:
    from mailsuite.deliver.expansion import Expansion, Node
    from mailsuite.deliver.local import World


@dataclass(frozen=True, slots=True)
class FileText:
    """What a .forward or :include: file says. path "": there is none."""

    path: str = ""
    text: str = ""
    warning: str = ""
    uid: int = 0
    with_extension: bool = False


class Endpoints:
    """The deliveries that are not expansion. One per configuration."""

    def __init__(self, world: "World") -> None:
        self._world = world

    # --- files with destinations ------------------------------------------------------------------------------------

    async def read_forward(self, node: "Node", account: Account) -> FileText:
        """The first file of forward_path that exists, read as its user."""
        world = self._world
        paths: list[str] = []
        extended: set[str] = set()
        for path, uses_extension in world.forward_paths(node, account):
            paths.append(path)
            if uses_extension:
                extended.add(path)
        if not paths:
            return FileText()
        # With the key of mbox files: what comes first is also delivered first.
        answer = await world.files.ask(account.identity, mailbox.ask_read(paths, owners=world.owners(account.uid)),
                                       key="mbox")
        if not answer["ok"]:
            raise TemporaryError("forward file unavailable", detail=answer["reason"])
        return FileText(answer["path"], answer.get("text", ""), answer.get("warning", ""), answer.get("uid", 0),
                        answer["path"] in extended)

    async def read_include(self, node: "Node", path: str) -> FileText:
        """An :include: file, read with the rights that the node has; of root's aliases, with its owner's."""
        identity = self.rights(node).identity
        if node.account is None and os.geteuid() == 0:
            identity = self._owner_of(path) or identity
        answer = await self._world.files.ask(identity, mailbox.ask_read([path], owners=[], links=True))
        if not answer["ok"]:
            raise TemporaryError("include file unavailable", detail=answer["reason"])
        warning = answer.get("warning", "")
        if warning.startswith("file "):
            warning = f":include: {warning}"
        warning = warning.replace("cannot open file", "cannot open include file")
        return FileText(answer["path"], answer.get("text", ""), warning, answer.get("uid", 0))

    def _owner_of(self, path: str) -> Identity | None:
        """Who owns a list file that root's alias names: what only that one may read is a list, too.

        Root's own lists are read by root, in a worker, where nothing of them is executed.
        """
        try:
            uid = os.stat(path).st_uid
        except OSError:
            return None
        if uid == 0:
            return Identity(0, 0)
        account = self._world.accounts.of_uid(uid)
        return account.identity if account else None

    def rights(self, node: "Node") -> Account:
        """Never root."""
        if node.account is not None and (node.account.uid != 0 or os.geteuid() != 0):
            return node.account
        return self._world.default_account()

    async def home_problem(self, account: Account) -> str:
        """Why the user's home cannot be used; "" when it is there."""
        answer = await self._world.files.ask(account.identity, mailbox.ask_home(account.home))
        return str(answer["reason"])

    # --- other transports -------------------------------------------------------------------------------------------

    async def mailbox(self, expansion: "Expansion", node: "Node", account: Account | None) -> bool:
        """Deliver to the user's mailbox, however that is done; False when there is no such user."""
        world = self._world
        transport = await world.by_user(world.mailbox_transport_maps, node) or world.mailbox_transport
        if transport:
            await self._pass(expansion, node, transport)
            return True
        if account is None:
            return False
        if expansion.seen(f"mailbox {node.local}"):
            return True
        command = await world.by_user(world.mailbox_command_maps, node) or world.mailbox_command
        node = replace(node, account=account, personal=True)
        if command:
            await self.command(expansion, node, command)
        elif expansion.job.probe:
            expansion.end(node, SENT, "2.0.0", "delivers to mailbox")
        else:
            await self._mailbox_file(expansion, node, account)
        return True

    async def fallback(self, expansion: "Expansion", node: "Node") -> bool:
        """fallback_transport(_maps) for an unknown user; False when there is none."""
        world = self._world
        transport = await world.by_user(world.fallback_transport_maps, node) or world.fallback_transport
        if transport:
            await self._pass(expansion, node, transport)
        return bool(transport)

    async def _pass(self, expansion: "Expansion", node: "Node", transport: str) -> None:
        recipient = structs.replace(expansion.recipient, address=node.address, original=node.original, orcpt=node.orcpt,
                                    notify=node.notify)
        request = structs.replace(expansion.job.request, sender=node.sender)
        self._world.log.info("%s: passing <%s> to transport=%s", request.queue_id, quote_local(node.address),
                             transport.partition(":")[0])
        try:
            report = await pass_on(self._world.queue_directory, request, recipient, transport)
        except MailError as error:
            expansion.end(node, DEFERRED, "4.3.0", error.public)
            return
        expansion.end(node, report.status, report.dsn, report.reason, diagnostic=report.diagnostic,
                      action=report.action, relay=report.relay, logged=True)

    # --- mailboxes and files ----------------------------------------------------------------------------------------

    def mailbox_of(self, account: Account) -> tuple[str, Identity]:
        """An account's mailbox, with "/" at the end for a Maildir, and whose rights a delivery has."""
        return mailbox_place(account, self._world.home_mailbox, self._world.spool)

    async def _mailbox_file(self, expansion: "Expansion", node: "Node", account: Account) -> None:
        world = self._world
        path, identity = self.mailbox_of(account)
        if path.endswith("/"):
            await self._maildir(expansion, node, path, identity)
            return
        locks = world.locks
        if not world.home_mailbox and not _may_create(world.spool, identity):
            prepare_as_root(path, account)
            locks = replace(locks, methods=tuple(name for name in locks.methods if name != "dotlock") or ("fcntl",))
        owner = identity.effective().uid if world.strict else None
        await self._mbox(expansion, node, path, identity, lambda: mailbox.ask_mbox(
            path, quote_local(node.sender), self._head(node), expansion.job.request.offset, expansion.job.request.size,
            locks=locks, limit=world.limit, owner=owner),
            "delivered to mailbox", f"cannot update mailbox {path} for user {node.user}. ")

    async def file(self, expansion: "Expansion", node: "Node", path: str) -> None:
        """Deliver to /file/name or /dir/ of an alias or .forward."""
        world = self._world
        account = self.rights(node)
        if expansion.seen(f"file {account.uid} {path}"):
            return
        if expansion.job.probe:
            expansion.end(node, SENT, "2.0.0", f"delivers to file: {path}")
        elif path.endswith("/"):
            await self._maildir(expansion, node, path, account.identity)
        else:
            await self._mbox(expansion, node, path, account.identity, lambda: mailbox.ask_mbox(
                path, quote_local(node.sender), self._head(node), expansion.job.request.offset,
                expansion.job.request.size, locks=replace(world.locks, may_fail=True), limit=world.limit,
                owner=None, regular=False),
                f"delivered to file: {path}", f"cannot append message to file {path}: ")

    def _head(self, node: "Node") -> bytes:
        return self._front(node, marked=self._world.mark_files)

    def _front(self, node: "Node", *, marked: bool) -> bytes:
        original = node.original if self._world.tells_original else ""
        return delivery_header(node.sender, original, node.delivered if marked else "")

    async def _maildir(self, expansion: "Expansion", node: "Node", path: str, identity: Identity) -> None:
        world, request = self._world, expansion.job.request
        answer = await world.files.ask(identity, mailbox.ask_maildir(
            path, self._head(node), request.offset, request.size, host=world.host, limit=world.limit,
            sync_directory=world.sync_directory), [expansion.fd])
        if answer["ok"]:
            expansion.end(node, SENT, "2.0.0", "delivered to maildir")
            return
        if answer["errno"] == errno.EACCES:
            world.log.warning("maildir access problem for UID/GID=%d/%d: %s", identity.uid, identity.gid,
                              answer["reason"])
            world.log.warning("perhaps you need to create the maildirs in advance")
        self._failed(expansion, node, answer["status"], "maildir delivery failed: " + answer["reason"])

    async def _mbox(self, expansion: "Expansion", node: "Node", path: str, identity: Identity,
                    question: Callable[[], dict[str, object]], said: str, prefix: str) -> None:
        # Who waits for a lock sleeps deliver_lock_delay: one process does one user's mbox files in turn.
        answer = await self._world.files.ask(identity, question(), [expansion.fd], key="mbox")
        for warning in answer["warnings"]:
            self._world.log.warning("%s", warning)
        if answer["ok"]:
            expansion.end(node, SENT, "2.0.0", said)
            return
        if answer["errno"] == errno.EPERM:
            self._world.log.warning('specify "strict_mailbox_ownership = no" to ignore mailbox ownership mismatch')
        self._failed(expansion, node, answer["status"], prefix + answer["reason"])

    def _failed(self, expansion: "Expansion", node: "Node", dsn: str, reason: str) -> None:
        dsn = mailbox.full_status(dsn, self._world.full_tempfail)
        expansion.end(node, DEFERRED if dsn.startswith("4") else BOUNCED, dsn, reason, tried=True)

    # --- commands ---------------------------------------------------------------------------------------------------

    async def command(self, expansion: "Expansion", node: "Node", command: str) -> None:
        """Run a command with the message on its standard input."""
        world, request = self._world, expansion.job.request
        account = self.rights(node)
        if expansion.seen(f"command {account.uid}:{account.gid} {command}"):
            return
        if expansion.job.probe:
            expansion.end(node, SENT, "2.0.0", f"delivers to command: {command}")
            return
        head = from_line(quote_local(node.sender), world.now()) + self._front(node, marked=world.mark_commands)
        try:
            directory = world.execution_directory(node, account)
        except ConfigError as error:
            world.log.warning("%s", error)
            expansion.end(node, DEFERRED, "4.3.5", CONFIGURATION_ERROR)
            return
        answer = await world.commands.ask(account.identity, ask_command(
            command, env=self._environment(expansion, node, account), cwd=directory, head=head,
            offset=request.offset, size=request.size, time_limit_s=world.command_time_limit,
            output_limit=world.output_limit, shell=world.shell, file_limit=world.limit), [expansion.fd])
        if answer.get("fatal"):
            world.log.critical("%s", answer["fatal"])
        if not answer["ok"]:
            self._failed(expansion, node, answer["status"], answer["reason"])
            return
        if answer["timeout"]:
            world.log.warning("pipe_command_read: read time limit exceeded")
        verdict = judge(ended_of(answer), command)
        if verdict.ignored:
            world.log.warning('bounce_append: ignoring dsn code "%s"', verdict.ignored)
        if verdict.status == SENT:
            expansion.end(node, SENT, "2.0.0", f"delivered to command: {command}")
        else:
            expansion.end(node, verdict.status, verdict.dsn, re.sub(r"\s", " ", verdict.reason),
                          diagnostic=verdict.diagnostic, tried=True)

    def _environment(self, expansion: "Expansion", node: "Node", account: Account) -> dict[str, str]:
        world, facts = self._world, expansion.job.request.facts
        env = dict(world.exported)
        values = {"DOMAIN": node.domain, "EXTENSION": node.extension, "LOCAL": node.local, "LOGNAME": node.user,
                  "ORIGINAL_RECIPIENT": node.original, "RECIPIENT": node.address,
                  "SENDER": node.sender, "USER": node.user,
                  "CLIENT_ADDRESS": facts.get("client_address", ""), "CLIENT_HELO": facts.get("helo_name", ""),
                  "CLIENT_HOSTNAME": facts.get("client_name", ""), "CLIENT_PROTOCOL": facts.get("protocol_name", ""),
                  "SASL_METHOD": facts.get("sasl_method", ""), "SASL_SENDER": facts.get("sasl_sender", ""),
                  "SASL_USERNAME": facts.get("sasl_username", "")}
        for name, value in values.items():
            if value or name == "SENDER":
                env[name] = world.clean_for_command(value)
        if node.personal:
            env["HOME"], env["SHELL"] = world.clean_for_command(account.home), world.clean_for_command(account.shell)
        env["PATH"] = DEFAULT_PATH
        return env


def mailbox_place(account: Account, home_mailbox: str, spool: str) -> tuple[str, Identity]:
    """An account's mailbox by home_mailbox and mail_spool_directory, and whose rights a delivery has."""
    if home_mailbox:
        return f"{account.home}/{home_mailbox}", account.identity
    path = f"{spool.rstrip('/')}/{account.name}"
    identity = spool_identity(spool, account)
    if spool.endswith("/"):
        return path + "/", maildir_identity(path, account, identity)
    return path, identity


def spool_identity(spool: str, account: Account) -> Identity:
    """Whose rights a delivery into the mail spool has: the user's, with the folder's group where that may write."""
    try:
        found = os.stat(spool)
    except OSError:
        return account.identity
    if found.st_mode & stat.S_IWGRP and not found.st_mode & stat.S_IWOTH:
        return Identity(account.uid, found.st_gid, groups=(found.st_gid,))
    return account.identity


def maildir_identity(path: str, account: Account, spool: Identity) -> Identity:
    """A Maildir in the spool that is there already is the user's own; a new one has the folder's group."""
    return account.identity if os.path.isdir(path) else spool


def _may_create(spool: str, identity: Identity) -> bool:
    """Whether the identity can make files in the spool; True when that cannot be told."""
    try:
        found = os.stat(spool)
    except OSError:
        return True
    return bool(found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and identity.gid == found.st_gid)
                or found.st_uid == identity.uid)


def prepare_as_root(path: str, account: Account) -> None:
    """Make the mbox file of a user who may not make it: a spool folder where only root writes."""
    if os.geteuid() != 0:
        return
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        return              # there already, or the delivery will say why
    os.fchown(fd, account.uid, account.gid)
    os.close(fd)

