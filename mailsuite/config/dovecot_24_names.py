"""Which setting of Dovecot 2.4 is which of 2.3: facts, not code. docs/dovecot-2.4.md shows the same table."""

from collections.abc import Callable, Iterator, Mapping

Pairs = Iterator[tuple[str, str]]

# Another name, the same value.
RENAMED: Mapping[str, str] = {
    "ssl_server_key_password": "ssl_key_password",
    "ssl_server_request_client_cert": "ssl_verify_client_cert",
    "ssl_server_cert_username_field": "ssl_cert_username_field",
    "ssl_server_require_crl": "ssl_require_crl",
    "auth_default_domain": "auth_default_realm",
    "auth_gssapi_keytab": "auth_krb5_keytab",
    "auth_ntlm_use_winbind": "auth_use_winbind",
    "default_idle_kill_interval": "default_idle_kill",
    "mailbox_list_layout_index": "mailbox_list_index",
    "mail_attachment_path": "mail_attachment_dir",
}
# The path of a file, where 2.3 wants <PATH.
FILES: Mapping[str, str] = {
    "ssl_server_cert_file": "ssl_cert",
    "ssl_server_key_file": "ssl_key",
    "ssl_server_alt_cert_file": "ssl_alt_cert",
    "ssl_server_alt_key_file": "ssl_alt_key",
    "ssl_server_ca_file": "ssl_ca",
    "ssl_server_dh_file": "ssl_dh",
    "ssl_client_cert_file": "ssl_client_cert",
    "ssl_client_key_file": "ssl_client_key",
}
# yes where the other says no.
INVERTED: Mapping[str, str] = {"auth_allow_cleartext": "disable_plaintext_auth"}
# Names in sections.
RENAMED_IN: Mapping[tuple[str, str], str] = {
    ("service", "restart_request_count"): "service_count",
    ("service", "idle_kill_interval"): "idle_kill",
    ("passdb", "mechanisms_filter"): "mechanisms",
    ("passdb", "fields"): "override_fields",
    ("inet_listener", "listen"): "address",
}
# Parts of mail_location, with their key in it ("": the beginning).
LOCATION: Mapping[str, str] = {
    "mail_driver": "", "mail_path": "", "mail_inbox_path": "INBOX", "mail_index_path": "INDEX",
    "mail_control_path": "CONTROL", "mail_alt_path": "ALT", "mail_volatile_path": "VOLATILEDIR",
    "mail_index_private_path": "INDEXPVT", "mail_cache_path": "INDEXCACHE", "mailbox_list_layout": "LAYOUT",
    "mailbox_subscriptions_filename": "SUBSCRIPTIONS", "mailbox_directory_name": "DIRNAME",
    "mailbox_root_directory_name": "MAILBOXDIR",
}
# Words of passdb pam's args.
PAM: Mapping[str, str] = {
    "pam_session": "session=yes", "pam_setcred": "setcred=yes", "pam_max_requests": "max_requests=",
    "pam_failure_show_msg": "failure_show_msg=yes", "pam_service_name": "", "service_name": "",
}
# Settings of the root that are written as a block of names with yes or no.
LISTS = frozenset({
    "mail_plugins", "protocols", "auth_mechanisms", "imap_client_workarounds", "pop3_client_workarounds",
    "lmtp_client_workarounds", "submission_client_workarounds", "login_plugins", "imapc_features", "pop3c_features",
    "mail_attachment_detection_options", "ssl_options", "mail_always_cache_fields", "mail_never_cache_fields",
    "mail_cache_fields", "auth_realms", "login_trusted_networks", "haproxy_trusted_networks", "import_environment"})
# Beginnings of names that 2.3 has in plugin { }.
PLUGIN_PREFIXES = ("sieve_", "quota_", "acl_", "fts_", "language_", "mail_log_", "zlib_", "trash_", "welcome_",
                   "last_login_", "notify_", "imapsieve_")
VARIABLES: Mapping[str, str] = {
    "local_ip": "lip", "remote_ip": "rip", "local_port": "lport", "remote_port": "rport", "mechanism": "mech",
    "protocol": "service", "original_user": "orig_user", "local_name": "local_name",
}


def _quota(name: str, values: Mapping[str, str], known: Mapping[str, object]) -> Pairs:
    """quota "User quota" { driver = count; storage_size = 1G; message_count = 1000 }"""
    number = ""
    while f"quota{number}" in known:
        number = str(int(number or 1) + 1)
    short = {key.removeprefix("quota_"): value for key, value in values.items()}
    yield f"quota{number}", f"{short.get('driver', 'count')}:{name}"
    yield "quota_vsizes", "yes"
    limits = [f"{word}={short[key]}" for key, word in (("storage_size", "storage"), ("message_count", "messages"))
              if key in short]
    rule = "quota_rule" if not number else f"quota{number}_rule"
    if limits:
        yield rule, "*:" + ":".join(limits)
    if "storage_grace" in short:
        yield "quota_grace", short["storage_grace"]


def _sieve_script(name: str, values: Mapping[str, str], known: Mapping[str, object]) -> Pairs:
    """sieve_script personal { path = ~/sieve; active_path = ~/.dovecot.sieve }"""
    short = {key.removeprefix("sieve_script_"): value for key, value in values.items()}
    kind = short.get("type", "personal")
    path = short.get("path", "")
    if kind == "personal":
        active = f";active={short['active_path']}" if "active_path" in short else ""
        yield "sieve", f"{short.get('driver', 'file')}:{path}{active}"
        return
    base = {"before": "sieve_before", "after": "sieve_after", "default": "sieve_default",
            "global": "sieve_global"}.get(kind, "")
    if base:
        number = 1
        while base + (str(number) if number > 1 else "") in known:
            number += 1
        yield base + (str(number) if number > 1 else ""), path


def _fts(name: str, values: Mapping[str, str], known: Mapping[str, object]) -> Pairs:
    """fts flatcurve { substring_search = yes }"""
    yield "fts", name
    for key, value in values.items():
        yield key if key.startswith("fts_") else f"fts_{name}_{key}", value


def _language(name: str, values: Mapping[str, str], known: Mapping[str, object]) -> Pairs:
    """language en { default = yes }"""
    others = str(getattr(known.get("fts_languages"), "text", "")).split()
    first = values.get("default", values.get("language_default", "no")) == "yes"
    yield "fts_languages", " ".join([name, *others] if first else [*others, name])


BLOCKS: Mapping[str, Callable[[str, Mapping[str, str], Mapping[str, object]], Pairs]] = {
    "quota": _quota, "sieve_script": _sieve_script, "fts": _fts, "language": _language}
