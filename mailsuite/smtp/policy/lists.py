"""A restriction list's text to steps; the table of all restrictions.

    parse_list("permit_mynetworks, check_sender_access hash:/x, reject", compiler, default="check_sender_access")

A table without a restriction's name in front is given to the list's default check. A name that nobody knows becomes a
step that answers 451 when it is reached, as in Postfix: a slip must neither open the relay nor stop the mail of others.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from mailsuite.base.log import logger
from mailsuite.config.registry import split_items
from mailsuite.smtp.policy.judge import Judge
from mailsuite.smtp.policy.verdict import Verdict

if TYPE_CHECKING:
    from mailsuite.smtp.policy.resources import Resources

log = logger("smtpd")
Rule = Callable[[Judge, object], Awaitable[Verdict]]


class Step(NamedTuple):
    """One restriction of a list. warns: it is warn_if_reject. text: its argument as it was written."""

    name: str
    rule: Rule
    argument: object = None
    warns: bool = False
    text: str = ""


class Restriction(NamedTuple):
    """prepare: makes of the word that follows the name what the rule takes; None: no word follows."""

    rule: Rule
    prepare: "Callable[[Resources, str], object] | None" = None


_ADDRESS_MAP = "check_address_map"         # only local_header_rewrite_clients knows it
RESTRICTIONS: dict[str, Restriction] = {}


def restriction(*names: str, prepare: "Callable[[Resources, str], object] | None" = None) -> Callable[[Rule], Rule]:
    """Enter a rule under its names (the old ones too)."""
    def enter(rule: Rule) -> Rule:
        for name in names:
            RESTRICTIONS[name] = Restriction(rule, prepare)
        return rule
    return enter


async def _unknown(judge: Judge, argument: object) -> Verdict:
    log.warning('unknown smtpd restriction: "%s"', argument)
    judge.server_error()
    return None


async def _incomplete(judge: Judge, argument: object) -> Verdict:
    """What needs an argument stands last; a DNS list without a name is passed over, as in Postfix."""
    name = str(argument)
    if "bl_" in name or "wl_" in name:
        log.warning("restriction %s requires domain name argument", name)
        return None
    log.warning("restriction %s must be followed by %s", name, "number" if name == "sleep" else "transport:server")
    judge.server_error()
    return None


async def _no_table(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, tuple)
    log.warning('restriction %s: bad argument "%s": need maptype:mapname', *argument)
    judge.server_error()
    return None


async def _nothing(judge: Judge, argument: object) -> Verdict:
    return None


async def _class(judge: Judge, argument: object) -> Verdict:
    assert isinstance(argument, list)
    return await judge.sublist(argument)


def parse_list(text: str, resources: "Resources", classes: Mapping[str, list[Step]], *,
               default: str = "", tables: bool = True) -> list[Step]:
    """Raises ConfigError for braces that do not match. tables False: no tables or services may be named here."""
    words = split_items(text)
    steps: list[Step] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        name = word.lower()
        entry = RESTRICTIONS.get(name) if name != _ADDRESS_MAP or default == _ADDRESS_MAP else None
        if name == "warn_if_reject":
            steps.append(Step(name, _nothing, warns=True))
        elif entry is not None and entry.prepare is None:
            steps.append(Step(name, entry.rule))
        elif entry is not None and entry.prepare is not None:
            if name.endswith("_access") and (at >= len(words) or ":" not in words[at]):
                steps.append(Step(name, _no_table, (name, words[at] if at < len(words) else name)))
                at += 1
            elif at >= len(words):
                steps.append(Step(name, _incomplete, name))
            elif not tables and ":" in words[at]:
                steps.append(Step(name, _unknown, words[at]))
                at += 1
            else:
                steps.append(Step(name, entry.rule, entry.prepare(resources, words[at]), text=words[at]))
                at += 1
        elif ":" in word and default and tables:
            chosen = RESTRICTIONS[default]
            assert chosen.prepare is not None
            steps.append(Step(default, chosen.rule, chosen.prepare(resources, word), text=word))
        elif word in classes:
            steps.append(Step(word, _class, classes[word]))
        else:
            steps.append(Step(word, _unknown, word))
    return steps
