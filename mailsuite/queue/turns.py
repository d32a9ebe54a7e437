"""Whose turn it is: what waits in a transport, in the order of its messages, and when a short message goes first.

    line = Line()
    ticket = line.push(rank, size, item); line.drop(ticket)
    line.first() -> ticket            of the lowest rank
    line.shortest() -> ticket         of the smallest size, the lowest rank among equals

Every message that has to wait in a transport is a `Job` there. Jobs are served in the order in which they came, so a
message with thousands of recipients would keep all later ones waiting. Therefore a job that is being served gains one
slot for each `delivery_slot_cost` deliveries, and when it has as many slots as a shorter job has deliveries, that one
goes first. With `delivery_slot_discount` and `_loan` this happens before all slots are there; the debt is paid before
the next preemption. So a mailing list is slowed down by a part of 1 / cost at most, however many short messages come.
Parameters as Postfix's qmgr(8) has them (SCHEDULER_README, preemptive scheduling); the structure is our own.
Cost: O(log n) for each delivery that has to wait, nothing for one that need not.
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

X = TypeVar("X")
_SLACK = 64


@dataclass(slots=True, eq=False)
class Ticket(Generic[X]):
    """An item's place in a line."""

    rank: int
    size: int
    item: X
    waiting: bool = True


class Line(Generic[X]):
    """Items that wait, in two orders. Dropped tickets are forgotten when they come up or are more than the others."""

    __slots__ = ("_by_rank", "_by_size", "_count", "_number")

    def __init__(self) -> None:
        self._by_rank: list[tuple[int, int, Ticket[X]]] = []
        self._by_size: list[tuple[int, int, int, Ticket[X]]] = []
        self._count = 0
        self._number = count()

    def __len__(self) -> int:
        return self._count

    def push(self, rank: int, size: int, item: X) -> Ticket[X]:
        """Items of one rank are served in turns: each in the order in which it was pushed."""
        ticket, number = Ticket(rank, size, item), next(self._number)
        heappush(self._by_rank, (rank, number, ticket))
        heappush(self._by_size, (size, rank, number, ticket))
        self._count += 1
        return ticket

    def drop(self, ticket: Ticket[X]) -> None:
        if not ticket.waiting:
            return
        ticket.waiting = False
        self._count -= 1
        if not self._count:
            self._by_rank.clear()
            self._by_size.clear()
        else:
            if len(self._by_rank) > 2 * self._count + _SLACK:
                self._by_rank = [entry for entry in self._by_rank if entry[2].waiting]
                heapify(self._by_rank)
            if len(self._by_size) > 2 * self._count + _SLACK:
                self._by_size = [entry for entry in self._by_size if entry[3].waiting]
                heapify(self._by_size)

    def first(self) -> Ticket[X]:
        """Raises IndexError when nobody waits."""
        while not self._by_rank[0][2].waiting:
            heappop(self._by_rank)
        return self._by_rank[0][2]

    def shortest(self) -> Ticket[X]:
        """Raises IndexError when nobody waits."""
        while not self._by_size[0][3].waiting:
            heappop(self._by_size)
        return self._by_size[0][3]

    def take_all(self) -> list[X]:
        """Empty the line; its items in their order."""
        items = [ticket.item for _, _, ticket in sorted(self._by_rank, key=lambda entry: entry[:2]) if ticket.waiting]
        for _, _, ticket in self._by_rank:
            ticket.waiting = False
        self._by_rank.clear()
        self._by_size.clear()
        self._count = 0
        return items


@dataclass(frozen=True, slots=True)
class SlotRules:
    """cost: deliveries for a slot; 0: nobody is overtaken. loan, discount: slots, and per cent of a job's slots, that
    may be owed. minimum: a job that cannot gain so many slots is not overtaken. See default_delivery_slot_cost."""

    cost: int = 5
    loan: int = 3
    discount: int = 50
    minimum: int = 3


@dataclass(slots=True, eq=False)
class Job(Generic[X]):
    """A message's deliveries in one transport. size: all of this round; waiting: those to be made, in their order.

    served: made since something had to wait. spent: slots that others have used.
    """

    rank: int
    size: int
    served: int = 0
    spent: int = 0
    waiting: dict[X, None] = field(default_factory=dict)

    def yields_to(self, other: "Job[X]", rules: SlotRules) -> bool:
        """Whether the other one, which is behind, may go first."""
        if not rules.cost or other.size >= self.size or other.rank <= self.rank:
            return False
        cost = max(2, rules.cost)
        if self.size < rules.minimum * cost:
            return False
        needed = len(other.waiting)
        return needed - (needed * rules.discount // 100 + rules.loan) <= self.served // cost - self.spent
