"""What parameters mean: the SMTP server and its restrictions. The form of a line is in tables.py."""

TEXT = r"""
cyrus_sasl_config_path !cyrus: Where Cyrus SASL looks for its configuration.
default_rbl_reply: The reply to clients that a blocklist refuses; $rbl_domain, $rbl_reason and others are replaced.
maps_rbl_domains: Old: the blocklists of reject_maps_rbl; use reject_rbl_client NAME.
relay_clientcerts: Tables of certificate fingerprints of clients that permit_tls_clientcerts lets relay.
send_cyrus_sasl_authzid: Whether an authorization id is sent with AUTH where none is needed.
smtpd_authorized_verp_clients: Clients that may ask for VERP with XVERP.
smtpd_authorized_xclient_hosts: Clients that may claim another client's attributes with XCLIENT.
smtpd_authorized_xforward_hosts: Clients (content filters) that may pass on attributes for the log with XFORWARD.
smtpd_client_event_limit_exceptions: Clients without connection and rate limits.
smtpd_client_restrictions: Restrictions that are asked about the client's address and name.
smtpd_command_filter: A table that rewrites commands of clients before they are parsed.
smtpd_data_restrictions: Restrictions that are asked at DATA.
smtpd_discard_ehlo_keyword_address_maps: Tables that choose, by the client's address, EHLO keywords not to offer.
smtpd_dns_reply_filter: A table that changes what smtpd learns from DNS.
smtpd_end_of_data_restrictions: Restrictions that are asked when the message is here.
smtpd_etrn_restrictions: Restrictions that are asked at ETRN.
smtpd_expansion_filter: Characters that may stand in what is put into replies; others become "_".
smtpd_forbid_bare_newline_exclusions: Clients to which smtpd_forbid_bare_newline does not apply.
smtpd_helo_restrictions: Restrictions that are asked about the name in HELO.
smtpd_log_access_permit_actions: Permitting actions that are logged.
smtpd_policy_service_default_action: What counts as the policy server's answer when it is away.
smtpd_policy_service_max_idle: How long an unused connection to a policy server stays open.
smtpd_policy_service_max_ttl: How old a connection to a policy server may grow.
smtpd_policy_service_policy_context: A word that the policy server gets as policy_context.
smtpd_policy_service_request_limit: How many requests one policy connection carries; 0: any number.
smtpd_policy_service_retry_delay: The pause before a policy server is tried again.
smtpd_policy_service_timeout: How long a policy server may take.
smtpd_policy_service_try_limit: How often a policy server is tried.
smtpd_recipient_restrictions: Restrictions that are asked about each recipient, after smtpd_relay_restrictions.
smtpd_reject_filter_maps: Tables that replace refusing replies.
smtpd_reject_footer_maps: Tables that choose smtpd_reject_footer by the reply.
smtpd_relay_before_recipient_restrictions: Whether relay restrictions come before recipient restrictions.
smtpd_relay_restrictions: Restrictions that decide who may relay; asked about each recipient.
smtpd_restriction_classes: Names of restriction lists that access tables may call.
smtpd_sasl_local_domain !realm: The realm of SASL logins without one; Dovecot knows auth_default_realm.
smtpd_sender_login_maps: Tables of the logins that own a sender's address (reject_sender_login_mismatch).
smtpd_sender_restrictions: Restrictions that are asked about the sender.
smtpd_upstream_proxy_protocol: haproxy: the connection begins with a proxy's header that names the client.
smtpd_tls_CAfile: A file of authorities for clients' certificates, or for the own certificate's chain.
smtpd_tls_CApath: A folder of authorities, for clients' certificates.
smtpd_tls_always_issue_session_ids !tlsdetail: Whether clients get a TLS session id though sessions are not kept.
smtpd_tls_ccert_verifydepth !tlsdetail: The longest chain of a client's certificate.
smtpd_tls_cert_file: The server's certificate (RSA) with its chain, PEM.
smtpd_tls_chain_files: Files with keys and their chains, in order; better than the *_cert_file and *_key_file.
smtpd_tls_ciphers: How strong ciphers must be where TLS is optional: medium, high...
smtpd_tls_dcert_file: A DSA certificate; such are not used any more.
smtpd_tls_dh1024_param_file: Old: Diffie-Hellman parameters; the library's own are used.
smtpd_tls_dh512_param_file !tlsdetail: Old: Diffie-Hellman parameters for export ciphers, which are gone.
smtpd_tls_dkey_file: The key of smtpd_tls_dcert_file.
smtpd_tls_eccert_file: The server's ECDSA certificate.
smtpd_tls_eckey_file: The key of smtpd_tls_eccert_file.
smtpd_tls_eecdh_grade !tlsdetail: Old: the strength of elliptic curves; see tls_eecdh_auto_curves.
smtpd_tls_enable_rpk !unseen: Ask clients for raw public keys in place of certificates.
smtpd_tls_exclude_ciphers: Ciphers never used by the server.
smtpd_tls_fingerprint_digest: The digest of fingerprints in relay_clientcerts and check_ccert_access.
smtpd_tls_key_file: The key of smtpd_tls_cert_file.
smtpd_tls_mandatory_ciphers: How strong ciphers must be where TLS is demanded.
smtpd_tls_mandatory_exclude_ciphers: Ciphers never used by the server where TLS is demanded.
smtpd_tls_mandatory_protocols: TLS versions where TLS is demanded, as >=TLSv1.2.
smtpd_tls_protocols: TLS versions where TLS is optional.
smtpd_tls_req_ccert: Demand a certificate of the client where TLS is demanded.
smtpd_tls_session_cache_database !sessions: A table that keeps TLS sessions; here tickets do that.
smtpd_tls_session_cache_timeout !sessions: How long a TLS session may be taken up again.
"""
