"""What those settings of dovecot.conf mean that we obey; all others of Dovecot 2.3 are known, read, and change nothing.

Lines are NAME: MEANING, section/NAME for what stands in sections. tests/config/test_manual.py compares with what the
source reads.
"""

from collections.abc import Mapping

TEXT = r"""
auth_anonymous_username: The user that SASL ANONYMOUS logs in.
auth_cache_negative_ttl: How long it is remembered that there is no such user.
auth_cache_size: How much of what databases said of users is kept; 0 keeps nothing.
auth_cache_ttl: How long what a database said of a user is kept.
auth_debug: Log how logins are decided.
auth_default_realm: The domain of user names that have none.
auth_failure_delay: How long the answer to a failed login waits.
auth_master_user_separator: The character between user and master user in a login name.
auth_mechanisms: SASL mechanisms that are offered.
auth_penalty: Whether who guesses passwords waits longer and longer. Not in Dovecot.
auth_penalty_decay: The time in which one wrong password is forgotten. Not in Dovecot.
auth_penalty_delay: The first pause after a wrong password. Not in Dovecot.
auth_penalty_ipv4_prefix: How many bits of an IPv4 address count as one client. Not in Dovecot.
auth_penalty_ipv6_prefix: How many bits of an IPv6 address count as one client. Not in Dovecot.
auth_penalty_known_time: How long a login makes an address a user's own. Not in Dovecot.
auth_penalty_max_delay: The longest pause. Not in Dovecot.
auth_penalty_max_wait: Who would wait longer than this is refused unchecked. Not in Dovecot.
auth_penalty_memory: Addresses and users that are remembered. Not in Dovecot.
auth_penalty_network_allowance: Different wrong passwords of a network before it waits as a whole. Not in Dovecot.
auth_penalty_waiting: Attempts of one network that may wait at once. Not in Dovecot.
auth_policy_check_after_auth: Ask the policy server again when the password was right.
auth_policy_check_before_auth: Ask the policy server before the password is looked at.
auth_policy_hash_mech: The hash of which the policy server gets some bits.
auth_policy_hash_nonce: A secret in that hash; must be set where there is a policy server.
auth_policy_hash_truncate: How many bits of that hash the policy server gets; 0: all.
auth_policy_log_only: What the policy server says is logged, and not obeyed.
auth_policy_reject_on_fail: Refuse logins while the policy server does not answer.
auth_policy_report_after_auth: Tell the policy server how logins ended.
auth_policy_request_attributes: What the policy server is told of a login.
auth_policy_server_api_header: A header for the policy server, e.g. with a key.
auth_policy_server_timeout_msecs: How long the policy server may take, in milliseconds.
auth_policy_server_url: A server that is asked over HTTP whether somebody may log in.
auth_realms: Realms that DIGEST-MD5 offers.
auth_socket_path: The socket of the auth service for user lookups.
auth_ssl_require_client_cert: Only clients with a good certificate may log in.
auth_ssl_require_client_cert: Refuse every login without a valid client certificate.
auth_ssl_username_from_cert: Take the user name from the client's certificate.
auth_username_chars: Characters that a user name may have; empty: any.
auth_username_format: How a login name becomes the name that is looked up, as %Lu.
auth_username_translation: Pairs of characters; the first of each becomes the second.
auth_verbose: Log why logins fail.
auth_verbose_passwords: What the log says of wrong passwords: no, plain, sha1, or plain:LENGTH, sha1:LENGTH.
base_dir: Where sockets are; names of sockets are below it.
debug_log_path: Where `doveadm log find` says that debug lines are; they go to log_path.
default_client_limit: Connections of one process, where a service says nothing.
default_internal_group: The group of internal sockets.
default_internal_user: The account of processes that need no rights.
default_login_user: The account of login processes; nothing may belong to it.
default_process_limit: Most processes of a service.
disable_plaintext_auth: Passwords in plain text only under TLS, or on this machine.
dsync_alt_char: What stands in a mailbox name for a character that the other side can't have.
first_valid_gid: The lowest group id that a user may have.
first_valid_uid: The lowest user id that a user may have.
haproxy_timeout: How long a proxy's header may take.
haproxy_trusted_networks: Networks whose proxies are believed.
hostname: The machine's name where messages show one.
imap_append_limit: The largest message in APPEND; 0: any that the quota allows. Not in Dovecot.
imap_capability: The capability list after login; "+NAME" adds.
imap_extensions: "dovecot": what Dovecot 2.3 has; "all": all we have, as in files of 2.4. Not in Dovecot.
imap_id_log: Fields of the client's ID that are logged; *: all.
imap_id_retain: What the client says in ID goes to the databases, as client_id.
imap_metadata: Clients may keep entries with mailboxes (METADATA), in mail_attribute_dict.
imap_metadata_max_entries: Entries that a mailbox may have. Not in Dovecot.
imap_metadata_max_size: How long an entry's value may be. Not in Dovecot.
imap_notify_max_mailboxes: Mailboxes that one NOTIFY may watch; more are refused. Not in Dovecot.
imap_notify_max_watches: Files and folders that one NOTIFY watches; others are polled every 30 s. Not in Dovecot.
imap_search_max_mailboxes: Mailboxes that one ESEARCH may look into. Not in Dovecot.
imap_urlauth_host: The host of URLs that give others a message (URLAUTH); *: any. Needs mail_attribute_dict.
imap_urlauth_max_size: Octets of another user's message that a URL may give. Not in Dovecot.
imap_urlauth_port: The port that such URLs may name.
mail_attribute_dict: Where entries of METADATA and keys of URLAUTH are kept: file:PATH.
mail_server_admin: The URI of the administrator that METADATA tells.
mail_server_comment: The server's comment that METADATA tells.
mailbox/comment: The comment of a mailbox that METADATA tells.
imap_id_send: What ID answers.
imap_idle_notify_interval: How often IDLE says "Still here".
imap_literal_minus: LITERAL- in place of LITERAL+.
imap_logout_format: The log line at the end of an IMAP session.
imap_max_line_length: Octets of an IMAP command line.
imap_message_limit: How many messages one IMAP command works on; 0: any number. Not in Dovecot.
imap_output_timeout: How long a client may read nothing of what it asked for; 0: no limit. Not in Dovecot.
imap_progress_interval: How often a long command says that it goes on (INPROGRESS); 0: never. Not in Dovecot.
imap_save_limit: How many messages one COPY or APPEND makes; 0: any number. Not in Dovecot.
imapc_cmd_timeout: How long the other IMAP server may be silent.
imapc_connection_retry_count: How often a lost connection is made anew; sync tries at least three times.
imapc_connection_retry_interval: The first pause before that; it doubles.
imapc_features: Of the other server; "no-examine" is obeyed, other words change nothing.
imapc_host: The IMAP server that imapc: stands for.
imapc_list_prefix: Only mailboxes whose names begin so.
imapc_master_user: Whose password imapc_password is, when it isn't imapc_user's.
imapc_max_line_length: Octets of a line from the other server, 4 MB when it is 0.
imapc_password: The password on the other server.
imapc_port: The port of imapc_host.
imapc_sasl_mechanisms: How to log in there: plain, login, xoauth2, oauthbearer; empty: what fits.
imapc_ssl: no, imaps or starttls.
imapc_ssl_verify: Whether the other server's certificate has to be a good one.
imapc_user: The user on the other server; empty: the same name as here.
import_environment: Environment variables that processes keep.
info_log_path: The log of information, when it is not log_path.
last_valid_gid: The highest group id that a user may have; 0: no limit.
last_valid_uid: The highest user id that a user may have; 0: no limit.
lda_mailbox_autocreate: Make a missing mailbox that mail is delivered to.
lda_mailbox_autosubscribe: Subscribe to such a new mailbox.
libexec_dir: Where `doveadm exec` finds programs.
libexec_dir: Where `doveadm exec` looks for programs.
listen: Addresses on which services listen.
lmtp_add_received_header: Put a Received header on mail that comes by LMTP.
lmtp_client_workarounds: Clients' faults that LMTP forgives: whitespace-before-path, mailbox-for-path.
lmtp_hdr_delivery_address: What Delivered-To names: none, final or original.
lmtp_proxy: Not there: with yes the suite does not start; Postfix's transport_maps can bring mail to other servers.
lmtp_save_to_detail_mailbox: Deliver user+NAME into the mailbox NAME.
lmtp_user_concurrency_limit: Deliveries by LMTP that one user may have under way, more get 451; 0: no limit.
log_core_filter: Events that end the process; not for production.
log_debug: Events that are logged in detail.
log_path: The log: syslog, a file, or /dev/stderr.
log_timestamp: The time in lines of a log file.
login_access_sockets: Programs that let clients in or not; not supported: the suite does not start with it.
login_greeting: What a server says first.
login_log_format: The log line of a login.
login_log_format_elements: Parts of that line; empty ones are left out.
login_plugins: Plugins of login processes; not supported: the suite does not start with it.
login_proxy_max_reconnects: How often a server that a login is passed on to is tried again.
login_proxy_timeout: How long a login with such a server may take.
login_source_ips: Our addresses towards such servers, taken in turn; with ? in front only those that work.
login_trusted_networks: Networks of proxies that may tell a client's address (ID, XCLIENT).
mail_access_groups: Further groups of mail processes.
mail_chroot: A folder to confine users to; not supported: such users cannot log in.
mail_fsync: When files are synced: optimized, always or never.
mail_gid: The group of users who have none of their own.
mail_home: The home of users who have none of their own.
mail_location: Where mail is: maildir:PATH or mbox:PATH, with options.
mail_max_keyword_length: Characters of a keyword.
mail_max_userip_connections: Connections of one user from one address.
mail_plugins: quota counts mail; for IMAP imap_quota lets clients ask, imap_zlib offers COMPRESS.
mail_privileged_group: The group that may make locks in the mail spool.
mail_temp_dir: Where temporary files are.
mail_uid: The account of users who have none of their own.
managesieve_implementation_string: What the ManageSieve server calls itself.
managesieve_logout_format: The log line at the end of a ManageSieve session: %i, %o: octets in, out.
managesieve_max_line_length: Octets of one ManageSieve line.
managesieve_notify_capability: Its NOTIFY capability.
managesieve_sieve_capability: Its SIEVE capability: the extensions.
mail_utf8_extensions: POP3 clients may say UTF8 and LANG (RFC 6856); others get headers in ASCII.
mbox_dirty_syncs: Of an mbox that grew only the new end is read, until a session begins or the file is written.
mbox_dotlock_change_timeout: After how long an unchanged lock file of others is taken away.
mbox_lazy_writes: Write flags into an mbox when it is closed.
mbox_lock_timeout: How long to wait for an mbox lock.
mbox_md5: The header fields that %m of pop3_uidl_format is a hash of: apop3d (those of a delivery) or all.
mbox_read_locks: Locks for reading an mbox, in order.
mbox_very_dirty_syncs: As mbox_dirty_syncs, also when a session begins; flags that others changed are seen late.
mbox_write_locks: Locks for writing an mbox, in order.
pop3_client_workarounds: Help for faulty POP3 clients.
pop3_delete_type: What QUIT does: expunge, or flag (with pop3_deleted_flag); default is flag where one is set.
pop3_deleted_flag: A keyword; messages that have it are not shown to POP3 clients.
pop3_enable_last: The old command LAST. RSET then takes the mark "seen" from all messages.
pop3_lock_session: One POP3 session of a user at a time; a second login gets [IN-USE].
pop3_logout_format: The log line at the end of a POP3 session.
pop3_no_flag_updates: RETR does not mark mail as seen.
pop3_reuse_xuidl: The X-UIDL field of a message, which an earlier server put there, is its UIDL.
pop3_save_uidl: Keep UIDLs in dovecot-uidlist, so that they outlive a change of pop3_uidl_format.
pop3_uidl_duplicates: rename gives the second of two equal UIDLs the ending -2, the third -3.
pop3_uidl_format: How UIDL names messages: %u UID, %v UIDVALIDITY, %f file name, %m header hash (mbox), %g GUID.
protocols: imap, pop3, lmtp, sieve: what is served.
quota_full_tempfail: A full mailbox defers mail rather than bouncing it.
recipient_delimiter: Characters between user and detail of an address.
ssl: yes, no or required: TLS of IMAP and POP3.
ssl_alt_cert: A second certificate, of another algorithm.
ssl_alt_key: The key of ssl_alt_cert.
ssl_ca: Authorities of client certificates and their revocation lists, as <FILE.
ssl_cert: The certificate with its chain, as <FILE.
ssl_cert_username_field: The field of a client's certificate that is its user name.
ssl_cipher_list: OpenSSL's list of ciphers.
ssl_cipher_suites: Ciphers of TLSv1.3; Python's TLS cannot choose them, so a warning tells that OpenSSL's own are used.
ssl_client_ca_dir: Authorities of servers that logins are passed on to: a folder.
ssl_client_ca_file: Authorities of servers that logins are passed on to: a file. Neither set: those of the system.
ssl_client_cert: Our certificate for such servers, as <FILE.
ssl_client_key: Its key, as <FILE.
ssl_client_require_valid_cert: Such servers must show a good certificate (ssl=any-cert of the database says otherwise).
ssl_crypto_device: An OpenSSL engine; not obeyed, with a warning.
ssl_curve_list: The curve of key exchanges; a list of several is not obeyed, with a warning.
ssl_dh: Diffie-Hellman parameters; read and not needed, since no cipher that is offered uses them.
ssl_key: The key, as <FILE.
ssl_key_password: The password of the key, or <FILE with it.
ssl_min_protocol: The oldest TLS version.
ssl_options: no_ticket: sessions are not resumed by tickets. Compression is never used.
ssl_prefer_server_ciphers: The server's order of ciphers counts.
ssl_require_crl: Client certificates need revocation lists of their authorities in ssl_ca.
ssl_verify_client_cert: Ask clients for certificates.
state_dir: Where state is kept between runs.
syslog_facility: The syslog facility.
valid_chroot_dirs: Where such folders may be.
passdb/driver: How passwords are looked up: passwd-file, pam, passwd, shadow, static...
passdb/args: What the driver needs: a file, options.
passdb/deny: Who is found here is refused.
passdb/master: Who is found here may log in as others.
passdb/pass: After a match the next database decides.
passdb/skip: When the database is passed over: never, authenticated or unauthenticated.
passdb/result_success: What follows a match.
passdb/result_failure: What follows a mismatch.
passdb/result_internalfail: What follows when the database cannot be asked.
passdb/default_fields: Fields that hold where the database gives none.
passdb/override_fields: Fields that replace the database's.
passdb/mechanisms: Mechanisms for which the database is asked.
passdb/username_filter: User names for which the database is asked.
userdb/driver: How users are looked up: passwd, passwd-file, static, prefetch...
userdb/args: What the driver needs: a file, or fields such as uid=vmail.
userdb/default_fields: Fields that hold where the database gives none.
userdb/override_fields: Fields that replace the database's.
namespace/prefix: What mailbox names of the namespace begin with.
namespace/separator: The character between levels of names.
namespace/location: Where its mail is, when not at mail_location.
namespace/inbox: Whether INBOX is here.
namespace/list: Whether LIST shows it.
namespace/hidden: Whether NAMESPACE leaves it out.
namespace/subscriptions: Whether subscriptions are kept here.
namespace/type: private, shared or public.
mailbox/auto: no, create or subscribe: a mailbox that everybody has.
mailbox/special_use: The role of the mailbox, as \Sent.
service/process_limit: Most processes of the service.
service/user: The account of the service.
service/group: The group of the service.
unix_listener/mode: Permissions of the socket.
unix_listener/user: Owner of the socket.
unix_listener/group: Group of the socket.
inet_listener/port: The port; 0: none.
inet_listener/address: The address, when not those of listen.
inet_listener/ssl: TLS from the first octet.
inet_listener/haproxy: A proxy's header comes first.
"""

MEANINGS: Mapping[str, str] = dict(line.split(": ", 1) for line in TEXT.strip().split("\n"))
