"""Configurations of older Dovecots are read as doveconf 2.3.19 reads them (tried with each line below)."""

import pytest

from mailsuite.base.errors import ConfigErrors
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.dovecot_obsolete import CLEAN_CONFIG


def read(text: str) -> DovecotSettings:
    return DovecotSettings.of(text + "\n", "/c/d.conf")


def told(settings: DovecotSettings) -> list[str]:
    return [warning.removeprefix("Obsolete setting in /c/d.conf:") for warning in settings.warnings
            if warning != CLEAN_CONFIG]


@pytest.mark.parametrize(("line", "name", "value", "warning"), [
    ("protocols = imap imaps pop3 pop3s", "protocols", "imap pop3", "'imaps' protocol is no longer necessary"),
    ("protocols = imap managesieve", "protocols", "imap sieve", "managesieve has been renamed to protocols=sieve"),
    ("protocols = imaps", "protocols", "imap", "'imaps' protocol can no longer be specified (use protocols=imap)"),
    ("ssl_protocols = !SSLv3 !TLSv1", "ssl_min_protocol", "TLSv1.1", "replaced by ssl_min_protocol"),
    ("ssl_protocols = TLSv1 !SSLv3", "ssl_min_protocol", "TLSv1", "replaced by ssl_min_protocol"),
    ("ssl_protocols = TLSv1.2", "ssl_min_protocol", "TLSv1.2", "replaced by ssl_min_protocol"),
    ("ssl_protocols = !SSLv2 !SSLv3", "ssl_min_protocol", "TLSv1.2", "replaced by ssl_min_protocol"),
    ("ssl_disable = yes", "ssl", "no", "ssl_disable has been renamed to ssl"),
    ("fsync_disable = yes", "mail_fsync", "never", "fsync_disable has been renamed to mail_fsync"),
    ("auth_cache_size = 10", "auth_cache_size", "10 M", "no longer defaults to megabytes. Use 10M"),
    ("dbox_rotate_size = 10M", "mdbox_rotate_size", "10M", "renamed to mdbox_rotate_size"),
    ("imap_client_workarounds = delay-newmail outlook-idle", "imap_client_workarounds", "delay-newmail",
     "outlook-idle is no longer necessary"),
    ("ssl_dh_parameters_length = 2048", "ssl", "yes", "ssl_dh_parameters_length is no longer needed"),
    ("login_dir = /x", "ssl", "yes", "login_dir has been removed"),
    ("auth_count = 1", "ssl", "yes", "auth_count has been removed, and its value must be 1"),
])
def test_a_setting(line: str, name: str, value: str, warning: str) -> None:
    settings = read(line)
    assert settings.text(name) == value
    assert settings.warnings[0] == CLEAN_CONFIG and warning in told(settings)[0] and told(settings)[0].startswith("1: ")


def test_files() -> None:
    settings = read("ssl_cert_file = /x.pem\nssl_key_file = /x.key\nssl_ca_file = /ca.pem")
    assert [settings.file(name) for name in ("ssl_cert", "ssl_key", "ssl_ca")] == ["/x.pem", "/x.key", "/ca.pem"]


@pytest.mark.parametrize(("text", "service", "name", "value"), [
    ("login_processes_count = 3", "pop3-login", "process_min_avail", "3"),
    ("login_process_per_connection = no", "imap-login", "service_count", "0"),
    ("login_process_size = 64", "managesieve-login", "vsz_limit", "64 M"),
    ("max_mail_processes = 9", "imap", "process_limit", "9"),
    ("auth_user = root", "auth", "user", "root"),
    ("protocol imap {\n login_user = x\n}", "imap-login", "user", "x"),
])
def test_a_services_setting(text: str, service: str, name: str, value: str) -> None:
    section = read(text).section("service", service)
    assert section is not None and section.text(name) == value


def test_a_protocols_setting_is_not_that_of_others() -> None:
    section = read("protocol imap {\n login_user = x\n}").section("service", "pop3-login")
    assert section is None or section.text("user") != "x"


def test_a_protocols_addresses() -> None:
    settings = read("protocol imap {\n listen = *:10143\n ssl_listen = *:10943\n}\nprotocol managesieve {\n"
                    " listen = 192.0.2.1:2000\n}")
    ports = {}
    for name in ("imap-login", "managesieve-login"):
        service = settings.section("service", name)
        assert service is not None
        ports |= {one.name: (one.text("address"), one.text("port")) for one in service.sections("inet_listener")}
    assert (ports["imap"], ports["imaps"], ports["sieve"]) == (("*", "10143"), ("*", "10943"), ("192.0.2.1", "2000"))


AUTH = """
auth default {
  mechanisms = plain login
  cache_size = 10
  passdb pam {
    args = dovecot
  }
  passdb passwd-file {
    args = /etc/users
  }
  userdb passwd {
  }
  user = root
  socket listen {
    master {
      path = /run/auth-master
      mode = 0600
      user = vmail
    }
    client {
      path = /var/spool/postfix/private/auth
      mode = 0660
      group = postfix
    }
  }
}
mail_location = mbox:~/mail
"""


def test_an_auth_block() -> None:
    settings = read(AUTH)
    assert (settings.text("auth_mechanisms"), settings.text("auth_cache_size")) == ("plain login", "10 M")
    assert [(one.text("driver"), one.text("args")) for one in settings.sections("passdb")] == [
        ("pam", "dovecot"), ("passwd-file", "/etc/users")]
    assert [one.text("driver") for one in settings.sections("userdb")] == ["passwd"]
    auth = settings.section("service", "auth")
    assert auth is not None and auth.text("user") == "root"
    sockets = {one.name: one for one in auth.sections("unix_listener")}
    assert (sockets["/run/auth-master"].number("mode"), sockets["/run/auth-master"].text("user")) == (0o600, "vmail")
    assert sockets["/var/spool/postfix/private/auth"].text("group") == "postfix"
    assert settings.text("mail_location") == "mbox:~/mail"
    assert told(settings)[0].startswith("2: add auth_ prefix to all settings inside auth {}")


@pytest.mark.parametrize(("text", "why"), [
    ("auth default {\n foo = 1\n}", "line 2: Unknown setting: auth_foo"),
    ("auth default {\n socket listen {\n  client {\n   mode = 0600\n  }\n }\n}", "socket listen {} is missing path"),
    ("auth_count = 2", "line 1: auth_count has been removed, and its value must be 1"),
    ("default_mail_env = maildir:~/Maildir", "line 1: Unknown setting: default_mail_env"),
    ("ssl_disable = perhaps", "line 1: Invalid boolean value: perhaps (use yes or no)"),
    ("auth default {\n mechanisms = plain", "Missing '}'"),
])
def test_errors(text: str, why: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        read(text)
    assert why in caught.value.errors[0].public


def test_todays_settings_are_left_alone() -> None:
    assert read("listen = *\nprotocols = imap pop3 lmtp\nauth_cache_size = 0").warnings == ()
