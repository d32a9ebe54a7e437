"""Record what the real Postfix does with the cases: as root, `python -m tests.deliver.far_ends.record TOPIC [NAME...]`.

Runs Postfix in network, mount and process namespaces of its own, with its own name server, below a temporary folder.
"""

import asyncio
import json
import os
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.deliver.far_ends.cases import FOLDER, Case, load, outcome, recorded
from tests.support.dns_zone import name_server
from tests.support.far_end import far_ends

PORT, SMTPD = 2525, 2500
MASTER = """
{smtpd} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp{own}{flags}
lmtp unix - - n - - lmtp{own}{flags}
discard unix - - n - - discard
error unix - - n - - error
retry unix - - n - - error
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
postlog unix-dgram n - n - 1 postlogd
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def configure(case: Case, folder: Path) -> None:
    etc = folder / "etc"
    for name in ("etc", "spool", "data"):
        (folder / name).mkdir()
    shutil.chown(folder / "data", "postfix")
    for name, text in case.files.items():
        (folder / name).write_text(text.replace("PORT", str(PORT)))
    route = f"/@b\\.test$/ discard:\n/./ {case.transport}:{case.nexthop}\n"
    (etc / "route").write_text(route.replace("PORT", str(PORT)).replace("FOLDER", str(folder)))
    (etc / "drop").write_text("/^Received:/ IGNORE\n")
    settings = {
        "compatibility_level": "3.6", "queue_directory": f"{folder}/spool", "data_directory": f"{folder}/data",
        "maillog_file": f"{folder}/log", "maillog_file_prefixes": str(folder), "myhostname": "here.test",
        "mydestination": "", "inet_interfaces": "127.0.0.1", "inet_protocols": "all", "mynetworks": "127.0.0.0/8",
        "local_header_rewrite_clients": "", "transport_maps": f"regexp:{etc}/route", "header_checks":
        f"regexp:{etc}/drop", "smtp_tcp_port": str(PORT), "smtputf8_enable": "yes", "alias_maps": "",
        "recipient_delimiter": "+", "proxy_write_maps": f"proxy:btree:{folder}/data/auth"}
    settings |= {name: case.main_cf[name] for name in ("transport_maps", "relayhost") if name in case.main_cf}
    own = "".join(f"\n  -o {{ {name} = {value} }}" for name, value in case.main_cf.items())
    flags = f"\n  flags={case.flags}" if case.flags else ""
    for path, text in ((etc / "main.cf", "".join(f"{key} = {value}\n" for key, value in settings.items())),
                       (etc / "master.cf", MASTER.format(smtpd=f"127.0.0.1:{SMTPD}", own=own, flags=flags))):
        path.write_text(text.replace("PORT", str(PORT)).replace("FOLDER", str(folder)))


def submit(case: Case) -> None:
    for _ in range(100):
        try:
            client = smtplib.SMTP("127.0.0.1", SMTPD, "client.test")
            break
        except OSError:
            time.sleep(0.1)
    client.ehlo()

    def say(line: str) -> None:
        code, text = client.docmd(line)
        if code // 100 not in (2, 3):
            raise AssertionError(f"{line}: {code} {text!r}")

    client.command_encoding = "utf-8"
    say(f"MAIL FROM:<{case.sender}> {case.mail}".strip())
    for recipient in case.recipients:
        say(f"RCPT TO:<{recipient}> {case.rcpt}".strip())
    code, text = client.data(case.octets.replace(b"\n", b"\r\n"))
    assert code == 250, text
    client.quit()


def log_lines(folder: Path) -> list[str]:
    path = folder / "log"
    if not path.exists():
        return []
    lines = path.read_text(errors="surrogateescape").splitlines()
    return [match[1] for line in lines if (match := re.search(r"postfix/(?:smtp|lmtp)\[\d+\]: (.*)", line))]


async def play(case: Case, folder: Path) -> dict[str, Any]:
    zone = {name: [text.replace("PORT", str(PORT)) for text in records] for name, records in case.zone.items()}
    far = {(str(folder / address[1:]) if address.startswith("/") else address): script
           for address, script in case.far.items()}
    configure(case, folder)
    with name_server(zone, 53):
        async with far_ends(far, PORT) as ends:
            for address in far:
                if address.startswith("/"):
                    os.chmod(address, 0o777)
            await asyncio.to_thread(run, "postfix", "-c", f"{folder}/etc", "start")
            try:
                for number in range(case.times):
                    await asyncio.to_thread(submit, case)
                    wanted = len(case.recipients) * (number + 1)
                    for _ in range(600):
                        if sum("status=" in line for line in log_lines(folder)) >= wanted:
                            break
                        await asyncio.sleep(0.05)
                    else:
                        print(case.name, "no end:", (folder / "log").read_text(), sep="\n")
                for _ in range(60):
                    if not ends.open:
                        break
                    await asyncio.sleep(0.1)
            finally:
                await asyncio.to_thread(run, "postfix", "-c", f"{folder}/etc", "abort")
            return outcome(log_lines(folder), ends.said, PORT, str(folder))


def main() -> int:
    if "INSIDE" not in os.environ:
        command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable,
                   "-m", __spec__.name, *sys.argv[1:]]
        return subprocess.run(command, env=os.environ | {"INSIDE": "yes"}, check=False).returncode
    run("ip", "link", "set", "lo", "up")
    topic, *names = sys.argv[1:]
    known = recorded(topic)
    cases = load(topic)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="far-") as base:
        os.chmod(base, 0o755)
        (Path(base) / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        run("mount", "--bind", f"{base}/resolv.conf", "/etc/resolv.conf")
        for number, case in enumerate(cases):
            if (names and case.name not in names) or (not names and case.name in known):
                continue
            folder = Path(base) / f"case{number}"
            folder.mkdir()
            os.chmod(folder, 0o755)
            try:
                known[case.name] = asyncio.run(play(case, folder))
            except (AssertionError, OSError, subprocess.SubprocessError) as error:
                print(case.name, "NOT RECORDED", repr(error), flush=True)
                continue
            print(case.name, json.dumps(known[case.name], indent=1, ensure_ascii=False), flush=True)
            wanted = {each.name: known[each.name] for each in cases if each.name in known}
            (FOLDER / f"{topic}.recorded.json").write_text(json.dumps(wanted, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
