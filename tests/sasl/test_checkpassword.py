"""passdb and userdb { driver = checkpassword }: what Dovecot 2.3.19 answered with the same program."""

import os
import sys
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigErrors
from tests.sasl.asking import Ask, answers, service

PROGRAM = """#!PYTHON -SE
import os, sys
user, password, *rest = os.read(3, 4096).split(b"\\0")
user = user.decode()
environ = os.environ
if user == "killed": os.kill(os.getpid(), 9)
if user == "hangs": os.read(os.open(".", 0) and os.pipe()[0], 1)
if user.startswith("exit"): sys.exit(int(user[4:]))
if user == "upper": environ["USER"] = "changed"
if user == "floods": os.write(4, b"x" * 200000) and sys.exit(0)
environ["HOME"] = "/h/" + user
if user == "setuid": environ["ORIG_UID"] = "99999"
if user == "insecure": environ.update(ORIG_UID="99999", INSECURE_SETUID="1")
if user == "extra": environ.update(userdb_mail="mbox:~/x", FOO="bar", userdb_uid="7",
    EXTRA="userdb_mail FOO userdb_uid no")
if user == "cram": environ.update(password="{PLAIN}pw", EXTRA="password")
if user == "seen": environ.update(said=" ".join([*sys.argv[1:-1], environ["SERVICE"], environ["TCPREMOTEIP"],
    environ["AUTH_USERNAME"], environ.get("AUTH_PASSWORD", "-"), str(rest)]), EXTRA="said")
if environ.get("AUTHORIZED") == "1":
    if user == "nobody": sys.exit(3)
    if user != "lazy": environ["AUTHORIZED"] = "2"
elif password != b"pw": sys.exit(1)
os.execv(sys.argv[-1], sys.argv[-1:])
"""
SECTIONS = """
default_internal_user = root
passdb {
  driver = checkpassword
  args = DIR/program -x %d
}
userdb {
  driver = prefetch
}
userdb {
  driver = checkpassword
  args = DIR/program
}
"""


def site(folder: Path) -> Path:
    (folder / "program").write_text(PROGRAM.replace("PYTHON", sys.executable))
    (folder / "program").chmod(0o755)
    return folder


IDS = os.getuid(), os.getgid()
HOME = f"home=/h/%s uid={IDS[0]} gid={IDS[1]}"
CASES: list[tuple[Ask, str]] = [
    (("auth", "alice", "pw"), "OK user=alice | " + HOME % "alice"), (("auth", "alice", "bad"), "FAIL user=alice"),
    (("auth", "upper", "pw"), "OK original_user=upper user=changed | " + HOME % "upper"),
    (("auth", "setuid", "pw"), "FAIL user=setuid code=temp_fail"),
    (("auth", "insecure", "pw"), "OK user=insecure | " + HOME % "insecure"),
    (("auth", "extra", "pw"), f"OK foo=bar user=extra | home=/h/extra mail=mbox:~/x uid=7 gid={IDS[1]}"),
    *((("auth", f"exit{number}", "pw"), f"FAIL user=exit{number}" + ("" if number == 1 else " code=temp_fail"))
      for number in (0, 1, 2, 3, 9, 111)),
    (("auth", "killed", "pw"), "FAIL user=killed code=temp_fail"),
    (("auth", "floods", "pw"), "FAIL user=floods code=temp_fail"),
    (("cram", "cram", "pw"), "OK user=cram | " + HOME % "cram"), (("cram", "alice", "pw"), "FAIL user=alice"),
    (("cram", "nobody", "pw"), "FAIL user=nobody"),
    (("user", "alice"), "alice " + HOME % "alice"), (("user", "nobody"), "NOTFOUND"), (("user", "lazy"), "FAIL"),
    (("user", "exit0"), "FAIL"), (("user", "exit1"), "FAIL"), (("user", "exit3"), "NOTFOUND"),
    (("user", "exit111"), "FAIL"), (("user", "killed"), "FAIL"), (("pass", "alice"), "user=alice"),
    (("pass", "nobody"), "NOTFOUND"), (("pass", "lazy"), "FAIL"), (("list",), "fail")]


def test_as_dovecot_answers(tmp_path: Path) -> None:
    assert answers(service(site(tmp_path), SECTIONS), [ask for ask, _ in CASES]) == [want for _, want in CASES]


def test_what_the_program_is_told(tmp_path: Path) -> None:
    auth = service(site(tmp_path), SECTIONS.replace("-x %d", "-x %s %u;id"))
    assert answers(auth, [("auth", "seen", "pw", "rip=192.0.2.1")]) == [
        "OK said=-x imap seen;id imap 192.0.2.1 seen - [b'', b''] user=seen | " + HOME % "seen"]


def test_a_program_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("mailsuite.sasl.checkpassword.TIMEOUT_S", 0.3)
    auth = service(site(tmp_path), SECTIONS)
    assert answers(auth, [("auth", "hangs", "pw")]) == ["FAIL user=hangs code=temp_fail"]
    assert "took too long" in caplog.text


def test_a_program_that_is_missing(tmp_path: Path) -> None:
    assert answers(service(tmp_path, SECTIONS), [("auth", "alice", "pw")]) == ["FAIL user=alice code=temp_fail"]
    with pytest.raises(ConfigErrors, match="Missing args"):
        service(tmp_path, "passdb {\n driver = checkpassword\n}\n")
