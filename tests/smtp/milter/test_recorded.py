"""The same dialogues as real Postfix's, with the same milters: what client, milter, log and queue see is the same."""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.config.settings import Settings
from mailsuite.net.service import Listener, ServiceContext
from mailsuite.queue.envelope import Envelope, Recipient
from mailsuite.queue.folders import make_folders
from mailsuite.queue.pickup_server import Pickup
from mailsuite.queue.store import open_store
from mailsuite.queue.submit import Draft
from mailsuite.smtp import server
from tests.queue.support import context_for, until
from tests.smtp.milter.scenario import (
    Scenario,
    contents,
    play,
    recorded,
    scenarios,
    settings_of,
    start_milters,
)

# What we do otherwise than Postfix; our transcripts are in different/.
DIFFERENT = {
    "dialogues/xclient": "anvil counts the client of the connection, not the one that XCLIENT names",
    "replies/at header shutdown": "Postfix answers 250 and loses the message", "replies/at eoh shutdown": "as above",
    "replies/at body shutdown": "as above", "replies/at eom shutdown": "as above",
    "replies/unknown accept": "Postfix's smtpd panics", "replies/unknown discard": "one ABORT more, harmless",
    "replies/texts bare lf": "Postfix lets a milter put a second reply into the dialogue",
    "replies/texts controls": "control characters do not reach the client",
    "replies/texts mixed": "a reply whose lines differ in code is refused",
    "negotiation/bad short": "text of the warning", "negotiation/bad bad stage": "text of the warning",
    "edits/one add no name": "a header needs a name", "edits/one from parameters": "text of the warning",
    "edits/one from bad": "an address that is none is not taken", "edits/one from list": "text of the warning",
    "edits/one rcpt parameters": "text of the warning", "edits/one rcpt known": "a recipient is there once",
    "edits/one rcpt local": "X-Original-To is what the milter said", "edits/canonical": "as above",
    "edits/several bodies": "Postfix cannot mix a new body with other requests",
    "edits/checks redirect": "the queue file holds the final recipient",
    "trouble/own action quarantine": "the other milters are asked all the same",
    "trouble/nonsense rcpt header without value": "text of the warning",
    "trouble/nonsense rcpt replycode without end": "no string: the milter's default action, as for all nonsense",
    "trouble/nonsense rcpt edit early": "text of the warning",
    "trouble/nonsense eom header without value": "text of the warning",
    "trouble/nonsense eom replycode without end": "no string: the milter's default action, as for all nonsense",
    "trouble/nonsense eom edit early": "text of the warning",
}
CASES = [(group, name) for group, members in scenarios().items() for name in members]


def log_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    words = {logging.WARNING: "warning: ", logging.ERROR: "error: "}
    return [f"{record.name.removeprefix('mailsuite.')}: {words.get(record.levelno, '')}{record.getMessage()}"
            for record in caplog.records if record.name in ("mailsuite.smtpd", "mailsuite.cleanup")]


def queue_lines(settings: Settings) -> list[str]:
    store, lines = open_store(settings), list[str]()
    for queue, shown in (("hold", "hold"), ("incoming", "deferred"), ("maildrop", "maildrop")):
        for queue_id in sorted(store.scan(queue)):
            stored = store.read(queue, queue_id)
            pairs = [("sender", stored.envelope.sender)]
            for one in stored.recipients:
                pairs += [("original_recipient", one.original), ("recipient", one.address)]
            with open(store.path(queue, queue_id), "rb") as file:
                file.seek(stored.offset)
                text = file.read(stored.size).decode("utf-8", "backslashreplace")
            lines += contents(pairs, shown, text)
    return lines


async def serve(settings: Settings, story: Callable[[int], str]) -> str:
    """Run story(port) in a thread beside smtpd and pickup."""
    sock = socket.create_server(("127.0.0.1", 0))
    context = ServiceContext("smtp", "smtpd", settings, listeners=[Listener("smtp", sock)])
    context.prepared = server.prepare(context)
    serving = asyncio.ensure_future(server.serve(context))
    try:
        return await asyncio.to_thread(story, sock.getsockname()[1])
    finally:
        context.stopping.set()
        await serving
        sock.close()


def submit_with(settings: Settings) -> Callable[[str], None]:
    def submit(text: str) -> None:
        async def run() -> None:
            context = context_for(settings, "pickup")
            draft = Draft(settings)
            try:
                draft.write(text.encode())
                draft.send(Envelope(sender="root@example.test", full_name="root"), [Recipient("b@example.test")])
            finally:
                draft.abort()
            pickup = Pickup(context)
            task = asyncio.get_running_loop().create_task(pickup.run())
            store, before = open_store(settings), len(list(open_store(settings).scan("maildrop")))
            assert before == 1
            try:
                await until(lambda: not list(store.scan("maildrop")) or pickup._complained)
            finally:
                context.stopping.set()
                await task

        asyncio.run(run())
    return submit


def ours(scenario: Scenario, top: Path, caplog: pytest.LogCaptureFixture) -> str:
    spool = top / "spool"
    spool.mkdir()
    make_folders(str(spool))
    milters = start_milters(scenario, top)
    values = {**settings_of(scenario, milters), "queue_directory": str(spool), "enable_long_queue_ids": "no"}
    settings = Settings.of(values, str(top))
    caplog.set_level(logging.INFO)

    def story(port: int) -> str:
        return play(scenario, port, milters, lambda: None, lambda: log_lines(caplog), lambda: queue_lines(settings),
                    submit_with(settings))

    try:
        return asyncio.run(serve(settings, story)) if "say" in scenario else story(0)
    finally:
        for milter in milters.values():
            milter.stop()


@pytest.mark.parametrize(("group", "name"), CASES, ids=[f"{group}/{name}" for group, name in CASES])
def test_as_postfix(group: str, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    got = ours(scenarios()[group][name], tmp_path, caplog)
    if f"{group}/{name}" in DIFFERENT:
        assert got != recorded(group)[name]
        assert got == recorded(group, "different")[name]
    else:
        assert got == recorded(group)[name]
