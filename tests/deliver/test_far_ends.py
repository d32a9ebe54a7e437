"""smtp and lmtp against scripted far ends: the log and the octets on the wire are those of the real Postfix.

far_ends/NAME.recorded.json was recorded from Postfix 3.7 (far_ends/record.py). What we do otherwise on purpose stands
in the case, `ours`.
"""

import asyncio
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from mailsuite.address.syntax import unquote_local
from mailsuite.deliver.agent import serve_agent
from mailsuite.deliver.smtp import RemoteAgent, resolver_of
from mailsuite.net.service import ServiceContext
from mailsuite.queue.envelope import Notify, Recipient
from tests.deliver.far_ends.cases import Case, comparable, load, outcome, recorded, topics
from tests.deliver.harness import Qmgr, with_agent
from tests.support.dns_zone import name_server
from tests.support.far_end import far_ends, free_port

CASES = [pytest.param(topic, case, id=f"{topic}: {case.name}") for topic in topics() for case in load(topic)]


def settings_of(case: Case, port: int, dns_port: int, folder: Path) -> dict[str, str]:
    given = {"myhostname": "here.test", "mydestination": "", "inet_interfaces": "127.0.0.1", "inet_protocols": "all",
             "mynetworks": "127.0.0.0/8", "smtp_tcp_port": str(port), "dns_servers": f"127.0.0.1:{dns_port}",
             "recipient_delimiter": "+"} | case.main_cf
    return {name: value.replace("PORT", str(port)).replace("FOLDER", str(folder)) for name, value in given.items()}


def request_of(case: Case) -> dict[str, Any]:
    """What qmgr knows of the message: from the ESMTP parameters with which it came."""
    mail = dict(word.partition("=")[::2] for word in case.mail.split())
    rcpt = dict(word.partition("=")[::2] for word in case.rcpt.split())
    notify = Notify.NONE
    for word in rcpt.get("NOTIFY", "").split(",") if "NOTIFY" in rcpt else []:
        notify |= Notify[word]
    head = case.octets.partition(b"\n\n")[0]
    labelled = re.search(rb"^content-transfer-encoding:\s*(\(.*\))?\s*(8bit|binary)", head, re.I | re.M)
    return {"encoding": "8bit" if labelled else {"8BITMIME": "8bit", "7BIT": "7bit"}.get(mail.get("BODY", ""), ""),
            "smtputf8": "SMTPUTF8" in mail, "envid": unxtext(mail.get("ENVID", "")), "ret": mail.get("RET", ""),
            "utf8_header": not head.isascii(), "facts": {
                "client_name": "localhost", "client_address": "127.0.0.1", "client_port": "4711", "helo_name":
                "client.test", "protocol_name": "ESMTP", "rewrite_context": "remote"}, "recipients": [
                Recipient(unquote_local(address), original=unquote_local(address), notify=notify, number=number,
                          orcpt=unxtext(rcpt["ORCPT"]) if "ORCPT" in rcpt else f"rfc822;{address}")
                for number, address in enumerate(case.recipients)]}


def unxtext(text: str) -> str:
    return re.sub(r"\+([0-9A-F]{2})", lambda found: chr(int(found[1], 16)), text)


class Lines(logging.Handler):
    """The log as it would be in the file."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        assert record.exc_info is None, record.exc_info
        text = re.sub(r"[\x00-\x1f\x7f]", "?", record.getMessage())
        self.lines.append({logging.WARNING: "warning: ", logging.ERROR: "error: "}.get(record.levelno, "") + text)


def run_case(case: Case, folder: Path) -> dict[str, Any]:
    (folder / "data").mkdir()
    far = {(str(folder / address[1:]) if address.startswith("/") else address): script
           for address, script in case.far.items()}
    port = free_port(list(far))
    for name, text in case.files.items():
        (folder / name).write_text(text.replace("PORT", str(port)))
    zone = {name: [text.replace("PORT", str(port)) for text in records] for name, records in case.zone.items()}
    said: dict[str, list[list[str]]] = {}

    async def serve(context: ServiceContext) -> None:
        agent = RemoteAgent(context.settings, context.command, resolver_of(context.settings, context.command),
                            flags=case.flags)
        try:
            await serve_agent(context, agent.deliver)
        finally:
            await agent.close()

    async def talk(qmgr: Qmgr) -> None:
        async with far_ends(far, port) as ends:
            nexthop = case.nexthop.replace("PORT", str(port)).replace("FOLDER", str(folder))
            for _ in range(case.times):
                await qmgr.deliver(request_of(case), case.octets, unquote_local(case.sender), nexthop)
            async with asyncio.timeout(60):
                while ends.open:
                    await asyncio.sleep(0.01)
            said.update(ends.said)

    log, lines = logging.getLogger(f"mailsuite.{case.transport}"), Lines()
    log.addHandler(lines)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        with name_server(zone) as dns_port:
            with_agent(serve, case.transport, settings_of(case, port, dns_port, folder), talk)
    finally:
        log.removeHandler(lines)
        log.setLevel(level)
    return outcome(lines.lines, said, port, str(folder))


@pytest.mark.parametrize(("topic", "case"), CASES)
def test_as_postfix_does(topic: str, case: Case, tmp_path: Path) -> None:
    known = recorded(topic)[case.name]
    tmp_path.chmod(0o755)
    assert comparable(case, run_case(case, tmp_path)) == comparable(case, known | case.ours)
