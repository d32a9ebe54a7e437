"""postconf and doveconf, as a user runs them. What they print for whole configurations, the oracle cases say."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.cli import doveconf, postconf

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("MAIL_CONFIG", raising=False)

    def command(program: str, *words: str) -> tuple[int, str, str]:
        main, where = {"postconf": (postconf.main, str(tmp_path)),
                       "doveconf": (doveconf.main, str(tmp_path / "dovecot.conf"))}[program]
        monkeypatch.setattr(sys, "argv", [program, "-c", where, *words])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        got = capsys.readouterr()
        return status, got.out, got.err.replace(str(tmp_path), "")

    return command


@pytest.fixture
def main_cf(tmp_path: Path) -> Path:
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\n  -o syslog_name=a/b -o nosuch=x\n")
    path = tmp_path / "main.cf"
    path.write_text("myhostname = a.test\nmyown = $myhostname\nsmtpd_banner = $myown x\nunused = $undefined\n")
    return path


UNUSED = "postconf: warning: /main.cf: unused parameter: unused=$undefined\n"
UNDEFINED = "postconf: warning: /main.cf: undefined parameter: undefined\n"
MASTER = "postconf: warning: /master.cf: unused parameter: nosuch=x\n"


@pytest.mark.parametrize(("words", "status", "out", "err"), [
    (["myhostname", "relayhost"], 0, "myhostname = a.test\nrelayhost =\n", UNDEFINED + UNUSED + MASTER),
    (["-hx", "smtpd_banner"], 0, "a.test x\n", UNDEFINED + UNUSED + MASTER),
    (["-H", "myown"], 0, "myown\n", UNDEFINED + UNUSED + MASTER),
    (["-d", "queue_run_delay", "myown"], 0, "queue_run_delay = 300s\n",
     "postconf: warning: myown: unknown parameter\n"),
    (["-o", "myhostname=z", "-hx", "myown"], 0, "z\n", UNDEFINED + UNUSED + MASTER),
    (["-nd"], 1, "", "postconf: fatal: specify one of -d -n\n"),
    (["-Mn"], 1, "", "postconf: fatal: with option -M, do not specify -n\n"),
    (["-e", "a"], 1, "", "postconf: fatal: missing '=' after attribute name: \"a\"\n"),
    (["-X", "a=b"], 1, "", "postconf: fatal: specify one of -e -X\n"),
    (["-M"], 0, "smtp       inet  n       -       n       -       -       smtpd -o syslog_name=a/b -o nosuch=x\n",
     UNDEFINED + MASTER),
    (["-P", "smtp/inet/syslog_name"], 0, "smtp/inet/syslog_name = a/b\n", UNDEFINED + MASTER),
    (["-F", "*/*/command"], 0, "smtp/inet/command = smtpd -o syslog_name=a/b -o nosuch=x\n", UNDEFINED + MASTER),
    (["-F", "smtp/inet/nosuch"], 1, "", UNDEFINED + "postconf: fatal: invalid service attribute name: \"nosuch\"\n"),
    (["-l"], 0, "flock\nfcntl\ndotlock\n", ""),
])
def test_postconf(run: Run, main_cf: Path, words: list[str], status: int, out: str, err: str) -> None:
    assert run("postconf", *words) == (status, out, err)


def test_postconf_n_shows_what_is_set_and_means_something(run: Run, main_cf: Path, tmp_path: Path) -> None:
    assert run("postconf", "-n")[1] == (f"config_directory = {tmp_path}\nmyhostname = a.test\nmyown = $myhostname\n"
                                        "smtpd_banner = $myown x\n")


@pytest.mark.parametrize(("words", "want"), [
    (["-P", "smtp/inet/content_filter=f:x"], "-o content_filter=f:x"),
    (["-F", "smtp/inet/process_limit=3"], " 3       smtpd"),
    (["-M", "tool/unix=tool unix - n n - - pipe user=a argv=/b"], "\ntool       unix  -       n       n "),
])
def test_postconf_edits_master_cf_without_a_flag(run: Run, main_cf: Path, words: list[str], want: str) -> None:
    assert run("postconf", *words)[0] == 0
    assert want in (main_cf.parent / "master.cf").read_text()


def test_postconf_edits_without_a_flag(run: Run, main_cf: Path) -> None:
    assert run("postconf", "relayhost=[x]:25", "myown = y") == (0, "", "")
    assert "myown = y\n" in main_cf.read_text()
    assert main_cf.read_text().endswith("relayhost = [x]:25\n")


def test_postconf_names_a_file_that_is_not_there(run: Run) -> None:
    assert run("postconf", "-n") == (1, "", "postconf: fatal: open /main.cf: No such file or directory\n")


def test_postconf_does_not_send_control_octets_to_the_terminal(run: Run, main_cf: Path) -> None:
    main_cf.write_text("unused = \x1b[31m\u00e9\n")
    assert "unused=?[31m??" in run("postconf", "-n")[2]


CONF = """\
ssl = no
mail_plugins = $mail_plugins quota
namespace inbox {
  inbox = yes
}
ssl_key = <key.pem
protocol imap {
  mail_debug = yes
}
"""


@pytest.mark.parametrize(("words", "out"), [
    (["-h", "ssl", "mail_plugins"], "no\n quota\n"),
    (["nosuch"], ""),
    (["mail_debug", "-f", "protocol=imap"], "mail_debug = yes\n"),
    (["namespace/inbox/inbox"], "namespace/inbox/inbox = yes\n"),
    (["service/imap-login/inet_listener/imaps/port"], "service/imap-login/inet_listener/imaps/port = 993\n"),
    (["-n", "namespace"], "namespace inbox {\n  inbox = yes\n  location = \n  prefix = \n}\n"),
    (["-d", "ssl"], "ssl = yes\n"),
    (["ssl_key"], "ssl_key = <key.pem\n"),
])
def test_doveconf(run: Run, tmp_path: Path, words: list[str], out: str) -> None:
    (tmp_path / "dovecot.conf").write_text(CONF)
    assert run("doveconf", *words) == (0, out, "")


def test_doveconf_hides_keys_in_what_people_send_around(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dovecot.conf").write_text(CONF)
    shown = [line for line in run("doveconf", "-n")[1].splitlines() if not line.startswith("#")]
    assert shown == ['mail_plugins = " quota"', "namespace inbox {", "  inbox = yes", "  location = ", "  prefix = ",
                     "}", "ssl = no", "ssl_key = # hidden, use -P to show it", "protocol imap {",
                     "  mail_debug = yes", "}"]


def test_doveconf_n_can_be_read_in_again(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dovecot.conf").write_text(CONF)
    first = run("doveconf", "-nP")[1]
    (tmp_path / "dovecot.conf").write_text(first)
    assert run("doveconf", "-nP")[1] == first


def test_doveconf_refuses_with_file_and_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dovecot.conf").write_text("ssl = no\nnosuch = 1\n")
    assert run("doveconf", "ssl") == (
        89, "", "doveconf: Fatal: Error in configuration file /dovecot.conf line 2: Unknown setting: nosuch\n")
