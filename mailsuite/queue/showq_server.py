"""showq(8): the queue's listing for those who may not read its folders. `serve(context)` is the service.

A client connects and reads: one JSON line per message (as postqueue -j prints it, and when it is tried again), then
{"end": true}; or {"error": text} when authorized_mailq_users leaves him out. Files are read in a thread, BATCH at a
time; a client that does not read holds no memory but its own batch. Limit: CONNECTIONS at once.
"""

import asyncio
import itertools
import json

from mailsuite.base.log import logger
from mailsuite.net.accepting import accept_streams
from mailsuite.net.service import ServiceContext
from mailsuite.queue.access import allowed, user_name
from mailsuite.queue.listing import list_queue, to_json
from mailsuite.queue.peer import peer_uid
from mailsuite.queue.pool import SyncPool
from mailsuite.queue.store import open_store
from mailsuite.queue.to_files import bring_to_files

BATCH = 100
CONNECTIONS = 50
WRITE_S = 300.0
log = logger("showq")


async def serve(context: ServiceContext) -> None:
    """Until the context stops."""
    pool = SyncPool(2)
    open_now = 0

    async def show(writer: asyncio.StreamWriter) -> None:
        uid = peer_uid(writer.get_extra_info("socket"))
        if not await allowed(context.settings, "authorized_mailq_users", uid):
            said = f"User {user_name(uid)}({uid}) is not allowed to view the mail queue"
            writer.write(json.dumps({"error": said}).encode() + b"\n")
            return
        store = open_store(context.settings, pool=pool)
        await pool.run(bring_to_files, store)
        entries = list_queue(store)

        def next_lines() -> list[str]:
            return [to_json(entry, more=True) for entry in itertools.islice(entries, BATCH)]

        while batch := await pool.run(next_lines):
            writer.write("".join(line + "\n" for line in batch).encode("utf-8", "backslashreplace"))
            await asyncio.wait_for(writer.drain(), WRITE_S)
        writer.write(b'{"end": true}\n')

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            if open_now <= CONNECTIONS:
                await show(writer)
                await asyncio.wait_for(writer.drain(), WRITE_S)
        except (OSError, TimeoutError):
            pass                        # the client has seen enough
        finally:
            open_now -= 1
            writer.close()

    entrances = [accept_streams(listener.sock, connected) for listener in context.listeners]
    context.ready()
    await context.stopping.wait()
    for entrance in entrances:
        entrance.stop()
