"""What an explanation says; `as_json` is the form that programs read (docs/explain.md).

An empty field is left out of the JSON form.
"""

from dataclasses import dataclass, field
from typing import Any

from mailsuite.base.trace import Hit, Step


@dataclass(slots=True)
class Decision:
    """by: the parameter, rule or table that decided; file, line: where that is written."""

    by: str
    subject: str = ""
    result: str = ""
    table: str = ""
    key: str = ""
    value: str = ""
    file: str = ""
    line: int = 0
    steps: "list[Decision]" = field(default_factory=list)


@dataclass(slots=True)
class End:
    """A place in what becomes of a recipient: where it ends, or (members) what it is expanded to.

    status: "delivered", "forwarded" (new mail, `then` goes on), "relayed", "discarded", "bounced", "deferred",
    "expanded". notice: what the sender is told when it is not delivered.
    """

    address: str
    status: str
    by: Decision | None = None
    dsn: str = ""
    reason: str = ""
    notice: str = ""
    mailbox: str = ""
    format: str = ""
    user: str = ""
    uid: int | None = None
    gid: int | None = None
    command: str = ""
    file: str = ""
    transport: str = ""
    nexthop: str = ""
    hosts: list[str] = field(default_factory=list)
    steps: list[Decision] = field(default_factory=list)
    members: "list[End]" = field(default_factory=list)
    then: "list[Recipient]" = field(default_factory=list)


@dataclass(slots=True)
class Recipient:
    """A final recipient of the queue file. steps: what chose class, transport and nexthop."""

    address: str
    address_class: str = ""
    transport: str = ""
    nexthop: str = ""
    service: str = ""           # where master.cf has the transport
    steps: list[Decision] = field(default_factory=list)
    ends: list[End] = field(default_factory=list)


@dataclass(slots=True)
class Judgement:
    """What smtpd says to RCPT TO. verdict: "permit", "reject", "defer". parameter (the list), rule: who decided.

    Both are "" when no restriction said anything: the end of all lists permits.
    """

    verdict: str
    reply: str
    service: str = ""
    client: str = ""
    helo: str = ""
    sender: str = ""
    parameter: str = ""
    rule: str = ""
    argument: str = ""
    decision: Decision | None = None
    actions: list[str] = field(default_factory=list)
    steps: list[Decision] = field(default_factory=list)


@dataclass(slots=True)
class Explanation:
    """The whole of it. error: nothing is delivered, and this is why."""

    address: str
    judgement: Judgement | None = None
    steps: list[Decision] = field(default_factory=list)
    content_filter: str = ""
    recipients: list[Recipient] = field(default_factory=list)
    copies: list[Recipient] = field(default_factory=list)
    error: str = ""
    warnings: list[str] = field(default_factory=list)

    @property
    def is_fine(self) -> bool:
        """Whether mail would be taken, and nobody's would be returned or wait."""
        taken = self.judgement is None or self.judgement.verdict == "permit"
        return taken and not self.error and all(map(_ends_well, self.recipients))


def _ends_well(recipient: Recipient) -> bool:
    return all(map(_is_well, recipient.ends))


def _is_well(end: End) -> bool:
    return end.status not in ("bounced", "deferred") and all(map(_is_well, end.members)) \
        and all(map(_ends_well, end.then))


def decision_of(step: Step) -> Decision:
    """A step of a trace as a decision, with all that belongs to it."""
    decision = Decision(step.by, step.subject, step.result, steps=[decision_of(inner) for inner in step.inner])
    return with_hit(decision, step.hit)


def with_hit(decision: Decision, hit: Hit | None) -> Decision:
    """Say which table decided."""
    if hit is not None:
        decision.table, decision.key, decision.value = hit.table, hit.key, hit.value
        decision.file, decision.line = hit.file, hit.line
    return decision


_RENAMED = {"address_class": "class", "parameter": "list", "judgement": "smtpd"}


def as_json(value: object) -> Any:
    """Of JSON types only; what is empty is left out."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, (str, int)):
        return value
    fields: tuple[str, ...] = getattr(value, "__slots__", ())
    given = {_RENAMED.get(name, name): getattr(value, name) for name in fields}
    return {name: as_json(item) for name, item in given.items()
            if item not in ("", None, []) and not (name == "line" and item == 0)}
