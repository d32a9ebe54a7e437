"""The auth service answers what Dovecot 2.3.19 answered (recorded/NAME.txt), line by line.

A paragraph is one connection: "> " a line of the client, words between tabs ({...} stands for its base64, "-" for an
empty word; \\0 \\1 \\t \\n are octets), "< " the answer; "<closed>": the service hung up, "<nothing>": it stays silent,
"...": a challenge that differs each time.
"""

import asyncio
import os
import re
from base64 import b64encode
from pathlib import Path

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.sasl import wire
from tests.sasl.support import auth_service

FOLDER = Path(__file__).parent / "recorded"
USERS = """\
alice:{PLAIN}secret-alice:5000:5000::/home/alice::
bob:{PLAIN}secret-bob:5000:5000::/home/bob::
slow:{SHA512-CRYPT}$6$/.GHcjHhXf1tlLeB$LM5xZKc61E1m4wJxNevx1TB7GX2.kgHjoTSjswV.6r.8Bgvi0oJokXGWxXWiudb4W9ZzkKJDOb1Vqnyti.brG/:5000:5000::/x::
extra:{PLAIN}secret-extra:5000:5000::/x::foo=bar userdb_mail=x:%u baz= nodelay=y userdb_home=/h/%n
"""
DATABASES = """
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%u @TOP@/users
}
userdb {
  driver = passwd-file
  args = username_format=%u @TOP@/users
}
"""
MASTERS = """
auth_master_user_separator = *
passdb {
  driver = passwd-file
  args = scheme=PLAIN @TOP@/masters
  master = yes
  pass = yes
}
"""
CONFS = {
    "MANY": MASTERS + """
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 digest-md5 anonymous external apop
""",
    "CERTIFICATE": MASTERS + """
auth_mechanisms = plain external scram-sha-1 login
auth_ssl_username_from_cert = yes
auth_ssl_require_client_cert = yes
""",
    "NO_MASTER": "auth_mechanisms = plain login\nauth_master_user_separator = *\n",
}
# recorded file -> configuration, socket
CASES = {"client": ("MANY", "auth"), "certificate": ("CERTIFICATE", "auth"), "master": ("CERTIFICATE", "auth-master"),
         "userdb": ("CERTIFICATE", "auth-userdb"), "nomaster": ("NO_MASTER", "auth")}
_ESCAPES = {"\\0": "\0", "\\1": "\x01", "\\t": "\t", "\\n": "\n", "\\\\": "\\"}


def plain(text: str) -> str:
    return re.sub(r"\\[01tn\\]", lambda match: _ESCAPES[match[0]], text)


def encoded(word: str) -> str:
    """A word of a client's line as it goes over the wire."""
    word = re.sub(r"\{(.*)\}", lambda match: b64encode(plain(match[1]).encode()).decode(), word)
    return "" if word == "-" else plain(word)


def connections(name: str) -> list[list[tuple[list[str], str]]]:
    """Per connection: (words, answer)."""
    found = []
    for paragraph in (FOLDER / f"{name}.txt").read_text().split("\n\n")[1:]:
        lines = paragraph.splitlines()
        found.append([([encoded(word) for word in said[2:].split("\t")], heard[2:])
                      for said, heard in zip(lines[::2], lines[1::2], strict=True)])
    return found


async def answers(path: Path, lines: list[list[str]]) -> list[str]:
    """What the service says to each of these lines."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    client = path.name == "auth"
    await reader.readuntil(b"DONE\n" if client else b"SPID\t")
    if not client:
        await reader.readline()
    writer.write(b"VERSION\t1\t1\n" + (b"CPID\t%d\n" % os.getpid() if client else b""))
    heard = []
    for words in lines:
        writer.write(wire.line(*words))
        try:
            line = await asyncio.wait_for(reader.readline(), 0.3 if words[0] == "CANCEL" else 30)
        except TimeoutError:
            line = b"<nothing>\n"
        except ConnectionError:
            line = b""
        heard.append("\t".join(wire.words(line[:-1])) if line else "<closed>")
        if not line:
            break
    writer.close()
    return [re.sub(r"^(CONT\t1\t)[A-Za-z0-9+/=]{30,}$", r"\1...", each) for each in heard]


@pytest.mark.parametrize("name", CASES)
def test_recorded(tmp_path: Path, name: str) -> None:
    conf, sock = CASES[name]
    (tmp_path / "users").write_text(USERS)
    (tmp_path / "masters").write_text("boss:{PLAIN}secret-boss\n")
    settings = DovecotSettings.of((CONFS[conf] + DATABASES).replace("@TOP@", str(tmp_path)) + "\nauth_penalty = no\n")

    async def work() -> list[tuple[list[list[str]], list[str], list[str]]]:
        async with auth_service(tmp_path, settings):
            return [([words for words, _ in connection], [want for _, want in connection],
                     await answers(tmp_path / sock, [words for words, _ in connection]))
                    for connection in connections(name)]

    for said, want, heard in asyncio.run(work()):
        assert heard == want, said
