"""main.cf as values: look-up, expansion, and all errors at once."""

import json
import pickle
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.command import load_for_command
from mailsuite.config.registry import Param, boolean, integer, string
from mailsuite.config.settings import Settings

LIMIT = Param("message_size_limit", "10240000", integer(), "For these tests.")
SOFT = Param("soft_bounce", "no", boolean(), "For these tests.")
FOOTER = Param("smtpd_reject_footer", "", string(), "For these tests.")


def write(folder: Path, main_cf: str, master_cf: str = "") -> str:
    (folder / "main.cf").write_text(main_cf)
    (folder / "master.cf").write_text(master_cf)
    return str(folder)


def test_values_are_typed_and_default_as_postfix_does() -> None:
    settings = Settings.of({"soft_bounce": "yes", "smtpd_reject_footer": "call $nobody"})
    assert settings[LIMIT] == 10240000
    assert settings[SOFT] is True
    assert settings[FOOTER] == "call $nobody", "expanded when it is used, by who knows the names"
    assert (settings.is_set("soft_bounce"), settings.is_set("message_size_limit")) == (True, False)


@pytest.mark.parametrize(("name", "want"), [
    ("mydomain", "b.test"), ("mydestination", "a.b.test, localhost.b.test, localhost"), ("nobody_knows", ""),
    ("relay_destination_rate_delay", "0s"), ("local_destination_recipient_limit", "1"), ("x_time_limit", "1000s"),
    ("smtpd_relay_restrictions", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"),
    ("config_directory", "/etc/postfix"), ("own", "a.b.test!"), ("mail_name", "Postfix"),
])
def test_text(name: str, want: str) -> None:
    settings = Settings.of({"myhostname": "a.b.test", "compatibility_level": "3.6", "own": "$myhostname!"})
    assert settings.text(name) == want


def test_transport_param_falls_back() -> None:
    settings = Settings.of({"smtp_destination_concurrency_limit": "3"})
    assert settings.transport_param("smtp", "destination_concurrency_limit") == "3"
    assert settings.transport_param("lmtp", "destination_concurrency_limit") == "20"


def test_expand_prefers_extra_and_does_not_trust_it() -> None:
    settings = Settings.of({"home": "/wrong", "relayhost": "r"})
    assert settings.expand("$home/$relayhost", {"home": "$relayhost"}) == "$relayhost/r"


def test_a_loop_is_an_error() -> None:
    with pytest.raises(ConfigError, match='unreasonable macro call nesting: "a"'):
        Settings.of({"a": "$b", "b": "$a"}).text("a")


def test_overrides_leave_the_original_alone() -> None:
    settings = Settings.of({"soft_bounce": "no"})
    assert settings.with_overrides({"soft_bounce": "yes"})[SOFT] is True
    assert settings[SOFT] is False


def test_travels_to_children(tmp_path: Path) -> None:
    settings = Settings.load(write(tmp_path, "myhostname = a.test\nmyhostname = b.test\n"))
    for copy in (pickle.loads(pickle.dumps(settings)),
                 Settings.from_json(json.loads(json.dumps(settings.to_json())))):
        assert copy.text("myhostname") == "b.test"
        assert copy.origin("myhostname") == (f"{tmp_path}/main.cf", 2)
        assert copy.warnings == settings.warnings
        assert copy.config_directory == str(tmp_path)


def test_all_errors_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path, "relayhots = a\nline without equals\nsoft_bounce = maybe\nqueue_run_delay = 5 parsecs\n"
                   "smtpd_banner = ${x\nmessage_size_limit = lots\n")
    with pytest.raises(ConfigErrors) as caught:
        Settings.load(folder)
    lines = [error.public.removeprefix(f"{tmp_path}/main.cf, line ") for error in caught.value.errors]
    assert [line.partition(":")[0] for line in lines] == ["1", "2", "3", "4", "5", "6"]
    assert lines[0] == "1: relayhots: unknown parameter, did you mean relayhost?"
    assert lines[4] == '5: smtpd_banner: truncated macro reference: "${x"'


MASTER = """\
submission inet n - n - - smtpd
  -o smtpd_client_restrictions=$mua_client_restrictions
spam unix - n n - 2 pipe
  flags=R argv=/bin/true
"""


