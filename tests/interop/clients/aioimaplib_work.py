"""The work of clients.py with aioimaplib."""

import asyncio
import re
import ssl

import aioimaplib
from step import given, say

box, other, third = given["box"], given["other"], given["third"]


async def ok(call: object) -> list[bytes]:
    answer = await call
    assert answer.result == "OK", answer
    return answer.lines


async def main() -> None:
    client = aioimaplib.IMAP4_SSL(given["host"], given["port"],
                                  ssl_context=ssl.create_default_context(cafile=given["authority"]))
    await client.wait_hello_from_server()
    await ok(client.login(given["user"], given["password"]))
    await ok(client.create(box))
    await ok(client.create(other))
    await ok(client.subscribe(box))
    for number in (1, 2, 3):
        await ok(client.append(given["message"].format(number=number).encode(), mailbox=box,
                               flags="$Kept" if number == 1 else None, date=f'"0{number}-Feb-2020 10:00:00 +0000"'))
    say("ready", listed=names(await ok(client.list('""', "*"))), subscribed=names(await ok(client.lsub('""', "*"))))
    await ok(client.select(box))
    idling = await client.idle_start(timeout=30)
    say("idling")
    exists = 0
    while not exists:
        for line in await client.wait_server_push(timeout=20):
            if match := re.match(rb"(\d+) EXISTS", line):
                exists = int(match[1])
    client.idle_done()
    await asyncio.wait_for(idling, 20)
    say("heard", exists=exists)
    await ok(client.uid("store", "1", "+FLAGS", r"(\Seen \Flagged)"))
    await ok(client.uid("store", "2", "+FLAGS", "($Label1)"))
    await ok(client.uid("move", "2", other))
    await ok(client.uid("copy", "1", other))
    await ok(client.uid("store", "3", "+FLAGS.SILENT", r"(\Deleted)"))
    await ok(client.expunge())
    await ok(client.rename(other, third))
    lines = await ok(client.uid("fetch", "1", "(INTERNALDATE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])"))
    parts = [bytes(line) for line in lines if isinstance(line, bytearray)]
    found = (await ok(client.search("SUBJECT number FLAGGED")))[0]
    say("done", search=[int(one) for one in found.split()], subject=parts[0].strip().decode().partition(": ")[2],
        text=parts[1].decode(), day=int(re.search(rb'INTERNALDATE "(\d+)-', b" ".join(map(bytes, lines)))[1]))
    await client.logout()


def names(lines: list[bytes]) -> list[str]:
    return [line.split(b' "." ')[1].strip(b'"').decode() for line in lines if b' "." ' in line]


asyncio.run(main())
