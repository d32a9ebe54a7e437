"""postconf's rules, as Postfix 3.7 has them: which options go together, which names count as used, in which scope."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.cli import postconf, postconf_options
from mailsuite.config import maincf

Run = Callable[..., tuple[int, str, list[str]]]
SMTP = "smtp inet n - n - - smtpd"


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("MAIL_CONFIG", raising=False)

    def command(main_cf: str, master_cf: str, *words: str) -> tuple[int, str, list[str]]:
        for name, text in (("main.cf", main_cf), ("master.cf", master_cf)):
            (tmp_path / name).write_text(text)
            os.utime(tmp_path / name, (1e9, 1e9))
        monkeypatch.setattr(sys, "argv", ["postconf", "-c", str(tmp_path), *words])
        status = 0
        try:
            postconf.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        got = capsys.readouterr()
        return status, got.out, got.err.replace(f"{tmp_path}/", "").replace("postconf: ", "").splitlines()

    return command


@pytest.mark.parametrize(("flags", "said"), [
    ("-aF", "specify one of -a -F"), ("-bt", "specify one of -b and -t"), ("-lM", "specify one of -l -M"),
    ("-pM", "specify one of -M -p"), ("-aAl", "specify one of -a -A -l"), ("-deX", "specify one of -d -e -X"),
    ("-eXH", "specify one of -e -X"), ("-hHe", "specify one of -e -h -H"), ("-ehx", "specify one of -e -x"),
    ("-Mef", "specify one of -e -f"), ("-MFd", "specify one of -F -M"),
    ("-Mdh", "with option -M, do not specify -d -h"),
    ("-axd", "with option -a, do not specify -d -x"), ("-MHn", "with option -M, do not specify -H -n"),
    ("-Fdn", "specify one of -d -n"), ("-P#", "with option -P, do not specify -#"),
    ("-Me", "-e requires name=value argument"),
    ("-MX", "missing service argument"), ("-tx", "with option -t, do not specify -x"),
])
def test_options_that_do_not_go_together(run: Run, flags: str, said: str) -> None:
    assert run("", SMTP, flags) == (1, "", [f"fatal: {said}"])


@pytest.mark.parametrize(("words", "said"), [
    (["-o", "=x"], "invalid parameter override: =x: missing attribute name"),
    (["-MX", "smtp/inet=1"], "specify one of -e -X"),
    (["-PX", "smtp/inet"], "-Pe or -PX requires service_name/type/parameter"),
    (["-Pe", "smtp/inet/=x"], "-Pe or -PX requires service_name/type/parameter"),
    (["-Fe", "a//c=c"], "-Fe or -FX requires service_name/type/field_name"),
])
def test_arguments_that_are_refused(run: Run, words: list[str], said: str) -> None:
    assert run("", SMTP, *words) == (1, "", [f"fatal: {said}"])


@pytest.mark.parametrize(("main_cf", "master_cf", "warnings"), [
    pytest.param("smtpd_restriction_classes = one, two\none = permit\n", SMTP,
                 ["main.cf: undefined parameter: two"], id="a class that nobody defines"),
    pytest.param("foo = b\n", f"{SMTP} -o myhostname=$foo -o foo=5\n",
                 ["main.cf: unused parameter: foo=b"], id="a service that gives the name itself"),
    pytest.param("foo = b\n", f"{SMTP} -o myhostname=$foo\nx inet n - n - - smtpd -o foo=5\n", [],
                 id="a name of main.cf that one service uses and another replaces"),
    pytest.param("", f"{SMTP} -o myhostname=$foo\nx inet n - n - - smtpd -o foo=5\n",
                 ["master.cf: undefined parameter: foo", "master.cf: unused parameter: foo=5"],
                 id="services do not see each other's names"),
    pytest.param("myhostname = $foo\n", f"{SMTP} -o foo=5\n", [], id="main.cf sees those of services"),
    pytest.param("a = pgsql:/nosuch\nrelayhost = $a\n", SMTP, [], id="tables count in Postfix's parameters only"),
    pytest.param("relayhost = a\nrelayhost = a\n", SMTP, [], id="the same value twice"),
    pytest.param("relayhost = a\nrelayhost =\n  b\n", SMTP,
                 ["warning: main.cf, line 2: overriding earlier entry: relayhost=a"], id="the line of the name"),
    pytest.param("  stray\nrelayhost = a\n", SMTP,
                 ['warning: main.cf: logical line must not start with whitespace: "  stray"'], id="continues nothing"),
    pytest.param("mine = $a ${b\n", SMTP, ["main.cf: undefined parameter: a",
                 'warning: truncated macro reference: "$a ${b"', "main.cf: unused parameter: mine=$a ${b"],
                 id="names before the fault count"),
])
def test_warnings(run: Run, main_cf: str, master_cf: str, warnings: list[str]) -> None:
    status, _, err = run(main_cf, master_cf, "-n")
    assert status == 0
    assert [line.removeprefix("warning: ") for line in err] == [line.removeprefix("warning: ") for line in warnings]


@pytest.mark.parametrize(("main_cf", "words", "said"), [
    ("relayhost = ${a\n", ["-n"], "macro processing error"),
    ("relayhost = ${a\n", ["-M"], "macro processing error"),
    ("myhostname = ${a\n", ["-h", "relayhost"], "dictionary mail_dict: macro processing error"),
    ("inet_interfaces = ${a\n", ["-n"], "dictionary mail_dict: macro processing error"),
    ("inet_interfaces = ${a\nmynetworks = b\n", ["-n"], "macro processing error"),
])
def test_a_value_that_is_not_in_the_macro_language(run: Run, main_cf: str, words: list[str], said: str) -> None:
    assert run(main_cf, SMTP, *words) == (
        1, "", ['warning: truncated macro reference: "${a"', f"fatal: {said}"])
    assert run(main_cf, SMTP, "-d", "relayhost")[0] == 0


def test_expansion_of_services_knows_their_name(run: Run) -> None:
    assert run("", f"{SMTP} -o syslog_name=$service_name/x\n", "-Px")[1] == "smtp/inet/syslog_name = smtp/x\n"
    assert run("", f"{SMTP} -o syslog_name=$service_name\n", "-Fx", "smtp/inet/command")[1] == (
        "smtp/inet/command = smtpd -o syslog_name=smtp\n")


def test_a_branch_depends_on_the_value_as_written(run: Run) -> None:
    assert run("a = $nosuch\nrelayhost = ${a?{yes}:{no}}\n", SMTP, "-hx", "relayhost")[1] == "yes\n"


def test_removing_leaves_a_missing_line_end_missing(run: Run, tmp_path: Path) -> None:
    run("a = b\nrelayhost = x", SMTP, "-X", "a")
    assert (tmp_path / "main.cf").read_text() == "relayhost = x"


def test_built_in_bounce_texts(run: Run) -> None:
    assert run("bounce_template_file = /nosuch\nmyhostname = a.test\n", SMTP, "-b", "")[1].startswith(
        "expanded_failure_text = <<EOF\nThis is the mail system at host a.test.\n")
    assert "Charset: us-ascii\n" in run("", SMTP, "-t")[1]


def test_hints_are_for_people_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("relayhots = x\n", SMTP, "-n")[2] == ["warning: main.cf: unused parameter: relayhots=x"]
    monkeypatch.setattr(postconf_options, "for_people", lambda: True)
    assert run("relayhots = x\n", SMTP, "-n")[2][-1] == "hint: did you mean relayhost?"


def test_a_failed_edit_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "main.cf"
    path.write_text("a = b\n")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for call in ("rename", "replace"):
        monkeypatch.setattr(os, call, full)
    with pytest.raises(ConfigError, match="No space left"):
        maincf.edit_main_cf(str(path), {"a": "c"})
    assert path.read_text() == "a = b\n" and os.listdir(tmp_path) == ["main.cf"]


def test_an_edit_keeps_mode_and_follows_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.cf"
    real.write_text("a = b\n")
    real.chmod(0o640)
    (tmp_path / "main.cf").symlink_to(real)
    maincf.edit_main_cf(str(tmp_path / "main.cf"), {"a": "c"})
    assert real.read_text() == "a = c\n" and real.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "main.cf").is_symlink()


POSTCONF = shutil.which("postconf", path="/usr/sbin")
CONFIGURATIONS = [
    ("myhostname = mx.test\nmydestination = $myhostname,\n   # between\n   localhost\nmine = $yours\nyours = a   b\n"
     "maildrop_time_limit = 5\nvirtual_alias_maps = ldap:foo\nfoo_server_host = x\nfoo_nosuch = y\n",
     f"{SMTP}\n  -o syslog_name=x/$service_name\n# c\n  -o {{smtpd_banner = hello world}} -o nosuch=1\n"
     "maildrop unix - n n - - pipe\n  flags=R user=a argv=/bin/x -d ${recipient}\nrelay unix - - y 60? 1 smtp -v -v\n"),
    ("smtpd_client_restrictions = ${a\n", SMTP + "\n"),
    ("smtpd_restriction_classes = one\none = two\ntwo = $$x\n", f"{SMTP} -o two=3 -o relayhost=$two\n"),
]
COMMANDS = ["-n", "-nf", "-nx", "-nH", "-nC user", "-C service", "-h mydestination mine", "-M", "-Mf", "-Mx", "-F",
            "-Fx", "-P", "-Px", "-Ph */*", "-e mine=z", "-X yours", "-# mydestination", "-M# smtp/inet", "-MX maildrop",
            "-MX maildrop/unix", "-Fe */unix/chroot=n", "-Pe */*/new=1", "-PX */*/syslog_name", "-d mydestination mine"]


@pytest.mark.skipif(POSTCONF is None, reason="Postfix is not installed (scripts/install-peers)")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", range(len(CONFIGURATIONS)))
def test_as_the_real_program_does(run: Run, tmp_path: Path, number: int, command: str) -> None:
    main_cf, master_cf = CONFIGURATIONS[number]
    ours = run(main_cf, master_cf, *command.split())
    our_files = {path.name: path.read_text() for path in tmp_path.iterdir()}
    run(main_cf, master_cf, "-l")               # the files as they were
    real = subprocess.run(["postconf", "-c", str(tmp_path), *command.split()], executable=POSTCONF, text=True,
                          capture_output=True, check=False, timeout=60, env={"LANG": "C"})
    said = real.stderr.replace(f"{tmp_path}/", "").replace("postconf: ", "").splitlines()
    ours_shown, real_shown = (sorted(text.splitlines()) if "-C" in command else text for text in (ours[1], real.stdout))
    assert (ours[0], ours_shown, set(ours[2])) == (real.returncode, real_shown, set(said))
    assert our_files == {path.name: path.read_text() for path in tmp_path.iterdir()}
