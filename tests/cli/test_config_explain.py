"""mailsuite config explain NAME."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mailsuite.cli.mailsuite import cli


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "main.cf").write_text("myhostname = mx.test\n# comment\nmyorigin = $mydomain\nqmqpd_timeout = 1s\n"
                                      "mine = $myorigin\n")
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\n587 inet n - n - - smtpd\n"
                                        "  -o myorigin=$myhostname -o syslog_name=b\n")
    (tmp_path / "dovecot.conf").write_text(
        "mail_location = maildir:~/Maildir\npassdb {\n  driver = pam\n}\nmail_debug = yes\nrecipient_delimiter = -\n"
        "protocol imap {\n  mail_location = mbox:~/mail\n}\n")
    return tmp_path


def explain(site: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["-c", str(site), "config", "explain", *words])


def test_value_place_and_overrides(site: Path) -> None:
    done = explain(site, "myorigin")
    assert done.exit_code == 0
    text = done.output.replace(str(site), "")
    assert "in force: $mydomain  [/main.cf, line 3]\n    that is: test\n" in text
    assert "in force for 587/inet: $myhostname  [/master.cf, line 2]\n    that is: mx.test\n" in text
    assert "$mydomain = test" in text and "$myhostname = mx.test" in text
    assert "default: $myhostname" in text


def test_config_dir_comes_before_c(site: Path) -> None:
    done = CliRunner().invoke(cli, ["config", "explain", "myhostname", "--config-dir", str(site)])
    assert "in force: mx.test" in done.output


def test_json(site: Path) -> None:
    [found] = json.loads(explain(site, "queue_run_delay", "--json").output)
    assert found["values"] == [{"written": "300s", "expanded": "300s", "where": "default", "service": ""}]
    assert found["kind"].startswith("time") and found["obeyed"] is True and found["program"] == "postfix"


def test_what_is_not_obeyed_is_told(site: Path) -> None:
    assert "warning: known, but not obeyed (no QMQP); see docs/differences.md" in explain(site, "qmqpd_timeout").output
    assert "warning: known, but not obeyed; see docs/dovecot-settings.md" in explain(site, "mail_debug").output


def test_a_parameter_of_the_configuration_itself(site: Path) -> None:
    done = explain(site, "mine")
    assert done.exit_code == 0 and "that is: test" in done.output


def test_dovecot(site: Path) -> None:
    text = explain(site, "mail_location").output.replace(str(site), "")
    assert "mail_location (dovecot.conf)" in text
    assert "in force: maildir:~/Maildir  [/dovecot.conf, line 1]" in text
    assert "in force for protocol imap: mbox:~/mail  [/dovecot.conf, line 8]" in text
    assert "in force for passdb: pam  [" in explain(site, "passdb/driver").output
    assert "[default]" in explain(site, "service/imap/process_limit").output


def test_a_name_of_both(site: Path) -> None:
    names = [item["program"] for item in json.loads(explain(site, "recipient_delimiter", "--json").output)]
    assert names == ["postfix", "dovecot"]


def test_an_unknown_name(site: Path) -> None:
    done = explain(site, "relayhots")
    assert done.exit_code == 1 and "near: relayhost" in done.stderr
    assert explain(site, "mail_locaton").stderr.endswith("near: mail_location\n")


def test_a_folder_without_main_cf(tmp_path: Path) -> None:
    done = explain(tmp_path, "relayhost")
    assert done.exit_code == 1 and "main.cf: No such file or directory" in done.stderr