@pytest.mark.parametrize(("main_cf", "right"), [
    pytest.param("my = x\nsmtpd_banner = $my\n", True, id="own name, referred to"),
    pytest.param("my = x\n", False, id="own name, not referred to"),
    pytest.param("mua_client_restrictions = permit\n", True, id="referred to by -o"),
    pytest.param("smtpd_restriction_classes = strict\nstrict = reject\n", True, id="restriction class"),
    pytest.param("relay_destination_rate_delay = 1s\n", True, id="of a usual transport"),
    pytest.param("spam_destination_recipient_limit = 1\nspam_time_limit = 5m\n", True, id="of a pipe service"),
    pytest.param("nosuch_destination_rate_delay = 1s\n", False, id="of no transport"),
    pytest.param("virtual_alias_maps = pgsql:users\nusers_hosts = localhost\nusers_query = q\n", True, id="table"),
    pytest.param("users_hosts = localhost\n", False, id="of no table"),
])
def test_names(tmp_path: Path, main_cf: str, right: bool) -> None:
    folder = write(tmp_path, main_cf, MASTER)
    if right:
        Settings.load(folder)
    else:
        with pytest.raises(ConfigErrors, match="unknown parameter"):
            Settings.load(folder)


def test_undefined_names_are_warned_of(tmp_path: Path) -> None:
    settings = Settings.load(write(tmp_path, "smtpd_banner = $nosuch\n"))
    assert settings.warnings == (f"{tmp_path}/main.cf: undefined parameter: nosuch",)


def test_a_missing_main_cf_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="No such file"):
        Settings.load(str(tmp_path))


@pytest.mark.parametrize(("line", "fatal", "warning"), [
    ("mydomain =", "bad string length 0 < 1: mydomain = ", ""),
    ("default_verp_delimiters = +", "bad string length 1 < 2: default_verp_delimiters = +", ""),
    ("default_verp_delimiters = +x", "file DIR/main.cf: parameters default_verp_delimiters and verp_delimiter_filter: "
     "bad second VERP delimiter character", ""),
    ("syslog_facility = foo", "file DIR/main.cf: parameter syslog_facility: unrecognized value: foo", ""),
    ("syslog_name = ${x", "dictionary mail_dict: macro processing error", 'truncated macro reference: "${x"'),
    ("inet_protocols = foo", 'unknown inet_protocols value "foo" in "foo"', ""),
    ("myhostname = a..b", "file DIR/main.cf: parameter myhostname: bad parameter value: a..b",
     "valid_hostname: misplaced delimiter: a..b"),
    ("myhostname = -a", "file DIR/main.cf: parameter myhostname: bad parameter value: -a",
     "valid_hostname: misplaced hyphen: -a"),
    ("mydomain = a b", "file DIR/main.cf: parameter mydomain: bad parameter value: a b",
     "valid_hostname: invalid character 32(decimal): a b"),
    ("myorigin = a b", "myorigin parameter setting must not contain multiple values: a b", ""),
    ("mail_owner = no+one", "file DIR/main.cf: parameter mail_owner: unknown user name value: no+one", ""),
    ("setgid_group = no+one", "file DIR/main.cf: parameter setgid_group: unknown group name: no+one", ""),
    ("default_privs = root", "file DIR/main.cf: parameter default_privs: user root has privileged user ID", ""),
    ("hash_queue_depth = 99", "invalid hash_queue_depth parameter value 99 > 16", ""),
    ("max_use = 0", "invalid max_use parameter value 0 < 1", ""),
    ("delay_logging_resolution_limit = 7", "invalid delay_logging_resolution_limit parameter value 7 > 6", ""),
])
def test_what_commands_refuse(tmp_path: Path, line: str, fatal: str, warning: str) -> None:
    """Recorded with postmap 3.7.11."""
    folder, warnings = write(tmp_path, f"{line}\n"), list[str]()
    with pytest.raises(ConfigError) as caught:
        load_for_command(folder, warnings.append, thorough=True)
    assert (caught.value.public.replace(folder, "DIR"), warnings) == (fatal, [warning] if warning else [])


@pytest.mark.parametrize(("main_cf", "fatal"), [
    ("queue_run_delay = 5 parsecs\n", None),
    ("message_size_limit = lots\nsoft_bounce = maybe\n", "bad numerical configuration: message_size_limit = lots"),
    ("soft_bounce = maybe\n", "bad boolean configuration: soft_bounce = maybe"),
    ("ipc_timeout = x\n", "parameter ipc_timeout: bad time value or unit: x"),
    ("a\n", "missing '=' after attribute name: \"a\""),
])
def test_commands_stop_only_at_what_all_need(tmp_path: Path, main_cf: str, fatal: str | None) -> None:
    folder = write(tmp_path, main_cf)
    if fatal is None:
        assert load_for_command(folder, pytest.fail).text("queue_run_delay") == "5 parsecs"
    else:
        with pytest.raises(ConfigError) as caught:
            load_for_command(folder, pytest.fail)
        assert caught.value.public.endswith(fatal)
