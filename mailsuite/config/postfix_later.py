"""Parameters that came after Postfix 3.7, by version, with their defaults: facts, in the form of postfix_table.py.

Defaults are those of the newest release of that version. Where a later version changed the default of an older
parameter, ours is 3.7's (CHANGED lists them for the manual).
"""

from collections.abc import Mapping

LATER: Mapping[str, str] = {
    "3.8": r"""
allow_srv_lookup_fallback = no
ignore_srv_lookup_error = no
smtpd_client_ipv4_prefix_length = 32
smtpd_client_ipv6_prefix_length = 84
tls_ffdhe_auto_groups = ffdhe2048 ffdhe3072
use_srv_lookup =
""",
    "3.9": r"""
force_mime_input_conversion = no
lmtp_sasl_password_result_delimiter = :
lmtp_tls_enable_rpk = no
maillog_file_permissions = 0600
smtp_sasl_password_result_delimiter = :
smtp_tls_enable_rpk = no
smtpd_tls_enable_rpk = no
tlsproxy_tls_enable_rpk = $smtpd_tls_enable_rpk
""",
    "3.10": r"""
full_name_encoding_charset = utf-8
lmtp_tls_enforce_sts_mx_patterns = yes
lmtp_tlsrpt_enable = no
lmtp_tlsrpt_skip_reused_handshakes = yes
lmtp_tlsrpt_socket_name =
smtp_tls_enforce_sts_mx_patterns = yes
smtp_tlsrpt_enable = no
smtp_tlsrpt_skip_reused_handshakes = yes
smtp_tlsrpt_socket_name =
smtpd_hide_client_session = no
socketmap_max_reply_size = 100000
tls_required_enable = yes
""",
    "3.11": r"""
default_cache_db_type = btree
lmtp_log_tls_feature_status = yes
lmtp_requiretls_policy = opportunistic
non_bdb_custom_mapping =
non_bdb_migration_allow_root_prefixes = /etc /usr/local/etc
non_bdb_migration_allow_user_prefixes = $data_directory /var/lib/mailman /var/lib/mailman3
non_bdb_migration_level = disable
non_bdb_migration_log_redirect = yes
non_bdb_migration_service_name = nbdb_reindex
non_empty_end_of_header_action = fix_quietly
relocated_prefix_enable = yes
requiretls_enable = ${{$compatibility_level} >=level {3.11} ? {yes} : {no}}
requiretls_esmtp_header = yes
requiretls_redact_dsn = yes
smtp_log_tls_feature_status = yes
smtp_requiretls_policy = inline:{{${domain_to_ascii{$mydomain}}=opportunistic},
    {.${domain_to_ascii{$mydomain}}=opportunistic}, {localhost=opportunistic}}, cidr:{{0.0.0.0/0 opportunistic}, {::/0
    opportunistic}}, enforce
smtpd_reject_filter_maps =
""",
}

# name: (version, what the default is from then on)
CHANGED: Mapping[str, tuple[str, str]] = {
    "alias_database": ("3.11", "$default_database_type:/etc/aliases"),
    "alias_maps": ("3.11", "$default_database_type:/etc/aliases, nis:mail.aliases"),
    "address_verify_map": ("3.11", "$default_cache_db_type:$data_directory/verify_cache"),
    "milter_default_action": ("3.11", "shutdown"),
    "postscreen_cache_map": ("3.11", "$default_cache_db_type:$data_directory/postscreen_cache"),
    "smtp_tls_security_level": ("3.11", "may, when compatibility_level is 3.11 or more"),
    "smtpd_forbid_bare_newline": ("3.9", "normalize"),
    "smtpd_forbid_unauth_pipelining": ("3.9", "yes"),
    "tls_eecdh_auto_curves": ("3.11", "OpenSSL's own list, with X25519MLKEM768 first"),
    "tls_high_cipherlist": ("3.8", "without SEED, IDEA, 3DES, RC2, RC4, RC5, DSS and MD5"),
    "tls_medium_cipherlist": ("3.8", "without SEED, IDEA, 3DES, RC2, RC5, DSS and MD5"),
    "tls_export_cipherlist": ("3.8", "removed"),
    "tls_low_cipherlist": ("3.8", "removed"),
    "tls_legacy_public_key_fingerprints": ("3.11", "removed"),
}
