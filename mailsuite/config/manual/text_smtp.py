"""What parameters mean: the SMTP and LMTP clients, and DNS. lmtp_X stands for smtp_X where it has no text of its own.

The form of a line is in tables.py.
"""

TEXT = r"""
dns_ncache_ttl_fix_enable !dns: A workaround for times to live of negative DNS answers.
dnssec_probe: The question with which it is found out whether the resolver checks DNSSEC.
ignore_mx_lookup_error: Use a domain's addresses when its MX records cannot be asked for.
lmtp_assume_final: Take the LMTP server for the last one: report delivery where success is to be notified.
lmtp_discard_lhlo_keyword_address_maps: Tables that choose, by the server's address, LHLO keywords to ignore.
lmtp_discard_lhlo_keywords: LHLO keywords to ignore.
lmtp_lhlo_name: The name in LHLO.
lmtp_log_tls_feature_status !unseen:
lmtp_pix_workaround_delay_time !pix:
lmtp_pix_workaround_maps !pix:
lmtp_pix_workaround_threshold_time !pix:
lmtp_pix_workarounds !pix:
lmtp_sasl_path !cyrus:
lmtp_sasl_type !cyrus:
lmtp_tls_block_early_mail_reply !renegotiation:
lmtp_tls_connection_reuse !tlsproxy:
lmtp_tls_enable_rpk !unseen:
lmtp_tls_enforce_sts_mx_patterns !unseen:
lmtp_tls_session_cache_database !sessions:
lmtp_tls_session_cache_timeout !sessions:
lmtp_tlsrpt_enable !tlsrpt:
lmtp_tlsrpt_skip_reused_handshakes !tlsrpt:
lmtp_tlsrpt_socket_name !tlsrpt:
requiretls_enable: Offer REQUIRETLS (RFC 8689) to clients.
requiretls_esmtp_header !unseen: Carry REQUIRETLS through content filters by a header.
requiretls_redact_dsn: Shorten bounces of REQUIRETLS mail, so that they need no TLS all the way.
smtp_address_preference: Which address family is tried first: any, ipv4 or ipv6.
smtp_address_verify_target: At which command a probe of an address ends: rcpt or data.
smtp_always_send_ehlo: Greet every server with EHLO, whatever its banner says.
smtp_balance_inet_protocols: Mix IPv4 and IPv6 among the first addresses that are tried.
smtp_bind_address_enforce: Defer mail when smtp_bind_address cannot be used.
smtp_body_checks: Patterns that are asked for every line of a body on its way out.
smtp_connection_cache_destinations: Destinations to which connections are always kept for a while.
smtp_defer_if_no_mx_address_found: Defer, do not bounce, when no mail exchanger has an address.
smtp_delivery_status_filter: As default_delivery_status_filter, for smtp.
smtp_discard_ehlo_keyword_address_maps: Tables that choose, by the server's address, EHLO keywords to ignore.
smtp_discard_ehlo_keywords: EHLO keywords of servers to ignore.
smtp_dns_reply_filter: A table that changes what the client learns from DNS.
smtp_dns_resolver_options: Options of DNS questions: res_defnames, res_dnsrch.
smtp_dns_support_level: disabled, enabled or dnssec: how DNS is asked.
smtp_enforce_tls: Old: as smtp_tls_security_level = encrypt or verify.
smtp_fallback_relay: Hosts that get mail whose destination cannot be reached.
smtp_generic_maps: Tables that replace local addresses as mail leaves.
smtp_header_checks: Patterns that are asked for every header on its way out.
smtp_helo_name: The name in EHLO and HELO.
smtp_host_lookup: How host names are found: dns, native.
smtp_log_tls_feature_status !unseen: Put the level of TLS into the log line of a delivery.
smtp_mime_header_checks: As smtp_header_checks, for MIME headers.
smtp_min_data_rate: Octets a second that must pass at least.
smtp_nested_header_checks: As smtp_header_checks, for headers of attached messages.
smtp_never_send_ehlo: Greet with HELO only.
smtp_per_request_deadline: Count timeouts over a whole command, not for each read or write.
smtp_pix_workaround_delay_time !pix: The pause before the final dot, behind a faulty PIX firewall.
smtp_pix_workaround_maps !pix: Tables that choose smtp_pix_workarounds by the server's address.
smtp_pix_workaround_threshold_time !pix: Age of a message after which workarounds are tried.
smtp_pix_workarounds !pix: What is done against faults of PIX firewalls.
smtp_quote_rfc821_envelope: Quote addresses in MAIL and RCPT as RFC 5321 asks.
smtp_randomize_addresses: Take mail exchangers of one preference in random order.
smtp_reply_filter: A table that rewrites replies of servers.
smtp_requiretls_policy: How REQUIRETLS is enforced, by destination.
smtp_sasl_auth_cache_name: A table of logins that failed, so that they are not tried again at once.
smtp_sasl_auth_enable: Log in to servers, with what smtp_sasl_password_maps says.
smtp_sasl_auth_soft_bounce: Defer mail when the login fails.
smtp_sasl_mechanism_filter: Mechanisms that may be used; empty: any.
smtp_sasl_password_maps: Tables of user:password by server, next hop or sender.
smtp_sasl_password_result_delimiter: The character between user and password in smtp_sasl_password_maps.
smtp_sasl_path !cyrus: What the SASL implementation needs to find its configuration.
smtp_sasl_security_options: Kinds of mechanisms not to use: noplaintext, noanonymous...
smtp_sasl_tls_security_options: smtp_sasl_security_options under TLS.
smtp_sasl_tls_verified_security_options: smtp_sasl_security_options under TLS with a checked certificate.
smtp_sasl_type !cyrus: The SASL implementation of the client.
smtp_send_dummy_mail_auth: Put AUTH=<> into MAIL after a login.
smtp_send_xforward_command: Tell the server, with XFORWARD, whom the mail came from.
smtp_sender_dependent_authentication: Look up logins by the sender too.
smtp_skip_5xx_greeting: Go on to the next host when one greets with 5xx.
smtp_skip_quit_response: Do not wait for the reply to QUIT.
smtp_tcp_port: The port of servers where the destination names none.
smtp_tls_CAfile: A file of authorities that sign servers' certificates.
smtp_tls_CApath: A folder of authorities that sign servers' certificates.
smtp_tls_block_early_mail_reply !renegotiation: Look for replies that came before their command, in TLS sessions.
smtp_tls_cert_file: The client's certificate (RSA), for servers that ask for one.
smtp_tls_chain_files: Files with the client's keys and chains.
smtp_tls_ciphers: How strong ciphers must be where TLS is optional.
smtp_tls_connection_reuse !tlsproxy: Keep TLS connections for more deliveries, through tlsproxy.
smtp_tls_dane_insecure_mx_policy: The TLS level for exchangers found without DNSSEC, where DANE is asked for.
smtp_tls_dcert_file: A DSA certificate of the client.
smtp_tls_dkey_file: The key of smtp_tls_dcert_file.
smtp_tls_eccert_file: The client's ECDSA certificate.
smtp_tls_eckey_file: The key of smtp_tls_eccert_file.
smtp_tls_enable_rpk !unseen: Ask servers for raw public keys in place of certificates.
smtp_tls_enforce_peername: Old: whether names in certificates count, with smtp_enforce_tls.
smtp_tls_enforce_sts_mx_patterns: Use only exchangers that the domain's MTA-STS policy names.
smtp_tls_exclude_ciphers: Ciphers never used by the client.
smtp_tls_fingerprint_cert_match: Fingerprints of servers at level fingerprint.
smtp_tls_fingerprint_digest: The digest of fingerprints.
smtp_tls_force_insecure_host_tlsa_lookup: Ask for TLSA records of hosts that are not in signed zones too.
smtp_tls_key_file: The key of smtp_tls_cert_file.
smtp_tls_loglevel: How much of TLS is logged; 1: a line for each session.
smtp_tls_mandatory_ciphers: How strong ciphers must be where TLS is demanded.
smtp_tls_mandatory_exclude_ciphers: Ciphers never used by the client where TLS is demanded.
smtp_tls_mandatory_protocols: TLS versions where TLS is demanded.
smtp_tls_note_starttls_offer: Log servers that offer STARTTLS where TLS is off.
smtp_tls_per_site: Old: TLS policy by host; see smtp_tls_policy_maps.
smtp_tls_policy_maps: Tables that give a next hop its TLS level and attributes.
smtp_tls_protocols: TLS versions where TLS is optional.
smtp_tls_scert_verifydepth: The longest chain of a server's certificate.
smtp_tls_secure_cert_match: Names that a certificate must have at level secure.
smtp_tls_security_level: none, may, encrypt, fingerprint, verify, secure: the TLS level of all destinations.
smtp_tls_servername: The server name (SNI) that is sent in the handshake.
smtp_tls_session_cache_database !sessions: A table that keeps TLS sessions.
smtp_tls_session_cache_timeout !sessions: How long a TLS session may be taken up again.
smtp_tls_trust_anchor_file: Files of the only authorities that count.
smtp_tls_verify_cert_match: Names that a certificate must have at level verify.
smtp_tls_wrappermode: TLS from the first octet, as port 465 wants it.
smtp_tlsrpt_enable: Report successes and failures of TLS for RFC 8460.
smtp_tlsrpt_skip_reused_handshakes !tlsrpt: Leave sessions that were taken up again out of reports.
smtp_tlsrpt_socket_name !tlsrpt: The socket of the program that collects reports.
smtp_use_tls: Old: as smtp_tls_security_level = may.
tls_required_enable: Obey the header "TLS-Required: no", which lifts the demand for TLS.
"""
