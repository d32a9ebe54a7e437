"""An explanation for people: as_text(explanation, details=False) -> lines.

What was decided stands left, where it is written in parentheses behind it. details: every restriction that was asked.
"""

from collections.abc import Iterator

from mailsuite.address.syntax import quote_local
from mailsuite.explain.model import Decision, End, Explanation, Judgement, Recipient

INDENT = "  "
VALUE_LIMIT = 200       # characters of a table's value
_CLASSES = {"local": "local", "virtual_alias": "virtual alias", "virtual_mailbox": "virtual mailbox", "relay": "relay",
            "default": "default (elsewhere)"}


def as_text(explanation: Explanation, *, details: bool = False) -> Iterator[str]:
    """Lines without their ends."""
    yield f"{quote_local(explanation.address)}"
    if explanation.judgement is not None:
        yield from _judgement(explanation.judgement, details)
    yield from _heading("rewriting", [*_steps(explanation.steps)] or ["nothing changes"])
    if explanation.error:
        yield f"{INDENT}the message is not taken: {explanation.error}"
    if explanation.content_filter:
        yield f"{INDENT}all mail goes to content_filter {explanation.content_filter} first; what follows is for mail " \
              "that comes back from it"
    for recipient in explanation.recipients:
        yield from _recipient(recipient, INDENT, "recipient")
    for recipient in explanation.copies:
        yield from _recipient(recipient, INDENT, "copy to")
    for warning in explanation.warnings:
        yield f"{INDENT}warning: {warning}"


def _heading(name: str, lines: list[str]) -> Iterator[str]:
    yield f"{INDENT}{name}"
    for line in lines:
        yield f"{INDENT * 2}{line}"


def where(decision: Decision) -> str:
    """"hash:/etc/postfix/virtual, line 12", or the parameter's place in main.cf; "" for a default."""
    place = f"{decision.file}, line {decision.line}" if decision.line else decision.file
    if not decision.table:
        return place
    value = decision.value if len(decision.value) <= VALUE_LIMIT else decision.value[:VALUE_LIMIT] + "..."
    said = f"{decision.table}: {decision.key} -> {value}"
    if decision.file and not decision.table.endswith(f":{decision.file}"):
        return f"{said}; {place}"
    return f"{said}, line {decision.line}" if decision.line else said


def _in_parentheses(text: str) -> str:
    return f"   ({text})" if text else ""


def _steps(steps: list[Decision]) -> Iterator[str]:
    for step in steps:
        yield f"{step.subject} -> {step.result}   by {step.by}{_in_parentheses(where(step))}" if step.subject else \
            f"{step.result}   by {step.by}{_in_parentheses(where(step))}"
        for line in _steps(step.steps):
            yield INDENT + line


def _judgement(judgement: Judgement, details: bool) -> Iterator[str]:
    yield f"{INDENT}smtpd {judgement.service}, client {judgement.client}, helo {judgement.helo}, " \
          f"sender <{quote_local(judgement.sender)}>"
    yield f"{INDENT * 2}{judgement.verdict}: {judgement.reply}"
    if judgement.rule:
        argument = f" {judgement.argument}" if judgement.argument else ""
        place = _in_parentheses(where(judgement.decision)) if judgement.decision is not None else ""
        yield f"{INDENT * 2}decided by {judgement.rule}{argument} in {judgement.parameter}{place}"
    else:
        yield f"{INDENT * 2}no restriction objects"
    for action in judgement.actions:
        yield f"{INDENT * 2}{action}"
    for step in judgement.steps:
        if details or step.result == "not asked":
            yield f"{INDENT * 2}{_restriction(step)}"


def _restriction(step: Decision) -> str:
    if step.by == "restriction list":
        return f"[{step.subject}]"
    return f"{INDENT}{step.by} {step.subject}: {step.result or 'says nothing'}{_in_parentheses(where(step))}".replace(
        " :", ":")


def _recipient(recipient: Recipient, indent: str, title: str) -> Iterator[str]:
    yield f"{indent}{title} {quote_local(recipient.address)}"
    inner = indent + INDENT
    if recipient.address_class:
        yield f"{inner}class: {_CLASSES.get(recipient.address_class, recipient.address_class)}"
    for line in _steps(recipient.steps):
        yield f"{inner}{INDENT}{line}"
    if recipient.transport:
        yield f"{inner}transport: {recipient.transport}{_in_parentheses(recipient.service)}"
        yield f"{inner}nexthop: {recipient.nexthop}"
    for end in recipient.ends:
        yield from _end(end, inner)


def _end(end: End, indent: str) -> Iterator[str]:
    by = f"   by {end.by.by}{_in_parentheses(where(end.by))}" if end.by is not None else ""
    yield f"{indent}{quote_local(end.address)}: {_outcome(end)}{by}"
    inner = indent + INDENT
    for line in _steps(end.steps):
        yield f"{inner}{line}"
    if end.mailbox:
        yield f"{inner}mailbox: {end.mailbox} ({end.format})"
    if end.uid is not None:
        yield f"{inner}rights: uid {end.uid}, gid {end.gid}{f' ({end.user})' if end.user else ''}"
    for host in end.hosts:
        yield f"{inner}host: {host}"
    if end.notice:
        yield f"{inner}{'the sender is told' if end.status == 'bounced' else 'why'}: {end.notice}"
    for member in end.members:
        yield from _end(member, inner)
    for recipient in end.then:
        yield from _recipient(recipient, inner, "recipient")


def _outcome(end: End) -> str:
    match end.status:
        case "expanded":
            return "is expanded"
        case "forwarded":
            return f"new mail to {quote_local(end.address)}"
        case "relayed":
            return f"goes to {end.nexthop} by {end.transport}{f', {end.reason}' if end.reason else ''}"
        case "passed":
            return end.reason
        case "delivered":
            what = f"command: {end.command}" if end.command else f"file: {end.file}" if end.file else end.reason
            return what.replace("delivers to", "delivered to")
        case _:
            return f"{end.status}, {end.dsn} {end.reason}"
