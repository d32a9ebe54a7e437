"""One recipient of local(8) becomes deliveries: aliases, .forward files, :include: lists, unknown users.

    expansion = Expansion(world, job, recipient, fd)
    await expansion.run()                   logs one line per delivery; reports the recipient once, with the worst end

The order for a name: alias of the full local part, alias of the user, then for a real user ~/.forward, mailbox
(endpoints.py), and for nobody fallback_transport, luser_relay, bounce. Each step is a `Node`: an address with what was
learned on the way to it.

Members of an alias without an owner- alias are delivered here, under the alias's name. New mail (forward.py) is made
for members of an alias with an owner, of an :include: list, of somebody else's .forward, and for other transports; it
is only made when nothing of the expansion was deferred, so that a repetition does not double it.
Loops: an address in a Delivered-To header bounces; an alias in its own expansion is the user of that name; deeper
than LEVEL_LIMIT is an alias loop. One recipient has at most local_expansion_limit destinations.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from msgspec import structs

from mailsuite.address.syntax import quote_local, split_domain, split_extension
from mailsuite.base.errors import ConfigError, MailError, TemporaryError
from mailsuite.base.trace import inside
from mailsuite.deliver.agent import CONFIGURATION_ERROR, Job
from mailsuite.deliver.aliases import Destination, Kind, parse_destinations, parse_file
from mailsuite.deliver.exits import one_line
from mailsuite.deliver.forward import Forwards
from mailsuite.deliver.passwd import Account
from mailsuite.queue.agent import BOUNCED, DEFERRED, SENT, MemberEnd, RecipientReport
from mailsuite.queue.envelope import Notify, Recipient, after_expansion

if TYPE_CHECKING:
    from mailsuite.deliver.endpoints import Endpoints
    from mailsuite.deliver.local import World

RELAY = "local"
LEVEL_LIMIT = 100
ALIAS_LEVELS = 3        # an alias in an alias is four levels deeper, a luser_relay one, as in Postfix


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the expansion.

    original: "" for members of a list, who are told to nobody as the list's. local, user: lower case. extension:
    without delimiter. delivered: what Delivered-To says, the first local address on the way (or the last alias or owner
    of a .forward, with frozen_delivered_to = no). owner: "owner-list" or the user whose .forward is obeyed. source: "",
    "alias", "forward", "include". alias: the alias whose expansion this is. account: whose rights commands and files
    have; None: default_privs. personal: in that user's own context (HOME and SHELL are told). unmatched: the extension,
    until it led somewhere. literal: "\\user", whose .forward is not looked at.
    """

    address: str
    original: str
    sender: str
    delivered: str = ""
    orcpt: str = ""
    notify: Notify = Notify.NONE
    local: str = ""
    domain: str = ""
    user: str = ""
    extension: str = ""
    unmatched: str = ""
    owner: str = ""
    source: str = ""
    alias: str = ""
    account: Account | None = None
    personal: bool = False
    literal: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one delivery of an expansion ended. logged: by another agent, or already. owner: RecipientReport's."""

    status: str
    dsn: str
    reason: str
    address: str
    original: str
    diagnostic: str = ""
    action: str = ""
    relay: str = RELAY
    logged: bool = False
    orcpt: str = ""
    owner: str = ""

    def row(self) -> list[str]:
        """For the report: nothing says where an address came from that has no original of its own."""
        original = self.original if self.orcpt or self.original.lower() != self.address.lower() else ""
        return list(MemberEnd(self.address, original, self.orcpt, self.status, self.dsn, one_line(self.reason),
                              self.relay, self.action, self.diagnostic, self.owner))


