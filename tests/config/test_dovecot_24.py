"""Names of Dovecot 2.4: read as the settings of 2.3 that they stand for."""

import pytest

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.dovecot_24 import to_23

VERSION = "dovecot_config_version = 2.4.0\n"


@pytest.mark.parametrize(("text", "name", "want"), [
    ("mail_driver = maildir\nmail_path = ~/Maildir\n", "mail_location", "maildir:~/Maildir"),
    ("mail_driver = mbox\nmail_path = ~/mail\nmail_inbox_path = /var/mail/%{user}\n", "mail_location",
     "mbox:~/mail:INBOX=/var/mail/%{user}"),
    ("mail_path = ~/M\nmail_driver = maildir\nmail_index_path = /i\nmail_control_path = /c\nmailbox_list_layout = fs\n",
     "mail_location", "maildir:~/M:INDEX=/i:CONTROL=/c:LAYOUT=fs"),
    ("auth_allow_cleartext = yes\n", "disable_plaintext_auth", "no"),
    ("auth_allow_cleartext = no\n", "disable_plaintext_auth", "yes"),
    ("protocols {\n  imap = yes\n  pop3 = no\n  lmtp = yes\n}\n", "protocols", "imap lmtp"),
    ("mail_plugins {\n  quota = yes\n  acl = yes\n}\n", "mail_plugins", "quota acl"),
    ("mail_plugins = quota acl\n", "mail_plugins", "quota acl"),
    ("auth_mechanisms {\n  plain = yes\n  login = yes\n}\n", "auth_mechanisms", "plain login"),
    ("ssl_server_prefer_ciphers = server\n", "ssl_prefer_server_ciphers", "yes"),
    ("ssl_server_request_client_cert = yes\n", "ssl_verify_client_cert", "yes"),
    ("auth_default_domain = example.test\n", "auth_default_realm", "example.test"),
    (VERSION + "auth_username_format = %{user | username | lower}\n", "auth_username_format", "%L{username}"),
    (VERSION, "imap_extensions", "all"), ("", "imap_extensions", "dovecot"),
    (VERSION + "imap_extensions = dovecot\n", "imap_extensions", "dovecot"),
    ("mail_home = /srv/%{user | username}\n", "mail_home", "/srv/%{user | username}"),        # 2.3 has no such filters
])
def test_settings(text: str, name: str, want: str) -> None:
    assert DovecotSettings.of(text).text(name) == want


@pytest.mark.parametrize(("name", "old"), [
    ("ssl_server_cert_file", "ssl_cert"), ("ssl_server_key_file", "ssl_key"), ("ssl_server_dh_file", "ssl_dh"),
    ("ssl_server_ca_file", "ssl_ca"), ("ssl_server_alt_cert_file", "ssl_alt_cert"),
    ("ssl_client_cert_file", "ssl_client_cert"),
])
def test_files(name: str, old: str) -> None:
    assert DovecotSettings.of(f"{name} = /etc/x.pem\n").file(old) == "/etc/x.pem"


@pytest.mark.parametrize(("text", "driver", "args", "override"), [
    ("passdb passwd-file {\n  passwd_file_path = /u\n}\n", "passwd-file", "/u", ""),
    ("passdb passwd-file {\n  passwd_file_path = /u\n  default_password_scheme = SHA256\n"
     "  auth_username_format = %{user | username}\n}\n",
     "passwd-file", "scheme=SHA256 username_format=%{username} /u", ""),
    ("passdb x {\n  driver = passwd-file\n  passdb_passwd_file_path = /u\n}\n", "passwd-file", "/u", ""),
    ("passdb pam {\n  pam_session = yes\n  service_name = dovecot\n}\n", "pam", "session=yes dovecot", ""),
    ("passdb static {\n  password = secret\n}\n", "static", "password=secret", ""),
    ("passdb static {\n  fields {\n    nopassword = yes\n  }\n}\n", "static", "nopassword=yes", ""),
    ("passdb passwd-file {\n  passwd_file_path = /u\n  fields {\n    allow_nets = 192.0.2.0/24\n  }\n}\n",
     "passwd-file", "/u", "allow_nets=192.0.2.0/24"),
    ("passdb passwd-file {\n  passdb_args = /u\n}\n", "passwd-file", "/u", ""),
])
def test_databases(text: str, driver: str, args: str, override: str) -> None:
    passdb, = DovecotSettings.of(VERSION + text).sections("passdb")
    assert (passdb.text("driver"), passdb.text("args"), passdb.text("override_fields")) == (driver, args, override)


def test_plugins_of_a_protocol_add_up() -> None:
    settings = DovecotSettings.of("mail_plugins {\n  quota = yes\n}\nprotocol imap {\n  mail_plugins {\n"
                                  "    imap_quota = yes\n  }\n}\n")
    assert settings.text("mail_plugins") == "quota"
    assert settings.for_protocol("imap").text("mail_plugins") == "quota imap_quota"


