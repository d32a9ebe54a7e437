"""mailsuite trace: the whole story of a message, from the log and the queue.

    mailsuite -c DIR trace 4A2F1C83D
    mailsuite -c DIR trace '<20261121.4711@c.test>' --log /var/log/mail.log --log /var/log/mail.log.1.gz
    mailsuite -c DIR trace anna@demo.test --limit 3

Exit: 0; 1 when nothing was found, or a log cannot be read.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.listing import Listed
    from mailsuite.trace.model import Trace
    from mailsuite.trace.search import Question

PROGRAM = "mailsuite"


@click.command()
@click.argument("word", metavar="ID|MESSAGE-ID|ADDRESS")
@click.option("--log", "logs", multiple=True, type=click.Path(exists=True, dir_okay=False),
              help="Read this file instead of the configured log and its rotated parts; may be repeated.")
@click.option("--limit", type=click.IntRange(0), default=10, show_default=True,
              help="Stories that are told, the last ones; 0: all.")
@click.option("--details", is_flag=True, help="Every line, the programs, and where the time went.")
@click.option("--json", "as_json_text", is_flag=True, help="For programs; docs/trace.md names the fields.")
@click.pass_obj
def trace(directory: str, /, word: str, logs: tuple[str, ...], limit: int, details: bool, as_json_text: bool) -> None:
    """Tell the whole story of a message: through all its queue ids, and what happens next."""
    from mailsuite.cli.mailcommand import load
    from mailsuite.trace.model import as_json
    from mailsuite.trace.search import Question
    from mailsuite.trace.text import as_text
    settings = load(directory, PROGRAM, 1)
    question = Question(word)
    if not question.core:
        raise click.UsageError("an empty word has no story")
    found = _from_logs(settings, question, [Path(log) for log in logs])
    _from_queue(settings, question, found)
    found.keep_last(limit)
    if as_json_text:
        click.echo(json.dumps(as_json(found), indent=2))
    elif found.is_empty:
        click.echo(f"nothing about {word} in the queue, nor in {', '.join(found.files) or 'any log'}", err=True)
    else:
        from rich.console import Console
        from rich.text import Text
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 10_000)
        for line, style in as_text(found, time.time(), details=details):
            console.print(Text(line, style), soft_wrap=True)
    raise SystemExit(1 if found.is_empty else 0)


def _from_logs(settings: "Settings", question: "Question", logs: list[Path]) -> "Trace":
    """Two passes over all files."""
    from mailsuite.cli.mailcommand import fatal, warn
    from mailsuite.trace.files import blocks
    from mailsuite.trace.search import Search
    from mailsuite.trace.story import Collector
    files = sorted(logs, key=lambda path: path.stat().st_mtime) if logs else _configured(settings)
    search = Search(question)
    readable = []
    for path in files:
        try:
            for lines in blocks(path):
                search.read(lines)
            readable.append(path)
        except PermissionError:
            warn(PROGRAM, f"{path} may not be read by this user")
        except (OSError, EOFError) as error:
            warn(PROGRAM, f"{path} is read only in part: {error}")
            readable.append(path)
    if files and not readable:
        fatal(PROGRAM, "no log can be read", 1)
    collector = Collector(question, search.family())
    for path in readable:
        collector.start()
        try:
            for lines in blocks(path):
                collector.read(lines)
        except (OSError, EOFError):
            pass                            # said already
        collector.finish(path.stat().st_mtime)
    found = collector.trace()
    found.files, found.lines = [str(path) for path in readable], search.lines
    found.truncated = found.truncated or search.truncated
    return found


def _configured(settings: "Settings") -> list[Path]:
    from mailsuite.trace.files import SYSLOG, log_files
    named = settings.text("maillog_file")
    for path in [Path(named)] if named else [Path(one) for one in SYSLOG]:
        try:
            if found := log_files(path):
                return found
        except OSError:
            continue
    return []


def _from_queue(settings: "Settings", question: "Question", found: "Trace") -> None:
    """What the queue knows: of the ids of the stories, or of all messages for an address."""
    from mailsuite.trace.now import fill_in
    ids = {life.queue_id for story in found.stories for life in story}
    ids.add(question.queue_id.decode())
    running = _is_running(settings)
    entries = _listed(settings, question, ids, running)
    fill_in(settings, found, entries, running=running)


def _is_running(settings: "Settings") -> bool:
    from mailsuite.cli.postqueue import connect
    try:
        connect(f"{settings.text('queue_directory')}/public/qmgr").close()
    except OSError:
        return False
    return True


def _listed(settings: "Settings", question: "Question", ids: set[str], running: bool) -> "list[Listed]":
    from mailsuite.queue.listing import list_queue
    from mailsuite.queue.store import open_store
    from mailsuite.queue.to_files import bring_to_files
    from mailsuite.trace.now import in_queue
    store = open_store(settings)
    by_address = b"@" in question.core and not question.word.startswith("<")
    if os.access(f"{store.directory}/incoming", os.R_OK | os.X_OK):
        bring_to_files(store)
        if not by_address:
            return list(in_queue(store, ids))
        entries = list_queue(store)
    elif running:
        from mailsuite.cli.postqueue import listed
        entries = listed(settings, PROGRAM)
    else:
        return []
    address = question.core.decode("utf-8", "surrogateescape")
    return [entry for entry in entries if entry.queue_id in ids or (by_address and address in (
        entry.sender.lower(), *(one.lower() for one, _ in entry.recipients)))]
