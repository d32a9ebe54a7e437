"""The work of clients.py with imapclient."""

import ssl
import sys
from datetime import UTC, datetime

from imapclient import IMAPClient
from step import given, say

box, other, third = given["box"], given["other"], given["third"]
client = IMAPClient(given["host"], given["port"], ssl_context=ssl.create_default_context(cafile=given["authority"]))
client.login(given["user"], given["password"])
client.create_folder(box)
client.create_folder(other)
client.subscribe_folder(box)
for number in (1, 2, 3):
    client.append(box, given["message"].format(number=number).encode(), flags=["$Kept"] if number == 1 else [],
                  msg_time=datetime(2020, 2, number, 10, 0, tzinfo=UTC))
say("ready", listed=[name for _, _, name in client.list_folders()],
    subscribed=[name for _, _, name in client.list_sub_folders()])
client.select_folder(box)
client.idle()
say("idling")
heard: list[object] = []
while not any(len(one) > 1 and one[1] == b"EXISTS" for one in heard):
    heard += client.idle_check(timeout=20)
client.idle_done()
say("heard", exists=next(one[0] for one in heard if len(one) > 1 and one[1] == b"EXISTS"))
client.add_flags([1], [b"\\Seen", b"\\Flagged"])
client.add_flags([2], [b"$Label1"])
client.move([2], other)
client.copy([1], other)
client.delete_messages([3])
client.expunge([3])
client.rename_folder(other, third)
found = client.fetch([1], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "BODY.PEEK[TEXT]", "INTERNALDATE"])[1]
say("done", search=client.search(["SUBJECT", "number", "FLAGGED"]), subject=found[b"ENVELOPE"].subject.decode(),
    text=found[b"BODY[TEXT]"].decode(), day=found[b"INTERNALDATE"].day, multipart=found[b"BODYSTRUCTURE"].is_multipart,
    sorted=client.sort("REVERSE DATE") if client.has_capability("SORT") else [])
client.logout()
sys.exit(0)
