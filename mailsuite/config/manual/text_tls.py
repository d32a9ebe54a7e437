"""What parameters mean: TLS in general, postscreen, tlsproxy. The form of a line is in tables.py."""

TEXT = r"""
tls_append_default_CA: Trust the system's authorities besides those of *_tls_CAfile and *_tls_CApath.
tls_config_file !openssl: OpenSSL's configuration file.
tls_config_name !openssl: The section of OpenSSL's configuration file.
tls_daemon_random_bytes !random: Random octets that a process asks tlsmgr for.
tls_dane_digests: Digests of TLSA records, the best first.
tls_eecdh_auto_curves !openssl: Elliptic curves that are offered.
tls_eecdh_strong_curve !openssl: Old: the curve of grade strong.
tls_eecdh_ultra_curve !openssl: Old: the curve of grade ultra.
tls_export_cipherlist: Old: OpenSSL's list for grade export.
tls_fast_shutdown_enable !openssl: End TLS sessions without waiting for the peer's last word.
tls_ffdhe_auto_groups !openssl: Finite-field Diffie-Hellman groups that are offered.
tls_high_cipherlist: OpenSSL's list for grade high.
tls_legacy_public_key_fingerprints !oldprints: Old: fingerprints of public keys as Postfix 2.9 to 2.9.5 made them.
tls_low_cipherlist: Old: OpenSSL's list for grade low.
tls_medium_cipherlist: OpenSSL's list for grade medium.
tls_null_cipherlist: OpenSSL's list for grade null: no encryption.
tls_preempt_cipherlist: The server's order of ciphers comes before the client's.
tls_random_bytes !random: Octets that tlsmgr reads from tls_random_source.
tls_random_exchange_name !random: The file that keeps random state.
tls_random_prng_update_period !random: How often random state is saved.
tls_random_reseed_period !random: How often random state is refreshed.
tls_random_source !random: Where random octets come from.
tls_server_sni_maps: Tables of keys and chains by the server name that a client asks for.
tls_session_ticket_cipher !sessions: The cipher of session tickets.
tls_wildcard_matches_multiple_labels: Whether *.example.com in a certificate fits a.b.example.com.
tlsproxy_client_CAfile !tlsproxy: =smtp_tls_CAfile
tlsproxy_client_CApath !tlsproxy: =smtp_tls_CApath
tlsproxy_client_cert_file !tlsproxy: =smtp_tls_cert_file
tlsproxy_client_chain_files !tlsproxy: =smtp_tls_chain_files
tlsproxy_client_dcert_file !tlsproxy: =smtp_tls_dcert_file
tlsproxy_client_dkey_file !tlsproxy: =smtp_tls_dkey_file
tlsproxy_client_eccert_file !tlsproxy: =smtp_tls_eccert_file
tlsproxy_client_eckey_file !tlsproxy: =smtp_tls_eckey_file
tlsproxy_client_enforce_tls !tlsproxy: =smtp_enforce_tls
tlsproxy_client_fingerprint_digest !tlsproxy: =smtp_tls_fingerprint_digest
tlsproxy_client_key_file !tlsproxy: =smtp_tls_key_file
tlsproxy_client_loglevel !tlsproxy: =smtp_tls_loglevel
tlsproxy_client_loglevel_parameter !tlsproxy: The name of the parameter that tlsproxy_client_loglevel comes from.
tlsproxy_client_per_site !tlsproxy: =smtp_tls_per_site
tlsproxy_client_policy_maps !tlsproxy: =smtp_tls_policy_maps
tlsproxy_client_scert_verifydepth !tlsproxy: =smtp_tls_scert_verifydepth
tlsproxy_client_security_level !tlsproxy: =smtp_tls_security_level
tlsproxy_client_use_tls !tlsproxy: =smtp_use_tls
tlsproxy_enforce_tls !tlsproxy: =smtpd_enforce_tls
tlsproxy_service_name !names: The service that does TLS for postscreen and for kept connections.
tlsproxy_tls_CAfile !tlsproxy: =smtpd_tls_CAfile
tlsproxy_tls_CApath !tlsproxy: =smtpd_tls_CApath
tlsproxy_tls_always_issue_session_ids !tlsproxy: =smtpd_tls_always_issue_session_ids
tlsproxy_tls_ask_ccert !tlsproxy: =smtpd_tls_ask_ccert
tlsproxy_tls_ccert_verifydepth !tlsproxy: =smtpd_tls_ccert_verifydepth
tlsproxy_tls_cert_file !tlsproxy: =smtpd_tls_cert_file
tlsproxy_tls_chain_files !tlsproxy: =smtpd_tls_chain_files
tlsproxy_tls_ciphers !tlsproxy: =smtpd_tls_ciphers
tlsproxy_tls_dcert_file !tlsproxy: =smtpd_tls_dcert_file
tlsproxy_tls_dh1024_param_file !tlsproxy: =smtpd_tls_dh1024_param_file
tlsproxy_tls_dh512_param_file !tlsproxy: =smtpd_tls_dh512_param_file
tlsproxy_tls_dkey_file !tlsproxy: =smtpd_tls_dkey_file
tlsproxy_tls_eccert_file !tlsproxy: =smtpd_tls_eccert_file
tlsproxy_tls_eckey_file !tlsproxy: =smtpd_tls_eckey_file
tlsproxy_tls_eecdh_grade !tlsproxy: =smtpd_tls_eecdh_grade
tlsproxy_tls_enable_rpk !tlsproxy: =smtpd_tls_enable_rpk
tlsproxy_tls_exclude_ciphers !tlsproxy: =smtpd_tls_exclude_ciphers
tlsproxy_tls_fingerprint_digest !tlsproxy: =smtpd_tls_fingerprint_digest
tlsproxy_tls_key_file !tlsproxy: =smtpd_tls_key_file
tlsproxy_tls_loglevel !tlsproxy: =smtpd_tls_loglevel
tlsproxy_tls_mandatory_ciphers !tlsproxy: =smtpd_tls_mandatory_ciphers
tlsproxy_tls_mandatory_exclude_ciphers !tlsproxy: =smtpd_tls_mandatory_exclude_ciphers
tlsproxy_tls_mandatory_protocols !tlsproxy: =smtpd_tls_mandatory_protocols
tlsproxy_tls_protocols !tlsproxy: =smtpd_tls_protocols
tlsproxy_tls_req_ccert !tlsproxy: =smtpd_tls_req_ccert
tlsproxy_tls_security_level !tlsproxy: =smtpd_tls_security_level
tlsproxy_use_tls !tlsproxy: =smtpd_use_tls
tlsproxy_watchdog_timeout !tlsproxy: After how long a stuck tlsproxy is ended.
dnsblog_reply_delay !screen: For tests: how late dnsblog answers.
dnsblog_service_name !screen: The service that asks blocklists for postscreen.
postscreen_allowlist_interfaces: Own addresses at which a client can earn its place among the known.
postscreen_cache_map: The table that keeps results of tests.
postscreen_command_filter: =smtpd_command_filter
postscreen_disable_vrfy_command: Whether VRFY is refused.
postscreen_discard_ehlo_keyword_address_maps !screen: =smtpd_discard_ehlo_keyword_address_maps
postscreen_discard_ehlo_keywords: EHLO keywords that are not offered.
postscreen_dnsbl_allowlist_threshold: Scores at or below this (negative) let a client pass other tests.
postscreen_dnsbl_reply_map: Names that replies show in place of blocklist names, which may hold a key.
postscreen_enforce_tls !screen: =smtpd_enforce_tls
postscreen_expansion_filter !screen: Characters that may stand in what is put into replies.
postscreen_forbidden_commands: Commands that end a session.
postscreen_helo_required: Whether HELO or EHLO must come before MAIL.
postscreen_reject_footer: Text behind refusing replies.
postscreen_reject_footer_maps !screen: =smtpd_reject_footer_maps
postscreen_use_tls !screen: =smtpd_use_tls
postscreen_watchdog_timeout !screen: After how long a stuck postscreen is ended.
"""
