"""One folder of both sides: look, compare, do. What is done first is what loses nothing: copies, flags, removals."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

from mailsuite.sync.model import Added, Box, Facts, Flags, FlagSets, Mark, Parts, Side, Wanted
from mailsuite.sync.options import Mode, Options
from mailsuite.sync.pairing import pair
from mailsuite.sync.plan import FlagChange, Keeps, Plan, make_plan
from mailsuite.sync.report import Report
from mailsuite.sync.state import FolderState


class FolderRun:
    """after: the state to remember; None after a dry run."""

    def __init__(self, key: Parts, sides: tuple[Side, Side], names: tuple[str, str], options: Options, report: Report,
                 before: FolderState | None) -> None:
        self._title, self._sides, self._names = "/".join(key), sides, names
        self._options, self._report, self._before = options, report, before
        self.after: FolderState | None = None
        self._new: list[tuple[int, int, Flags]] = []        # UIDs of copies, left and right

    def run(self) -> None:
        """Raises Lost and other MailErrors; then it can be run again."""
        options = self._options
        target = 0 if options.reverse else 1
        with ExitStack() as stack:
            boxes = []
            for at, (side, name) in enumerate(zip(self._sides, self._names, strict=True)):
                read_only = options.dry_run or options.mode is not Mode.BOTH and at != target
                boxes.append(stack.enter_context(closing(side.open(name, read_only=read_only))))
            self._compare(boxes[0], boxes[1])

    def _compare(self, left: Box, right: Box) -> None:
        marks = left.mark(), right.mark()
        if self._unchanged(marks):
            self.after = self._before
            return
        sets = FlagSets()
        facts = left.facts(sets), right.facts(sets)
        marks = self._adopt((left, right), marks, facts)
        before = self._known(marks, sets)
        pairs = pair(*facts, known=before, same_uids=marks[0].uid_validity == marks[1].uid_validity != 0,
                     left_identities=left.identities, right_identities=right.identities)
        plan = make_plan(*facts, pairs, before, self._options, Keeps(left.keeps, right.keeps))
        self._tell(plan, facts)
        if self._options.dry_run:
            self._count(plan, facts)
            return
        self._carry_out(plan, (left, right), facts)
        self._remember(marks, facts, pairs, plan)

    def _unchanged(self, marks: tuple[Mark, Mark]) -> bool:
        before = self._before
        return before is not None and not self._options.full and (before.left, before.right) == marks \
            and all(mark.modseq for mark in marks)

    def _adopt(self, boxes: tuple[Box, Box], marks: tuple[Mark, Mark], facts: tuple[Facts, Facts]) -> tuple[
            Mark, Mark]:
        """An empty new folder gets the other's UIDVALIDITY, so that clients need not load all again."""
        if self._options.dry_run or marks[0].uid_validity == marks[1].uid_validity:
            return marks
        targets = (0, 1) if self._options.mode is Mode.BOTH else (0,) if self._options.reverse else (1,)
        for at in targets:
            wanted = marks[1 - at].uid_validity
            if not len(facts[at]) and wanted and boxes[at].adopt(wanted):
                return (boxes[0].mark(), marks[1]) if at == 0 else (marks[0], boxes[1].mark())
        return marks

    def _known(self, marks: tuple[Mark, Mark], sets: FlagSets) -> dict[tuple[int, int], Flags]:
        """The state's pairs, unless a folder is another one now."""
        before = self._before
        if before is None or (before.left.uid_validity, before.right.uid_validity) != \
                (marks[0].uid_validity, marks[1].uid_validity):
            return {}
        return {pair: sets.of(sorted(flags)) for pair, flags in zip(before.pairs, before.flags, strict=True)}

    # --- doing ------------------------------------------------------------------------------------------------------

    def _tell(self, plan: Plan, facts: tuple[Facts, Facts]) -> None:
        count = len(plan.to_left) + len(plan.to_right)
        octets = sum(max(0, facts[0].sizes[at]) for at in plan.to_right) + \
            sum(max(0, facts[1].sizes[at]) for at in plan.to_left)
        self._report.progress({"messages": count, "octets": octets})

    def _count(self, plan: Plan, facts: tuple[Facts, Facts]) -> None:
        for at in plan.to_right:
            self._report.copied(1, max(0, facts[0].sizes[at]))
        for at in plan.to_left:
            self._report.copied(1, max(0, facts[1].sizes[at]))
        self._report.result.flags += len(plan.flags_left) + len(plan.flags_right)
        self._report.result.removed += len(plan.remove_left) + len(plan.remove_right)

    def _carry_out(self, plan: Plan, boxes: tuple[Box, Box], facts: tuple[Facts, Facts]) -> None:
        left, right = boxes
        self._copy(left, facts[0], plan.to_right, right,
                   lambda source, target, flags: self._new.append((source, target, flags)))
        self._copy(right, facts[1], plan.to_left, left,
                   lambda source, target, flags: self._new.append((target, source, flags)))
        for box, changes, gone in ((left, plan.flags_left, plan.remove_left),
                                   (right, plan.flags_right, plan.remove_right)):
            if changes:
                box.set_flags(changes)
                self._report.result.flags += len(changes)
            if gone:
                box.remove(gone)
                self._report.result.removed += len(gone)
            self._report.steps += len(changes) + len(gone)

    def _copy(self, source: Box, facts: Facts, positions: Sequence[int], target: Box,
              done: Callable[[int, int, Flags], None]) -> None:
        if not positions:
            return
        at_uid = {facts.uids[at]: at for at in positions}
        uids = list(at_uid)
        with closing(source.read(uids, [facts.sizes[at] for at in positions])) as messages:
            waiting: list[Wanted] = []
            octets = 0
            try:
                for message in messages:
                    if message.content is None:
                        if message.why:
                            self._report.refused(self._title, message.uid, message.why)
                        continue
                    at = at_uid[message.uid]
                    waiting.append(Wanted(message.content, facts.flags[at], facts.dates[at], message.uid))
                    octets += message.content.size
                    if octets >= self._options.batch_octets or len(waiting) >= self._options.batch_messages:
                        self._add(target, waiting, octets, done)
                        waiting, octets = [], 0
                if waiting:
                    self._add(target, waiting, octets, done)
                    waiting = []
            finally:
                for one in waiting:
                    one.content.close()

    def _add(self, target: Box, messages: list[Wanted], octets: int, done: Callable[[int, int, Flags], None]) -> None:
        messages.sort(key=lambda message: message.uid)
        try:
            results: list[Added] = target.add(messages)
        finally:
            for message in messages:
                message.content.close()
        count = 0
        for message, result in zip(messages, results, strict=True):
            if result.refused:
                self._report.refused(self._title, message.uid, result.refused)
                continue
            count += 1
            if result.uid:
                done(message.uid, result.uid, message.flags)
        self._report.copied(count, octets)

    # --- the state --------------------------------------------------------------------------------------------------

    def _remember(self, marks: tuple[Mark, Mark], facts: tuple[Facts, Facts], pairs: dict[int, int],
                  plan: Plan) -> None:
        left, right = facts
        changed = {change.uid: change for change in plan.flags_left}
        changed_right = {change.uid: change for change in plan.flags_right}
        known: list[tuple[int, int, Flags]] = list(self._new)
        for here, there in pairs.items():
            one, other = left.uids[here], right.uids[there]
            flags = _after(left.flags[here], changed.get(one)) | _after(right.flags[there], changed_right.get(other))
            known.append((one, other, flags))
        known.sort(key=lambda entry: entry[:2])
        if not plan.empty:
            # What we changed and what came meanwhile can't be told apart by marks: the next run looks again.
            marks = Mark(marks[0].uid_validity, 0, 0, 0), Mark(marks[1].uid_validity, 0, 0, 0)
        self.after = FolderState(*marks, [entry[:2] for entry in known], [entry[2] for entry in known])


def _after(flags: Flags, change: FlagChange | None) -> Flags:
    return flags if change is None else (flags | change.add) - change.drop
