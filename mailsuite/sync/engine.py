"""Makes two sides alike, folder by folder.

    run = Run(left, right, options, report, state);  result = run.run()         the new state is run.state

A folder that a lost connection interrupted is begun anew: what was copied before is found on both sides then. The same
holds for a run that was killed at any instant. Raises: what says that nothing can be done at all (no login, no
listing); what concerns one folder is in the result.
"""

import time
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from mailsuite.base.errors import MailError, TemporaryError
from mailsuite.sync.folder import FolderRun
from mailsuite.sync.model import FlagSets, Folder, Parts, Side
from mailsuite.sync.names import Keyed, chosen, keyed, map_special
from mailsuite.sync.options import Mode, Options
from mailsuite.sync.report import Report, Result
from mailsuite.sync.state import State

LONGEST_PAUSE_S = 60.0
T = TypeVar("T")


class Run:
    """One synchronization. sleep: waits, and may raise to end the run."""

    def __init__(self, left: Side, right: Side, options: Options, report: Report, state: State | None = None, *,
                 sleep: Callable[[float], None] = time.sleep) -> None:
        self.sides = (left, right)
        self.options, self.report = options, report
        self.before, self._sleep = state or State(), sleep
        self.state = State()

    # --- the whole --------------------------------------------------------------------------------------------------

    def run(self) -> Result:
        left, right = self._again(self._list)
        separator = "/"
        keys = [key for key in sorted({**left, **right}, key=lambda key: (key != ("INBOX",), key))
                if chosen(key, (left.get(key), right.get(key)), self.options, separator)
                and self._has_guid(left.get(key))]
        for number, key in enumerate(keys, 1):
            self.report.progress({"folder": separator.join(key), "at": number, "of": len(keys)})
            self._one(key, left.get(key), right.get(key))
        if self.options.selective:          # of what was not looked at, what was known is known still
            self.state.folders.update((key, one) for key, one in self.before.folders.items() if key not in keys)
        return self.report.result

    def _list(self) -> tuple[Keyed, Keyed]:
        one, other = self.sides
        left, right = keyed(one.folders(), other.folders(), alternative=self.options.alternative,
                            unusable=one.unusable | other.unusable)
        if self.options.map_special and self.options.reverse:
            right = map_special(right, left)
        elif self.options.map_special:
            left = map_special(left, right)
        return left, right

    def _has_guid(self, folder: Folder | None) -> bool:
        if not self.options.guid:
            return True
        return folder is not None and folder.selectable and self.sides[0].guid(folder.name) == self.options.guid

    def _again(self, call: Callable[[], T]) -> T:
        """Until it works, or did not get any further `retries` times. Raises MailError."""
        tries = 0
        while True:
            steps = self.report.steps
            try:
                return call()
            except TemporaryError as error:
                tries = tries + 1 if steps == self.report.steps else 1
                if tries > self.options.retries:
                    raise
                self.report.note(f"{error.public}: trying again")
                self._sleep(min(self.options.retry_s * 2 ** (tries - 1), LONGEST_PAUSE_S))

    # --- one folder -------------------------------------------------------------------------------------------------

    def _one(self, key: Parts, left: Folder | None, right: Folder | None) -> None:
        def work() -> None:
            present = self._both(key, left, right)
            if present is not None:
                run = FolderRun(key, self.sides, present, self.options, self.report, self.before.folders.get(key))
                run.run()
                if run.after is not None:
                    self.state.folders[key] = run.after
                self.report.result.folders += 1

        try:
            self._again(work)
        except MailError as error:
            self.report.failed(f"Mailbox {'/'.join(key)}: {error.public}")
            if key in self.before.folders:
                self.state.folders[key] = self.before.folders[key]

    def _both(self, key: Parts, left: Folder | None, right: Folder | None) -> tuple[str, str] | None:
        """The folder's names on both sides, made where it is missing; None when there is nothing to compare."""
        folders = (left, right)
        if all(folder is not None for folder in folders):
            assert left is not None and right is not None
            self._subscription(left, right)
            if left.selectable and right.selectable:
                return left.name, right.name
            if not left.selectable and not right.selectable:
                return None
        there = 0 if left is not None and left.selectable else 1
        folder = folders[there]
        if folder is None or not folder.selectable:
            return None             # a name that only holds others: it comes with them
        options = self.options
        source = 1 if options.reverse else 0
        if options.mode is Mode.BOTH:
            if self._deleted_elsewhere(key, there, folder):
                self._delete(there, folder)
                return None
        elif there != source:
            if options.mode is Mode.MIRROR and not options.selective:
                self._delete(there, folder)
            return None
        return self._make(key, there, folder)

    def _deleted_elsewhere(self, key: Parts, there: int, folder: Folder) -> bool:
        """Was it on both sides, and is nothing in it that the other side has not had?"""
        before = self.before.folders.get(key)
        if before is None:
            return False
        with closing(self.sides[there].open(folder.name, read_only=True)) as box:
            if box.mark().uid_validity != (before.left, before.right)[there].uid_validity:
                return False
            known = {pair[there] for pair in before.pairs}
            return known.issuperset(box.facts(FlagSets()).uids)

    def _make(self, key: Parts, there: int, folder: Folder) -> tuple[str, str] | None:
        missing = self.sides[1 - there]
        self.report.result.folders_made += 1
        if self.options.dry_run:
            with closing(self.sides[there].open(folder.name, read_only=True)) as box:
                self.report.copied(box.mark().messages, 0)
            return None
        name = missing.create(key, folder.special)
        self.report.steps += 1
        if folder.subscribed:
            missing.subscribe(name, True)
        return (folder.name, name) if there == 0 else (name, folder.name)

    def _delete(self, there: int, folder: Folder) -> None:
        side = self.sides[there]
        if folder.made_at_use:
            with closing(side.open(folder.name, read_only=True)) as box:
                empty = not box.mark().messages
            if empty or folder.parts == ("INBOX",):
                return
        self.report.result.folders_removed += 1
        if not self.options.dry_run:
            side.delete(folder.name)
            self.report.steps += 1
            if folder.subscribed:
                side.subscribe(folder.name, False)

    def _subscription(self, left: Folder, right: Folder) -> None:
        if left.subscribed == right.subscribed or self.options.dry_run:
            return
        source = right if self.options.reverse else left
        if self.options.mode is Mode.BOTH:
            wanted = {0: True, 1: True}
        else:
            target = 0 if self.options.reverse else 1
            wanted = {target: source.subscribed or self.options.mode is Mode.ONE_WAY}
        for at, on in wanted.items():
            folder = (left, right)[at]
            if folder.subscribed != on and folder.selectable:
                self.sides[at].subscribe(folder.name, on)