def test_namespaces_and_services() -> None:
    settings = DovecotSettings.of("mail_driver = maildir\nnamespace archive {\n  namespace_prefix = A/\n"
                                  "  separator = /\n  mail_path = ~/archive\n  mailbox Old {\n"
                                  "    mailbox_auto = create\n  }\n}\n"
                                  "service imap-login {\n  restart_request_count = 0\n  service_process_limit = 7\n"
                                  "  inet_listener imaps {\n    inet_listener_port = 1993\n  }\n}\n")
    namespace, = settings.sections("namespace")
    assert (namespace.text("prefix"), namespace.text("location")) == ("A/", "maildir:~/archive")
    assert namespace.sections("mailbox")[0].text("auto") == "create"
    service = settings.section("service", "imap-login")
    assert service is not None
    listener = service.section("inet_listener", "imaps")
    assert (service.number("service_count"), service.number("process_limit")) == (0, 7)
    assert listener is not None and listener.number("port") == 1993


def test_quota_and_sieve() -> None:
    plugin = DovecotSettings.of('quota "User quota" {\n  quota_storage_size = 1G\n}\nsieve_script mine {\n'
                                "  path = ~/s\n  active_path = ~/.dovecot.sieve\n}\nsieve_script early {\n"
                                "  type = before\n  path = /etc/first\n}\nacl_driver = vfile\n"
                                "sieve_max_actions = 5\n").plugin
    assert plugin == {"quota": "count:User quota", "quota_vsizes": "yes", "quota_rule": "*:storage=1G",
                      "sieve": "file:~/s;active=~/.dovecot.sieve", "sieve_before": "/etc/first", "acl": "vfile",
                      "sieve_max_actions": "5"}


def test_groups() -> None:
    settings = DovecotSettings.of("group @boxes english {\n  mailbox Drafts {\n    special_use = \\Drafts\n  }\n}\n"
                                  "namespace inbox {\n  inbox = yes\n  @boxes = english\n}\n")
    boxes = settings.sections("namespace")[0].sections("mailbox")
    assert [(box.name, box.text("special_use")) for box in boxes] == [("Drafts", "\\Drafts")]


@pytest.mark.parametrize(("text", "want"), [
    ("nosuch = 1\n", "line 1: Unknown setting: nosuch"),
    ("dovecot_config_version = 3.1\n", "line 1: dovecot_config_version: 3.1 is not supported"),
    ("passdb sql {\n  query = SELECT 1\n}\n", "line 2: query: 2.4's way to write this here is not read"),
    ("@boxes = english\n", "line 1: Unknown group: @boxes = english"),
    (VERSION + "mail_home = %{user | base64}\n", "line 2: %{user | base64}: the filter base64 is not read here"),
    ("mail_plugins {\n  quota = perhaps\n}\n", "Invalid boolean value: perhaps"),
    ("auth_allow_cleartext = perhaps\n", "line 1: Invalid boolean value: perhaps"),
    ("group @a b {\n  @a = b\n}\n@a = b\n", "Too deeply nested groups"),
])
def test_errors(text: str, want: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        DovecotSettings.of(text)
    assert want in caught.value.public


@pytest.mark.parametrize(("text", "want"), [
    ("%{user}", "%{user}"), ("%{user | domain}", "%{domain}"), ("%{user|username|upper}", "%U{username}"),
    ("%{remote_ip}-%{local_port}", "%{rip}-%{lport}"), ("%{user | sha256}", "%{sha256:user}"),
    ("%{user | username | substr(0, 1)}", "%0.1{username}"), ("%{uid | hex(8)}", "%08X{uid}"), ("100%%", "100%%"),
])
def test_variables(text: str, want: str) -> None:
    assert to_23(text) == want


def test_letters_of_uidls() -> None:
    assert to_23("%{uidvalidity | hex(8)}%{uid | hex(8)}", letters=True) == "%08Xv%08Xu"
    with pytest.raises(ConfigError):
        to_23("%{uid | nosuch}", letters=True)


def test_full_text() -> None:
    settings = DovecotSettings.of('fts flatcurve {\n  substring_search = yes\n}\nlanguage de {\n}\n'
                                  'language en {\n  default = yes\n}\n'
                                  'fts_autoindex = yes\nnamespace inbox {\n  inbox = yes\n  mailbox Trash {\n'
                                  '    fts_autoindex = no\n  }\n  mailbox Junk {\n    fts_autoindex = no\n  }\n}\n')
    assert settings.plugin == {
        "fts": "flatcurve", "fts_flatcurve_substring_search": "yes", "fts_languages": "en de", "fts_autoindex": "yes",
        "fts_autoindex_exclude": "Trash", "fts_autoindex_exclude2": "Junk"}
