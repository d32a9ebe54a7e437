"""Which message of one side is which of the other.

Three steps, the cheap ones first: pairs of the last run's state; the same UID with the same date and size, where both
sides have one UIDVALIDITY (a copy that kept its UIDs); the digest of the header for all that is left on both sides.
Messages with one digest are paired in the order of their UIDs, those of the same date first.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from mailsuite.sync.model import Facts

Identities = Callable[[Sequence[int]], Iterator[tuple[int, bytes]]]
Pairs = dict[int, int]          # positions left -> right


def pair(left: Facts, right: Facts, *, known: Iterable[tuple[int, int]], same_uids: bool, left_identities: Identities,
         right_identities: Identities) -> Pairs:
    """known: UIDs of pairs that were so before. same_uids: one UIDVALIDITY."""
    pairs: Pairs = {}
    at_left = {uid: at for at, uid in enumerate(left.uids)}
    at_right = {uid: at for at, uid in enumerate(right.uids)}
    used: set[int] = set()
    for one, other in known:
        here, there = at_left.get(one), at_right.get(other)
        if here is not None and there is not None and here not in pairs and there not in used:
            pairs[here] = there
            used.add(there)
    if same_uids:
        for here, uid in enumerate(left.uids):
            there = at_right.get(uid)
            if there is not None and here not in pairs and there not in used and left.sizes[here] >= 0 \
                    and (left.dates[here], left.sizes[here]) == (right.dates[there], right.sizes[there]):
                pairs[here] = there
                used.add(there)
    rest_left = [at for at in range(len(left)) if at not in pairs]
    rest_right = [at for at in range(len(right)) if at not in used]
    if rest_left and rest_right:
        pairs.update(_by_digest(
            [(at_left[uid], name) for uid, name in left_identities([left.uids[at] for at in rest_left])
             if uid in at_left],
            [(at_right[uid], name) for uid, name in right_identities([right.uids[at] for at in rest_right])
             if uid in at_right], left, right))
    return pairs


def _by_digest(left_names: list[tuple[int, bytes]], right_names: list[tuple[int, bytes]], left: Facts,
               right: Facts) -> Iterator[tuple[int, int]]:
    there: dict[bytes, list[int]] = defaultdict(list)
    for at, name in sorted(right_names):
        there[name].append(at)
    waiting: list[tuple[int, bytes]] = []
    for at, name in sorted(left_names):
        others = there.get(name, [])
        same = next((other for other in others if right.dates[other] == left.dates[at]), None)
        if same is None:
            waiting.append((at, name))
        else:
            others.remove(same)
            yield at, same
    for at, name in waiting:
        if others := there.get(name, []):
            yield at, others.pop(0)
