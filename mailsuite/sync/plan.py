"""What has to be done to one folder on both sides. Functions over facts: nothing is read or changed here.

    plan = make_plan(left, right, pairs, before, options, Keeps(left_keeps, right_keeps))

A message that only one side has is new there, unless the state says that it was on both: then the other side has
deleted it. Flags: those that changed since the state win; without a state a flag of one side becomes one of both.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mailsuite.sync.model import Facts, Flags
from mailsuite.sync.options import Mode, Options

NONE: Flags = frozenset()


class Keeps(NamedTuple):
    """Which flags can be set on a side; what it can't keep it has no opinion of."""

    left: Callable[[str], bool]
    right: Callable[[str], bool]


class FlagChange(NamedTuple):
    uid: int
    add: Flags
    drop: Flags


@dataclass
class Plan:
    """copies: positions in the side they come from; removals: UIDs of the side that loses them."""

    to_left: list[int] = field(default_factory=list)
    to_right: list[int] = field(default_factory=list)
    remove_left: list[int] = field(default_factory=list)
    remove_right: list[int] = field(default_factory=list)
    flags_left: list[FlagChange] = field(default_factory=list)
    flags_right: list[FlagChange] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return not (self.to_left or self.to_right or self.remove_left or self.remove_right or self.flags_left
                    or self.flags_right)


def make_plan(left: Facts, right: Facts, pairs: Mapping[int, int], before: Mapping[tuple[int, int], Flags],
              options: Options, keeps: Keeps) -> Plan:
    """pairs: positions. before: UIDs of pairs of the last run with the flags they had; {} without a state."""
    if options.reverse and options.mode is not Mode.BOTH:
        turned = make_plan(right, left, {there: here for here, there in pairs.items()},
                           {(other, one): flags for (one, other), flags in before.items()},
                           _forward(options), Keeps(keeps.right, keeps.left))
        return Plan(turned.to_right, turned.to_left, turned.remove_right, turned.remove_left, turned.flags_right,
                    turned.flags_left)
    plan = Plan()
    here_before = {one for one, _ in before}
    there_before = {other for _, other in before}
    matched = set(pairs.values())
    for at in range(len(left)):
        if at not in pairs and fits(left, at, options):
            if left.uids[at] not in here_before or options.mode is Mode.MIRROR:
                plan.to_right.append(at)
            elif options.mode is Mode.BOTH:
                plan.remove_left.append(left.uids[at])
    for at in range(len(right)):
        if at not in matched and fits(right, at, options):
            if options.mode is Mode.MIRROR or options.mode is Mode.BOTH and right.uids[at] in there_before:
                plan.remove_right.append(right.uids[at])
            elif options.mode is Mode.BOTH:
                plan.to_left.append(at)
    for here, there in pairs.items():
        if left.flags[here] is not right.flags[there]:
            _flags(plan, left, here, right, there, before.get((left.uids[here], right.uids[there])), options, keeps)
    return plan


def _forward(options: Options) -> Options:
    from dataclasses import replace

    return replace(options, reverse=False)


def _flags(plan: Plan, left: Facts, here: int, right: Facts, there: int, before: Flags | None, options: Options,
           keeps: Keeps) -> None:
    one, other = left.flags[here], right.flags[there]
    if options.mode is Mode.MIRROR:
        wanted = one | {flag for flag in other if not keeps.left(flag)}
    else:
        wanted = merged(one, other, before, keeps)
    _change(plan.flags_right, right.uids[there], other, wanted, keeps.right)
    if options.mode is Mode.BOTH:
        _change(plan.flags_left, left.uids[here], one, wanted, keeps.left)


def merged(one: Flags, other: Flags, before: Flags | None, keeps: Keeps) -> Flags:
    """Flags that either side has, without those that either has taken away since."""
    gone = {flag for flag in before or NONE if flag not in one and keeps.left(flag)
            or flag not in other and keeps.right(flag)}
    return (one | other) - gone


def _change(changes: list[FlagChange], uid: int, now: Flags, wanted: Flags, keeps: Callable[[str], bool]) -> None:
    add, drop = frozenset(flag for flag in wanted - now if keeps(flag)), now - wanted
    if add or drop:
        changes.append(FlagChange(uid, add, drop))


def fits(facts: Facts, at: int, options: Options) -> bool:
    """Do -t, -e, -I and -O let a message through?"""
    date, size = facts.dates[at], facts.sizes[at]
    if options.since is not None and 0 <= date < options.since or options.until is not None and date > options.until:
        return False
    if options.max_size is not None and size > options.max_size:
        return False
    if options.flag:
        name = options.flag.removeprefix("-").lower()
        has = any(flag.lower() == name for flag in facts.flags[at])
        return has != options.flag.startswith("-")
    return True