class Expansion:
    """The deliveries of one recipient."""

    def __init__(self, world: "World", endpoints: "Endpoints", job: Job, recipient: Recipient, fd: int,
                 delivered_to: set[str]) -> None:
        self.world, self.job, self.recipient, self.fd = world, job, recipient, fd
        self._ends, self._delivered_to = endpoints, delivered_to
        self.outcomes: list[Outcome] = []
        self._forwards = Forwards(world, job, fd)
        self._seen: set[str] = set()
        self._count = 0
        self._expanded = ""         # the action of the success notice, once an expansion is all there is to tell

    async def run(self) -> None:
        recipient = self.recipient
        top = Node(recipient.address, recipient.original or recipient.address, self.job.request.sender,
                   orcpt=recipient.orcpt, notify=recipient.notify)
        await self._address(top)
        if not any(outcome.status == DEFERRED for outcome in self.outcomes):
            for made in await self._forwards.send():
                if made.queue_id:
                    self.end(top, SENT, "2.0.0", f"forwarded as {made.queue_id}", action="relayed")
                elif made.status:
                    self.end(top, BOUNCED, made.status, made.reason)
                else:
                    self.end(top, DEFERRED, "4.3.0", "unable to forward message")
        self._report()

    # --- what comes of it -------------------------------------------------------------------------------------------

    def end(self, node: Node, status: str, dsn: str, reason: str, *, diagnostic: str = "", action: str = "",
            relay: str = RELAY, logged: bool = False, tried: bool = False) -> None:
        """One delivery ended. tried: a command or file of a mailing list failed, which is its owner's business."""
        word = ""
        if not logged:
            status, dsn, reason, word = self.job.outcome(status, dsn, reason)
        listed = node.owner in (f"owner-{node.local}", f"owner-{node.user}")
        owner = node.sender if tried and listed and node.sender != self.job.request.sender else ""
        outcome = Outcome(status, dsn, reason, node.address, node.original, diagnostic, action, relay, logged,
                          node.orcpt, owner)
        self.outcomes.append(outcome)
        if not logged:
            shown = structs.replace(self.recipient, address=node.address, original=node.original)
            self.job.log_line(shown, RecipientReport(0, 0, status, dsn, reason, relay=relay), word=word)

    def _report(self) -> None:
        """The worst end is the recipient's: deferred before bounced before sent. All failures are told of."""
        order = {DEFERRED: 0, BOUNCED: 1, SENT: 2}
        if not self.outcomes:               # an alias of nothing but doubles
            self.outcomes.append(Outcome(SENT, "2.0.0", "alias expanded", self.recipient.address, ""))
        for worst in sorted(self.outcomes, key=lambda outcome: order[outcome.status])[:1]:
            if self._expanded and worst.status == SENT:
                reason = "alias expanded" if self._expanded == "delivered" else "delivery via local: alias expanded"
                worst = replace(worst, dsn="2.0.0", reason=reason, action=self._expanded, relay=RELAY,
                                address=self.recipient.address)
            self.job.report(self.recipient, worst.status, worst.dsn, one_line(worst.reason),
                            relay=worst.relay, diagnostic=worst.diagnostic, action=worst.action,
                            dsn_done=worst.action == "relayed", quiet=True, address=worst.address,
                            ends=self._ends_to_tell(worst.status), owner=worst.owner)

    def _ends_to_tell(self, status: str) -> list[list[str]]:
        """All deliveries, where a notice tells of each: failures, and the reports of sendmail -bv and -v."""
        several = sum(outcome.status == BOUNCED for outcome in self.outcomes) > 1 and status == BOUNCED
        return [outcome.row() for outcome in self.outcomes] if several or self.job.request.verify else []

    def seen(self, key: str) -> bool:
        """Whether something was delivered to before in this expansion; remembers it."""
        if key in self._seen:
            return True
        limit = self.world.duplicate_limit
        if not limit or len(self._seen) < limit:
            self._seen.add(key)
        return False

    # --- addresses ----------------------------------------------------------------------------------------------------

    async def _address(self, node: Node) -> None:
        """Deliver to a local address; what could not be found out defers it, and others are gone on with."""
        try:
            await self.address(node)
        except MailError as error:
            if not isinstance(error.__cause__, TemporaryError):         # a table has said so itself
                self.world.log.warning("%s: %s", self.job.queue_id, error)
            public = CONFIGURATION_ERROR if isinstance(error, ConfigError) else error.public
            self.end(node, DEFERRED, "4.3.0" if error.status[:1] != "4" else error.status, public)

    async def address(self, node: Node) -> None:
        """Deliver to a local address. Raises MailError."""
        if self.seen(f"recipient {node.level} {node.address}"):
            return
        if node.address.lower() in self._delivered_to or quote_local(node.address).lower() in self._delivered_to:
            self.end(node, BOUNCED, "5.4.6", f"mail forwarding loop for {node.address}")
            return
        local, domain = split_domain(node.address.lower())
        user, extension = split_extension(local, self.world.delimiter, lists=self.world.owner_request_special)
        extension = extension[1:]
        if "/" in extension:
            self.world.log.warning("%s: address with illegal extension: %s", self.job.queue_id, local)
            local, extension = user, ""
        node = replace(node, delivered=node.delivered or node.address, local=local, domain=domain, user=user,
                       extension=extension)
        if not user:
            self.end(node, BOUNCED, "5.1.3", f'null username in "{node.address}"')
        elif local.startswith("\\"):
            await self._user(replace(node, local=local[1:], user=user[1:], literal=True))
        elif not await self._aliases(node):
            await self._real_user(replace(node, unmatched=extension))

    async def _aliases(self, node: Node) -> bool:
        if await self._alias(replace(node, unmatched=""), node.local):
            return True
        if not node.extension:
            return False
        unmatched = node.extension if "alias" in self.world.propagate else ""
        return await self._alias(replace(node, unmatched=unmatched), node.user)

    async def _alias(self, node: Node, name: str) -> bool:
        """Whether there is an alias of that name; then it was expanded. Too deep down nothing is looked up."""
        if node.level >= LEVEL_LIMIT:
            self.world.log.warning("alias database loop for %s", name)
            self.end(node, BOUNCED, "5.4.6", f"alias database loop for {name}")
            return True
        if node.source == "alias" and node.alias == name:
            return False                    # an alias in its own expansion is the user
        found = await self.world.find_alias(name)
        if found is None:
            return False
        inner = replace(node, source="alias", alias=name, account=self.world.alias_account(found.table),
                        personal=False, delivered=self._delivered(node),
                        level=node.level + ALIAS_LEVELS)
        inner = await self._with_owner(inner, name)
        self._tell_expansion(node, "delivered" if inner.owner == f"owner-{name}" else "expanded")
        inner = replace(inner, notify=after_expansion(inner.notify))
        destinations = parse_destinations(found.value)
        if not destinations:
            self.world.log.warning("no recipient in alias lookup result for %s", name)
            self.end(node, DEFERRED, "4.3.0", "alias database unavailable")
        with inside("alias_maps", name, found.value):
            for destination in destinations:
                await self._destination(inner, destination)
        return True

    def _delivered(self, node: Node) -> str:
        """The Delivered-To of what comes of an alias or .forward."""
        return node.delivered if self.world.frozen_delivered_to else node.address

    def _tell_expansion(self, node: Node, action: str) -> None:
        """The sender is told of the expansion, not of the members' deliveries; for a list it counts as delivery.

        Source: RFC 3461 section 5.2.7.
        """
        if node.notify & Notify.SUCCESS:
            self._expanded = self._expanded or action

    async def _with_owner(self, node: Node, name: str) -> Node:
        """An alias with an owner- companion is a mailing list: reports go to the owner, each member gets new mail."""
        owner = await self.world.find_alias("owner-" + name) if self.world.owner_request_special else None
        if owner is None:
            return replace(node, owner="") if self.world.reset_owner else node
        sender = f"owner-{name}"
        if self.world.expand_owner:
            members = parse_destinations(owner.value)
            if len(members) == 1 and members[0].kind is Kind.ADDRESS:
                sender = members[0].text
        return replace(node, owner=f"owner-{name}", sender=await self.world.rewriter.rewrite(sender, True),
                       original="", orcpt="", notify=Notify.NONE)

    async def _real_user(self, node: Node) -> None:
        if (node.owner and node.owner.lower() != node.user) or node.source == "include":
            self._forward(node)
            return
        await self._user(node)

    async def _user(self, node: Node) -> None:
        account = self.world.accounts.named(node.user)
        node = replace(node, delivered=self._delivered(node))
        if not await self._has_home(node, account):
            return
        if account is not None and not node.literal and await self._forward_file(node, account):
            return
        if not await self._ends.mailbox(self, node, account):
            await self._unknown(node)

    async def _has_home(self, node: Node, account: Account | None) -> bool:
        """False where require_home_directory makes the mail wait; then that is said."""
        if account is None or not self.world.require_home:
            return True
        why = await self._ends.home_problem(account)
        if why:
            self.end(node, DEFERRED, "4.3.0", why)
        return not why

    async def _forward_file(self, node: Node, account: Account) -> bool:
        """Whether the user has a .forward that says something; then it was obeyed."""
        answer = await self._ends.read_forward(node, account)
        if answer.warning:
            self.world.log.warning("%s", answer.warning)
        destinations = list(parse_file(answer.text))
        if not destinations:
            return False
        if self.seen(f"forward {answer.path}"):
            return False                    # obeyed already: this is for the user's mailbox
        unmatched = node.unmatched if "forward" in self.world.propagate and not answer.with_extension else ""
        self._tell_expansion(node, "expanded")
        node = replace(node, notify=after_expansion(node.notify))
        inner = replace(node, owner=node.user, source="forward", alias="", account=account, personal=True,
                        unmatched=unmatched)
        with inside("forward_path", node.user, answer.path):
            for destination in destinations:
                await self._destination(inner, destination)
        return True

    async def _unknown(self, node: Node) -> None:
        """Nobody of that name."""
        if await self._ends.fallback(self, node):
            return
        world = self.world
        relay = world.luser_relay(node)
        if relay:
            with inside("luser_relay", node.user, relay):
                await self._destination(replace(node, alias="", source="", unmatched=""),
                                        Destination(Kind.ADDRESS, relay))
        elif node.user in ("mailer-daemon", "postmaster"):
            world.log.warning("required alias not found: %s", node.user)
            self.end(node, SENT, "2.0.0", "discarded")
        else:
            self.end(node, BOUNCED, "5.1.1", f'unknown user: "{node.user}"')

    # --- destinations -------------------------------------------------------------------------------------------------

    async def _destination(self, node: Node, destination: Destination) -> None:
        self._count += 1
        if self._count > self.world.expansion_limit:
            if self._count == self.world.expansion_limit + 1:
                self.end(node, BOUNCED, "5.4.6", "too many destinations")
            return
        if destination.kind is Kind.ADDRESS and destination.text.startswith("~"):
            path = self._home_path(node, destination.text)
            if not path:
                self.end(node, BOUNCED, "5.3.5", CONFIGURATION_ERROR)
                return
            destination = Destination(Kind.FILE, path)
        match destination.kind:
            case Kind.ADDRESS:
                await self._member(node, destination.text)
            case Kind.COMMAND if node.source not in self.world.commands_in:
                self.end(node, BOUNCED, "5.7.1", "mail to command is restricted")
            case Kind.COMMAND:
                await self._ends.command(self, node, destination.text)
            case Kind.FILE if node.source not in self.world.files_in:
                self.end(node, BOUNCED, "5.7.1", "mail to file is restricted")
            case Kind.FILE:
                await self._ends.file(self, node, destination.text)
            case Kind.INCLUDE:
                await self._include(node, destination.text)

    def _home_path(self, node: Node, text: str) -> str:
        """The path that "~/file" of a .forward means; "" (and a warning) where there is no home, or for "~other"."""
        account = node.account if node.personal else None
        if account is not None and account.home and text.startswith("~/"):
            return account.home + text[1:]
        what = "bad home directory syntax for" if account is not None else "unknown home directory for"
        self.world.log.warning("%s: %s", what, text)
        return ""

    async def _member(self, node: Node, text: str) -> None:
        """An address in the expansion: local ones are expanded on, others get new mail."""
        world = self.world
        if node.unmatched:
            local, domain = split_domain(text)
            delimiter = node.local[len(node.user):][:1] or world.delimiter[:1]      # the one that the sender chose
            text = f"{local}{delimiter}{node.unmatched}" + (f"@{domain}" if domain else "")
        if text.startswith("@") and ":" in text:
            text = text.rpartition(":")[2]          # a source route says where it ends: RFC 5321 appendix C
        address = await world.rewriter.rewrite(text, True) if text else f"MAILER-DAEMON@{world.host}"
        resolution = await world.rewriter.resolve(node.sender, address)
        inner = replace(node, address=resolution.recipient or address, level=node.level + 1, unmatched="")
        if resolution.bad_syntax:
            self.end(node, BOUNCED, "5.1.3", f"bad recipient address syntax: {address}")
        elif resolution.transport == self.job.request.transport and not resolution.error:
            await self._address(inner)
        else:
            self._forward(inner)

    def _forward(self, node: Node) -> None:
        """New mail for the node's address, once nothing was deferred."""
        if self.job.probe:
            self.end(node, SENT, "2.0.0", f"forwards to {node.address}")
        else:
            self._forwards.add(node)

    async def _include(self, node: Node, path: str) -> None:
        """The members of a list file."""
        log = self.world.log
        if not path.startswith("/"):
            log.warning(":include:%s uses a relative path", path)
            self.end(node, BOUNCED, "5.3.5", CONFIGURATION_ERROR)
            return
        if self.seen(f"include {node.account.uid if node.account else -1} {path}"):
            return
        answer = await self._ends.read_include(node, path)
        if answer.warning or not answer.path:
            log.warning("%s", answer.warning or f"unable to lookup :include: file {path}: No such file or directory")
            self.end(node, BOUNCED, "5.3.5", CONFIGURATION_ERROR)
            return
        account = node.account
        if account is None and answer.uid:
            account = self.world.accounts.of_uid(answer.uid)
            if account is None:
                log.warning("%s: cannot find :include: file owner username", path)
                self.end(node, BOUNCED, "5.3.5", CONFIGURATION_ERROR)
                return
        inner = replace(node, source="include", account=account, level=node.level + 1)
        if inner.level > LEVEL_LIMIT:
            self.end(node, BOUNCED, "5.4.6", f"alias database loop for {path}")
            return
        with inside(":include:", path):
            for destination in parse_file(answer.text):
                await self._destination(inner, destination)
