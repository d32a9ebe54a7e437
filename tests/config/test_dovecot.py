"""dovecot.conf: syntax, defaults, filters, errors."""

import json
import math
import pickle
from pathlib import Path

import pytest

from mailsuite.base.errors import Bug, ConfigError, ConfigErrors
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.dovecot_defaults import normal

CONF = """\
ssl = no
mail_location = maildir:~/Maildir   # a comment
login_greeting = "Quoted # greeting"
auth_mechanisms = plain \\
   login
mail_plugins = $mail_plugins quota
postmaster_address = $mail_location x
passdb {
  driver = passwd-file
  args = a
}
passdb {
  driver = pam
}
service auth {
  unix_listener auth-userdb {
    mode = 0600
    user = vmail
  }
}
service auth {
  unix_listener /var/spool/private/auth {
    mode = 0666
  }
}
namespace inbox {
  inbox = yes
  mailbox "Sent Messages" {
    special_use = \\Sent
  }
}
plugin {
  quota = maildir:User quota
}
protocol imap {
  mail_max_userip_connections = 3
  mail_plugins = $mail_plugins imap_quota
}
remote 192.0.2.0/24 {
  disable_plaintext_auth = no
  protocol imap {
    mail_max_userip_connections = 30
  }
}
local_name mx.test {
  ssl = required
}
"""


@pytest.fixture
def conf() -> DovecotSettings:
    return DovecotSettings.of(CONF)


def test_values(conf: DovecotSettings) -> None:
    assert conf.text("mail_location") == "maildir:~/Maildir"
    assert conf.text("login_greeting") == "Quoted # greeting"
    assert conf.words("auth_mechanisms") == ["plain", "login"]
    assert conf.text("mail_plugins") == " quota"
    assert conf.text("postmaster_address") == "maildir:~/Maildir x"
    assert conf.plugin == {"quota": "maildir:User quota"}
    assert conf.flag("ssl") is False


def test_defaults(conf: DovecotSettings) -> None:
    assert conf.number("first_valid_uid") == 500
    assert conf.time_s("auth_failure_delay") == 2
    assert conf.size("default_vsz_limit") == 256 * 2**20
    assert conf.text("mail_log_prefix") == "%s(%u)<%{pid}><%{session}>: "
    assert (conf.is_set("ssl"), conf.is_set("first_valid_uid")) == (True, False)
    with pytest.raises(Bug):
        conf.text("nosuch")


def test_databases_add_up_and_services_merge(conf: DovecotSettings) -> None:
    assert [passdb.text("driver") for passdb in conf.sections("passdb")] == ["passwd-file", "pam"]
    assert conf.sections("passdb")[0].text("result_failure") == "continue"
    auth = conf.section("service", "auth")
    assert auth is not None
    listeners = {listener.name: listener for listener in auth.sections("unix_listener")}
    assert listeners["auth-userdb"].number("mode") == 0o600
    assert listeners["auth-userdb"].text("user") == "vmail"
    assert listeners["/var/spool/private/auth"].number("mode") == 0o666
    assert listeners["auth-client"].text("user") == "dovecot", "$default_internal_user"
    assert auth.text("user") == "dovecot"


def test_services_that_nobody_configured(conf: DovecotSettings) -> None:
    login = conf.section("service", "imap-login")
    assert login is not None
    ports = {listener.name: (listener.number("port"), listener.flag("ssl"))
             for listener in login.sections("inet_listener")}
    assert ports == {"imap": (143, False), "imaps": (993, True)}
    assert login.size("vsz_limit") == 2**64 - 1
    anvil = conf.section("service", "anvil")
    assert anvil is not None
    assert anvil.time_s("idle_kill") == math.inf
    assert conf.section("service", "nosuch") is None


def test_protocol_is_laid_over(conf: DovecotSettings) -> None:
    imap = conf.for_protocol("imap")
    assert (imap.number("mail_max_userip_connections"), imap.text("mail_plugins")) == (3, " quota imap_quota")
    assert conf.for_protocol("pop3").number("mail_max_userip_connections") == 10
    assert (imap.protocol, conf.protocol) == ("imap", "")
    assert conf.for_protocol("imap") is imap


@pytest.mark.parametrize(("protocol", "remote", "name", "want"), [
    ("imap", "192.0.2.9", "", ("no", "30", "no")),
    ("pop3", "192.0.2.9", "", ("no", "10", "no")),
    ("imap", "203.0.113.9", "", ("yes", "3", "no")),
    ("imap", "", "MX.test", ("yes", "3", "required")),
])
def test_connections(conf: DovecotSettings, protocol: str, remote: str, name: str, want: tuple[str, ...]) -> None:
    here = conf.for_protocol(protocol).for_connection(remote_ip=remote, local_name=name)
    assert tuple(here.text(key) for key in (
        "disable_plaintext_auth", "mail_max_userip_connections", "ssl")) == want


def test_travels_to_children(conf: DovecotSettings) -> None:
    layer = conf.for_protocol("imap")
    for copy in (pickle.loads(pickle.dumps(layer)),
                 DovecotSettings.from_json(json.loads(json.dumps(layer.to_json())))):
        assert copy.text("mail_plugins") == layer.text("mail_plugins")
        assert copy.for_connection(remote_ip="192.0.2.9").number("mail_max_userip_connections") == 30


