"""mailsuite queue: the queue as a table, with filters, and what can be done to the messages that fit.

    mailsuite -c DIR queue [--domain far.test] [--older 2h] ...         the oldest messages, and sums
    mailsuite -c DIR queue hold|release|delete|requeue|flush|expire [ID...] [filters] [--yes]

An action shows what it is about to do and asks; without a terminal it wants --yes. Without an id or a filter it wants
--all. Listing and flush are for those whom authorized_mailq_users and authorized_flush_users allow, the rest is for
root and the queue's owner. Exit: 0; 1 when nothing was done because of an answer or a missing --yes; 69 as postqueue.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from mailsuite.base.errors import ConfigError
from mailsuite.queue.listing import QUEUES

if TYPE_CHECKING:
    from rich.console import Console

    from mailsuite.config.settings import Settings
    from mailsuite.queue.admin import Act
    from mailsuite.queue.listing import Listed
    from mailsuite.queue.selection import Selection
    from mailsuite.queue.store import QueueStore

PROGRAM = "mailsuite"
LOGGED_AS = "postsuper"         # so that whoever reads the log knows the lines
ACTIONS = ("hold", "release", "delete", "requeue", "flush", "expire")
PREVIEW = 10
ON_TERMINAL = 50
WIDTH = 160                     # where no terminal says how wide it is


@click.command(name="queue")
@click.argument("words", nargs=-1, metavar="[hold|release|delete|requeue|flush|expire] [ID...]")
@click.option("--sender", metavar="PATTERN", help="Envelope sender; * and ? stand for any text, <> is the null sender.")
@click.option("--recipient", metavar="PATTERN", help="An unfinished recipient.")
@click.option("--domain", metavar="PATTERN", help="The domain of an unfinished recipient.")
@click.option("--reason", metavar="TEXT", help="A part of why a recipient waits.")
@click.option("--older", metavar="AGE", help="At least so old: 90s, 30m, 2h, 5d.")
@click.option("--newer", metavar="AGE", help="Not so old.")
@click.option("--larger", metavar="SIZE", help="At least so large: 500, 10k, 2M.")
@click.option("--smaller", metavar="SIZE", help="Not so large.")
@click.option("--queue", "queues", type=click.Choice(QUEUES), multiple=True, help="In this queue; may be repeated.")
@click.option("--limit", type=click.IntRange(0), help="Rows that are shown, the oldest; 0: all.  "
              f"[default: {ON_TERMINAL} on a terminal, else all]")
@click.option("--details", is_flag=True, help="Show every recipient and every reason.")
@click.option("--watch", type=click.FloatRange(0.2), is_flag=False, flag_value=2.0, metavar="SECONDS",
              help="Show it anew every SECONDS (2) until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="As postqueue -j, with the time of the next attempt.")
@click.option("--all", "everything", is_flag=True, help="An action without id or filter means all messages.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def queue(directory: str, /, words: tuple[str, ...], queues: tuple[str, ...], limit: int | None, details: bool,
          watch: float | None, as_json: bool, everything: bool, yes: bool, **filters: str | None) -> None:
    """Look at queued mail, and hold, release, delete, requeue, flush or expire what fits the filters."""
    action = words[0] if words and words[0] in ACTIONS else ""
    wanted = _selection(words[1:] if action else words, queues, filters)
    from mailsuite.cli.mailcommand import load
    settings = load(directory, PROGRAM, 1)
    if action:
        raise SystemExit(act(settings, action, wanted, everything=everything, yes=yes))
    if as_json:
        _print_json(settings, wanted)
        return
    console = _console()
    rows = limit if limit is not None else ON_TERMINAL if console.is_terminal else 0
    if watch is not None:
        watch_queue(lambda: _picture(settings, wanted, rows or ON_TERMINAL, details), console, watch)
        return
    show(settings, wanted, console, rows, details=details)


def _selection(ids: tuple[str, ...], queues: tuple[str, ...], filters: dict[str, str | None]) -> "Selection":
    from mailsuite.config.registry import seconds
    from mailsuite.queue.ids import looks_like_id
    from mailsuite.queue.selection import Selection, parse_size
    for one in ids:
        if not looks_like_id(one):
            raise click.UsageError(f"{one} is neither an action ({', '.join(ACTIONS)}) nor a queue id")
    try:
        age, size = seconds(), parse_size
        older, newer, larger, smaller = (
            None if filters[name] is None else parse(filters[name] or "")
            for name, parse in (("older", age), ("newer", age), ("larger", size), ("smaller", size)))
    except ConfigError as error:
        raise click.UsageError(error.public) from None
    return Selection(frozenset(ids), frozenset(queues), filters["sender"], filters["recipient"], filters["domain"],
                     filters["reason"], older, newer, larger, smaller)


def _console() -> "Console":
    from rich.console import Console
    # A pipe gets whole lines of a width that does not depend on who runs us.
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH, soft_wrap=False)


def _entries(settings: "Settings", wanted: "Selection") -> "Iterator[Listed]":
    """The messages that fit, from showq or from the folders; what cannot be listed ends the command."""
    from mailsuite.cli.postqueue import listed
    now = time.time()
    return (entry for entry in listed(settings, PROGRAM) if wanted.matches(entry, now))


# --- looking --------------------------------------------------------------------------------------------------------


def show(settings: "Settings", wanted: "Selection", console: "Console", rows: int, *, details: bool = False) -> None:
    """The table, what is not shown of it, and sums."""
    from mailsuite.cli.queue_table import Oldest, Sums, table
    oldest, sums = Oldest(rows), Sums()
    for entry in _entries(settings, wanted):
        oldest.add(entry)
        sums.add(entry)
    if sums.messages:
        console.print(table(oldest.entries, time.time(), width=console.width, details=details))
        if oldest.passed_over:
            console.print(f"... and {oldest.passed_over} younger ones (--limit 0 shows all)", markup=False)
        console.print()
    console.print("\n".join(sums.lines()), markup=False, soft_wrap=True)


def _print_json(settings: "Settings", wanted: "Selection") -> None:
    from mailsuite.queue.listing import to_json
    try:
        for entry in _entries(settings, wanted):
            sys.stdout.write(to_json(entry, more=True) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _picture(settings: "Settings", wanted: "Selection", rows: int, details: bool) -> Callable[["Console"], None]:
    from mailsuite.cli.queue_table import clock_text

    def draw(console: "Console") -> None:
        console.print(f"{settings.text('myhostname')}, {clock_text(time.time())} (Ctrl-C ends)", markup=False)
        console.print()
        show(settings, wanted, console, rows, details=details)

    return draw


def watch_queue(picture: Callable[[], Callable[["Console"], None]], console: "Console", every_s: float,
                sleep: Callable[[float], None] = time.sleep) -> None:
    """Draw again and again until Ctrl-C. A picture is drawn beside the screen first, so that nothing flickers."""
    try:
        while True:
            with console.capture() as captured:
                picture()(console)
            console.clear()
            console.file.write(captured.get())
            console.file.flush()
            sleep(every_s)
    except KeyboardInterrupt:
        pass


# --- acting ---------------------------------------------------------------------------------------------------------


def act(settings: "Settings", action: str, wanted: "Selection", *, everything: bool, yes: bool) -> int:
    """Show, ask, do. Returns the exit status."""
    from mailsuite.cli.queue_table import Oldest, Sums, table
    from mailsuite.queue.admin import Act
    if wanted.is_everything and not everything:
        raise click.UsageError(f"{action} needs a queue id, a filter, or --all")
    store = None if action == "flush" else _writable_store(settings)
    looked_into = ("deferred",) if action == "flush" else Act[action.upper()].queues
    oldest, sums, ids = Oldest(PREVIEW), Sums(), list[str]()
    for entry in _entries(settings, wanted):
        if entry.queue in looked_into:
            oldest.add(entry)
            sums.add(entry)
            ids.append(entry.queue_id)
    console = _console()
    if not ids:
        console.print(f"nothing to {action}: no message fits", markup=False)
        return 0
    if not yes:
        console.print(table(oldest.entries, time.time(), width=console.width))
        if oldest.passed_over:
            console.print(f"... and {oldest.passed_over} more", markup=False)
        console.print("\n".join(sums.lines()), markup=False, soft_wrap=True)
        if not _is_interactive():
            click.echo(f"{PROGRAM}: nothing was done: say --yes to {action} without being asked", err=True)
            return 1
        if not click.confirm(f"{action} {'this message' if len(ids) == 1 else f'these {len(ids)} messages'}?"):
            click.echo("nothing was done")
            return 1
    console.print(_flush(settings, ids) if store is None else _carry_out(settings, store, Act[action.upper()], ids),
                  markup=False)
    return 0


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _writable_store(settings: "Settings") -> "QueueStore":
    """The queue, for those who may change it: as for postsuper."""
    from mailsuite.cli.mailcommand import fatal
    from mailsuite.queue.store import open_store
    store = open_store(settings)
    try:
        owner = os.stat(f"{store.directory}/incoming").st_uid
    except OSError as error:
        fatal(PROGRAM, f"{store.directory}/incoming: {error.strerror}", 1)
    if os.geteuid() not in (0, owner):
        fatal(PROGRAM, "only root and the owner of the queue may change it", 1)
    return store


def _carry_out(settings: "Settings", store: "QueueStore", act: "Act", ids: list[str]) -> str:
    """Each message is logged as postsuper does; who has gone meanwhile is counted."""
    from mailsuite.cli.mailcommand import become_owner, log_also
    from mailsuite.queue.admin import on_one
    from mailsuite.queue.to_files import bring_to_files
    log = log_also(LOGGED_AS, settings, aloud=False)
    become_owner(store.directory)
    bring_to_files(store)
    count = 0
    for queue_id in ids:
        if on_one(store, act, queue_id, act.queues):
            log.info("%s: %s", queue_id, act.said)
            count += 1
    log.info("%s", act.total(count))
    gone = len(ids) - count
    return act.total(count) + (f" ({gone} had gone or were so already)" if gone else "")


def _flush(settings: "Settings", ids: list[str]) -> str:
    from mailsuite.cli.postqueue import flush_one
    for queue_id in ids:
        flush_one(settings, queue_id)
    return f"to be tried now: {len(ids)} message{'' if len(ids) == 1 else 's'}"