def test_includes_and_files(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "20.conf").write_text("first_valid_uid = 20\n")
    (tmp_path / "conf.d" / "10.conf").write_text("first_valid_uid = 10\nlast_valid_uid = 10\n")
    (tmp_path / "cert.pem").write_text("CERT")
    main = tmp_path / "dovecot.conf"
    main.write_text("!include conf.d/*.conf\n!include_try nosuch.conf\nssl_cert = <cert.pem\nssl_key = <nosuch.pem\n")
    conf = DovecotSettings.load(str(main))
    assert (conf.number("first_valid_uid"), conf.number("last_valid_uid")) == (20, 10)
    assert (conf.text("ssl_cert"), conf.file("ssl_cert")) == ("CERT", f"{tmp_path}/cert.pem")
    with pytest.raises(ConfigError, match="line 4: ssl_key: Can't open file"):
        conf.text("ssl_key")


@pytest.mark.parametrize(("text", "why"), [
    ("nosuch = 1", "line 1: Unknown setting: nosuch"),
    ("nosuch {\n}", "line 1: Unknown setting: nosuch { nosuch"),
    ("service a {\n nosuch = 1\n}", "line 2: Unknown setting: service { nosuch"),
    ("service a {\n unix_listener b {\n  c = 1\n }\n}", "line 3: Unknown setting: service { unix_listener { c"),
    ('"ssl" = no', 'line 1: Unknown setting: "ssl"'),
    ("first_valid_uid = abc", "line 1: Invalid number abc: Not a valid number"),
    ("first_valid_uid = 4294967296", "Number too large"),
    ("mail_debug = maybe", "line 1: Invalid boolean value: maybe (use yes or no)"),
    ("auth_cache_ttl = 5 parsecs", "line 1: Invalid time interval: 5 parsecs"),
    ("auth_cache_ttl = 5", "Time interval '5' is missing units (add e.g. 's' for seconds)"),
    ("auth_cache_ttl = 5 ms", "Milliseconds not supported for this setting: 5 ms"),
    ("default_vsz_limit = 10 Q", "line 1: Invalid size: 10 Q"),
    ("ssl = perhaps", "line 1: Invalid value: perhaps"),
    ("doveadm_port = 70000", "line 1: Invalid port number 70000"),
    ("mail_location = $nosuch x", "line 1: Unknown variable: $nosuch"),
    ("namespace x {\n inbox = yes", "Missing '}' (section started at /c/d.conf:1)"),
    ("}", "line 1: Unexpected '}'"),
    ("mail_location", "line 1: Expecting '{'"),
    ("service a { user = x }", "line 1: Garbage after '{'"),
    ("!include nosuch.conf", "line 1: No matches"),
    ("!foo bar", "line 1: Expecting '{'"),
    ("= x", "line 1: Missing key name"),
    ("passdb x {\n driver = a\n}\npassdb x {\n}", "line 4: passdb/x already exists"),
    ("remote 1.2.3.4/99 {\n}", "line 1: Invalid network mask: 99"),
    ("protocol imap {\n remote 1.2.3.4 {\n }\n}", "line 2: protocol { remote { .. } } not allowed"),
    ("protocols = imap nosuch", "protocols: Unknown protocol: nosuch"),
    ("passdb {\n}", "passdb is missing driver"),
    ("listen =", "listen can't be set empty"),
    ("passdb {\n driver = pam\n pass = yes\n result_success = continue\n}",
     "Obsolete pass=yes setting mixed with non-default result_success"),
])
def test_errors_in_dovecot_words(text: str, why: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        DovecotSettings.of(text + "\n", "/c/d.conf")
    assert caught.value.errors[0].public.startswith("Error in configuration file /c/d.conf")
    assert why in caught.value.errors[0].public


def test_all_errors_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        DovecotSettings.of("nosuch = 1\nmail_debug = maybe\nservice x {\n bad = 1\n}\nnosuch {\n y = 1\n}\n"
                           "protocols = nosuch\n")
    assert [error.public.rpartition(": ")[2] for error in caught.value.errors] == [
        "nosuch", "maybe (use yes or no)", "service { bad", "nosuch { nosuch", "nosuch"]


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    main = tmp_path / "dovecot.conf"
    main.write_text("!include dovecot.conf\n")
    with pytest.raises(ConfigErrors, match="Too deeply nested"):
        DovecotSettings.load(str(main))


def test_an_ambiguous_hash_is_warned_of() -> None:
    conf = DovecotSettings.of("mail_location = a#b\nhostname = x\"#y\"\n")
    assert (conf.text("mail_location"), conf.text("hostname"), len(conf.warnings)) == ("a", 'x"#y"', 1)


@pytest.mark.parametrize(("name", "section", "text", "want"), [
    ("auth_cache_ttl", "", "3600 s", "1 hours"), ("auth_cache_ttl", "", "90s", "90 secs"),
    ("auth_cache_ttl", "", "0", "0"), ("mdbox_rotate_size", "", "1024 M", "1 G"),
    ("mdbox_rotate_size", "", "10", "10 B"),
    ("mail_debug", "", "Y", "yes"), ("first_valid_uid", "", "007", "7"), ("mode", "unix_listener", "600", "01130"),
    ("mail_location", "", " x ", " x "), ("quota", "plugin", "10 M", "10 M"),
])
def test_normal_form(name: str, section: str, text: str, want: str) -> None:
    assert normal(name, section, text) == want
