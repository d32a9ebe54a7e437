"""Parameters of the SMTP server. Effects are Postfix's; the texts say what an administrator decides with them."""

from mailsuite.config.registry import Param, boolean, declare, enum, integer, number, seconds, string, words

MYHOSTNAME = declare(Param("myhostname", "localhost", string(least=1), "The name in greetings and headers."))
MAIL_NAME = declare(Param("mail_name", "Postfix", string(), "The program's name in greetings and Received headers."))
SMTPD_BANNER = declare(Param("smtpd_banner", "$myhostname ESMTP $mail_name", string(),
    "Text behind 220; must begin with the host's name (RFC 5321 section 4.3.1)."))

# --- limits -----------------------------------------------------------------------------------------------------
LINE_LENGTH_LIMIT = declare(Param("line_length_limit", "2048", integer(least=512),
    "Octets of a command line; what is longer is cut off."))
MESSAGE_SIZE_LIMIT = declare(Param("message_size_limit", "10240000", integer(most=2**62),
    "Octets of a message with its envelope; 0 for no limit."))
QUEUE_MINFREE = declare(Param("queue_minfree", "0", integer(most=2**62),
    "Octets that must be free in the queue's file system; 0: 1.5 times message_size_limit."))
SMTPD_SOFT_ERROR_LIMIT = declare(Param("smtpd_soft_error_limit", "10", integer(least=1),
    "Errors of a session after which every reply waits smtpd_error_sleep_time."))
SMTPD_HARD_ERROR_LIMIT = declare(Param("smtpd_hard_error_limit", "20", integer(least=1),
    "Errors of a session after which it is ended."))
SMTPD_ERROR_SLEEP_TIME = declare(Param("smtpd_error_sleep_time", "1s", seconds(),
    "How long replies wait over the soft limit."))
SMTPD_JUNK_COMMAND_LIMIT = declare(Param("smtpd_junk_command_limit", "100", integer(least=1),
    "HELO, NOOP, RSET, VRFY and ETRN without a message between them; more count as errors."))
SMTPD_RECIPIENT_LIMIT = declare(Param("smtpd_recipient_limit", "1000", integer(least=1), "Recipients of a message."))
SMTPD_RECIPIENT_OVERSHOOT_LIMIT = declare(Param("smtpd_recipient_overshoot_limit", "1000", integer(least=1),
    "Recipients over the limit that are refused without being counted as errors."))
SMTPD_DELAY_OPEN = declare(Param("smtpd_delay_open_until_valid_rcpt", "yes", boolean(),
    "Make a message's queue file, and give it an id, at its first accepted recipient; no: at MAIL, so that the log has "
    "an id for recipients that are refused."))
SMTPD_TIMEOUT = declare(Param("smtpd_timeout", "${stress?{10}:{300}}s", seconds(least=1),
    "How long a client may be silent; 10s while under stress: all connections of the service are taken."))
SMTPD_STARTTLS_TIMEOUT = declare(Param("smtpd_starttls_timeout", "${stress?{10}:{300}}s", seconds(least=1),
    "How long a TLS handshake may take."))
SMTPD_PER_REQUEST_DEADLINE = declare(Param("smtpd_per_request_deadline",
    "${smtpd_per_record_deadline?{$smtpd_per_record_deadline}:{${stress?{yes}:{no}}}}", boolean(),
    "smtpd_timeout is for a whole command, not for silence; message content gains 1 s for smtpd_min_data_rate octets."))
SMTPD_FORBID_UNAUTH_PIPELINING = declare(Param("smtpd_forbid_unauth_pipelining", "no", boolean(),
    "End sessions of clients that send commands where they must wait for a reply."))
SMTPD_FORBID_BARE_NEWLINE = declare(Param("smtpd_forbid_bare_newline", "no", enum("no", "yes", "normalize", "reject"),
    "reject: refuse lines that end in LF alone. Else they are line ends, but never the end of a message."))
SMTPD_FORBID_BARE_NEWLINE_REJECT_CODE = declare(Param("smtpd_forbid_bare_newline_reject_code", "550",
    integer(least=400, most=599), "Reply code of reject."))
SMTPD_SASL_RESPONSE_LIMIT = declare(Param("smtpd_sasl_response_limit", "12288", integer(least=512),
    "Octets of a line that answers an AUTH challenge."))
SMTPD_CLIENT_CONNECTION_COUNT_LIMIT = declare(Param("smtpd_client_connection_count_limit", "50", integer(),
    "Connections of one client at once; 0 for no limit."))
SMTPD_CLIENT_CONNECTION_RATE_LIMIT = declare(Param("smtpd_client_connection_rate_limit", "0", integer(),
    "Connections of one client per anvil_rate_time_unit; 0 for no limit."))
SMTPD_CLIENT_MESSAGE_RATE_LIMIT = declare(Param("smtpd_client_message_rate_limit", "0", integer(),
    "MAIL commands of one client per anvil_rate_time_unit; 0 for no limit."))
SMTPD_CLIENT_RECIPIENT_RATE_LIMIT = declare(Param("smtpd_client_recipient_rate_limit", "0", integer(),
    "RCPT commands of one client per anvil_rate_time_unit; 0 for no limit."))
SMTPD_CLIENT_NEW_TLS_SESSION_RATE_LIMIT = declare(Param("smtpd_client_new_tls_session_rate_limit", "0", integer(),
    "TLS handshakes of one client per anvil_rate_time_unit; 0 for no limit."))
SMTPD_CLIENT_AUTH_RATE_LIMIT = declare(Param("smtpd_client_auth_rate_limit", "0", integer(),
    "AUTH commands of one client per anvil_rate_time_unit; 0 for no limit."))

# --- the dialogue -----------------------------------------------------------------------------------------------
SMTPD_HELO_REQUIRED = declare(Param("smtpd_helo_required", "no", boolean(), "MAIL only after HELO or EHLO."))
DISABLE_VRFY_COMMAND = declare(Param("disable_vrfy_command", "no", boolean(), "VRFY is refused."))
STRICT_RFC821_ENVELOPES = declare(Param("strict_rfc821_envelopes", "no", boolean(),
    "Addresses in MAIL and RCPT must stand in <>."))
SMTPD_HISTORY_FLUSH_THRESHOLD = declare(Param("smtpd_history_flush_threshold", "100", integer(least=1),
    "Lines of a session's transcript from which on EHLO, RSET and the end of a message begin a new one."))
SMTPUTF8_ENABLE = declare(Param("smtputf8_enable", "yes", boolean(), "Offer SMTPUTF8 (RFC 6531)."))
STRICT_SMTPUTF8 = declare(Param("strict_smtputf8", "no", boolean(),
    "Addresses in UTF-8 only where the client said SMTPUTF8."))
SMTPD_DISCARD_EHLO_KEYWORDS = declare(Param("smtpd_discard_ehlo_keywords", "", words(lower=True),
    "EHLO keywords that are not offered; silent-discard keeps that out of the log."))
SMTPD_FORBIDDEN_COMMANDS = declare(Param("smtpd_forbidden_commands",
    "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}", string(), "Commands that end the session at once."))
SMTPD_NOOP_COMMANDS = declare(Param("smtpd_noop_commands", "", words(lower=True), "Commands answered as NOOP."))
SMTPD_REJECT_FOOTER = declare(Param("smtpd_reject_footer", "", string(),
    "Text behind every 4xx and 5xx reply; one that begins with \\c continues the reply's own line."))
SMTPD_PEERNAME_LOOKUP = declare(Param("smtpd_peername_lookup", "yes", boolean(),
    "Ask DNS for the client's name; no: it is unknown."))
SMTPD_CLIENT_PORT_LOGGING = declare(Param("smtpd_client_port_logging", "no", boolean(),
    "Log the client's port too."))
SOFT_BOUNCE = declare(Param("soft_bounce", "no", boolean(), "Refuse with 4xx where 5xx would be right."))

CLEANUP_REPLACE_STRAY_CR_LF = declare(Param("cleanup_replace_stray_cr_lf", "yes", boolean(),
    "A CR inside a line of a message becomes a blank."))

# --- TLS --------------------------------------------------------------------------------------------------------
SMTPD_TLS_SECURITY_LEVEL = declare(Param("smtpd_tls_security_level", "", enum("", "none", "may", "encrypt"),
    "may: offer STARTTLS; encrypt: refuse mail without it."))
SMTPD_USE_TLS = declare(Param("smtpd_use_tls", "no", boolean(), "Old form of security level may."))
SMTPD_ENFORCE_TLS = declare(Param("smtpd_enforce_tls", "no", boolean(), "Old form of security level encrypt."))
SMTPD_TLS_WRAPPERMODE = declare(Param("smtpd_tls_wrappermode", "no", boolean(),
    "TLS from the first octet (smtps, port 465)."))
SMTPD_TLS_AUTH_ONLY = declare(Param("smtpd_tls_auth_only", "no", boolean(), "AUTH only under TLS."))
SMTPD_TLS_LOGLEVEL = declare(Param("smtpd_tls_loglevel", "0", integer(), "1 and more: a line for each handshake."))
SMTPD_TLS_RECEIVED_HEADER = declare(Param("smtpd_tls_received_header", "no", boolean(),
    "Protocol and cipher in the Received header."))
SMTPD_TLS_ASK_CCERT = declare(Param("smtpd_tls_ask_ccert", "no", boolean(), "Ask for a client certificate."))

# --- SASL -------------------------------------------------------------------------------------------------------
SMTPD_SASL_AUTH_ENABLE = declare(Param("smtpd_sasl_auth_enable", "no", boolean(), "Offer AUTH (RFC 4954)."))
SMTPD_SASL_TYPE = declare(Param("smtpd_sasl_type", "cyrus", enum("cyrus", "dovecot"),
    "What smtpd_sasl_path speaks; dovecot: Dovecot's authentication protocol."))
SMTPD_SASL_PATH = declare(Param("smtpd_sasl_path", "smtpd", string(least=1),
    "The auth service's socket, below queue_directory where it is no absolute path."))
SMTPD_SASL_SERVICE = declare(Param("smtpd_sasl_service", "smtp", string(least=1), "The service name told to it."))
SMTPD_SASL_SECURITY_OPTIONS = declare(Param("smtpd_sasl_security_options", "noanonymous", words(lower=True),
    "What mechanisms must not be: noanonymous, noplaintext, nodictionary, noactive, forward_secrecy, mutual_auth."))
SMTPD_SASL_TLS_SECURITY_OPTIONS = declare(Param("smtpd_sasl_tls_security_options", "$smtpd_sasl_security_options",
    words(lower=True), "The same under TLS."))
SMTPD_SASL_MECHANISM_FILTER = declare(Param("smtpd_sasl_mechanism_filter", "!external, static:rest", string(),
    "Mechanisms that are offered."))
SMTPD_SASL_EXCEPTIONS_NETWORKS = declare(Param("smtpd_sasl_exceptions_networks", "", string(),
    "Clients that are not offered AUTH."))
SMTPD_HIDE_CLIENT_SESSION = declare(Param("smtpd_hide_client_session", "no", boolean(),
    "Leave name, address, TLS and login of the client out of the Received: header: for submission services."))
SMTPD_SASL_AUTHENTICATED_HEADER = declare(Param("smtpd_sasl_authenticated_header", "no", boolean(),
    "The login name in the Received header."))
BROKEN_SASL_AUTH_CLIENTS = declare(Param("broken_sasl_auth_clients", "no", boolean(),
    "Offer AUTH=... too, for old Outlook Express."))

# --- restrictions -----------------------------------------------------------------------------------------------
SMTPD_DELAY_REJECT = declare(Param("smtpd_delay_reject", "yes", boolean(),
    "Judge client, HELO and sender when the recipient is known: the log then tells who missed what mail."))
SMTPD_REJECT_UNLISTED_RECIPIENT = declare(Param("smtpd_reject_unlisted_recipient", "yes", boolean(),
    "Refuse recipients that no table lists, without being told to in a restriction list."))
SMTPD_REJECT_UNLISTED_SENDER = declare(Param("smtpd_reject_unlisted_sender", "no", boolean(),
    "The same for senders in our own domains."))
SMTPD_NULL_ACCESS_LOOKUP_KEY = declare(Param("smtpd_null_access_lookup_key", "<>", string(least=1),
    "What the null sender is looked up as in access tables."))
SMTPD_MIN_DATA_RATE = declare(Param("smtpd_min_data_rate", "500", number(), "Octets a second of a message, at least."))


def _code(name: str, default: int, what: str, *, least: int = 400) -> Param[int]:
    return declare(Param(name, str(default), integer(least=least, most=599), f"Reply code for {what}."))


ACCESS_MAP_REJECT_CODE = _code("access_map_reject_code", 554, "REJECT in an access table")
ACCESS_MAP_DEFER_CODE = _code("access_map_defer_code", 450, "DEFER in an access table")
REJECT_CODE = _code("reject_code", 554, "the restriction reject")
DEFER_CODE = _code("defer_code", 450, "the restriction defer")
RELAY_DOMAINS_REJECT_CODE = _code("relay_domains_reject_code", 554, "mail that we do not relay")
INVALID_HOSTNAME_REJECT_CODE = _code("invalid_hostname_reject_code", 501, "a HELO that is no host name")
NON_FQDN_REJECT_CODE = _code("non_fqdn_reject_code", 504, "a name without its domain")
UNKNOWN_ADDRESS_REJECT_CODE = _code("unknown_address_reject_code", 450, "an address whose domain is not in DNS")
UNKNOWN_CLIENT_REJECT_CODE = _code("unknown_client_reject_code", 450, "a client without a name")
UNKNOWN_HOSTNAME_REJECT_CODE = _code("unknown_hostname_reject_code", 450, "a HELO name that is not in DNS")
UNVERIFIED_SENDER_REJECT_CODE = _code(
    "unverified_sender_reject_code", 450, "a sender that a probe found bad; 2xx permits", least=200)
UNVERIFIED_SENDER_DEFER_CODE = _code(
    "unverified_sender_defer_code", 450, "a sender that a probe could not judge; 2xx permits", least=200)
UNVERIFIED_SENDER_REJECT_REASON = declare(Param("unverified_sender_reject_reason", "", string(),
    "Said instead of what the probe was told about a sender."))
UNVERIFIED_RECIPIENT_REJECT_CODE = _code(
    "unverified_recipient_reject_code", 450, "a recipient that a probe found bad; 2xx permits", least=200)
UNVERIFIED_RECIPIENT_DEFER_CODE = _code(
    "unverified_recipient_defer_code", 450, "a recipient that a probe could not judge; 2xx permits", least=200)
UNVERIFIED_RECIPIENT_REJECT_REASON = declare(Param("unverified_recipient_reject_reason", "", string(),
    "Said instead of what the probe was told about a recipient."))
MAPS_RBL_REJECT_CODE = _code("maps_rbl_reject_code", 554, "a client on a block list")
PLAINTEXT_REJECT_CODE = _code("plaintext_reject_code", 450, "reject_plaintext_session")
MULTI_RECIPIENT_BOUNCE_REJECT_CODE = _code("multi_recipient_bounce_reject_code", 550, "bounces to several recipients")
SMTPD_UPSTREAM_PROXY_TIMEOUT = declare(Param("smtpd_upstream_proxy_timeout", "5s", seconds(least=1),
    "How long a PROXY header may take to arrive, with smtpd_upstream_proxy_protocol = haproxy."))

_ACTION = "defer_if_permit: refuse for now unless another restriction refuses for good; defer: refuse for now at once."
REJECT_TEMPFAIL_ACTION = declare(Param("reject_tempfail_action", "defer_if_permit", string(),
    f"What becomes of mail when a restriction cannot be judged: {_ACTION}"))
UNKNOWN_ADDRESS_TEMPFAIL_ACTION = declare(Param("unknown_address_tempfail_action", "$reject_tempfail_action", string(),
    f"When reject_unknown_sender_domain or _recipient_domain cannot ask DNS: {_ACTION}"))
UNKNOWN_HELO_HOSTNAME_TEMPFAIL_ACTION = declare(Param("unknown_helo_hostname_tempfail_action",
    "$reject_tempfail_action", string(), f"When reject_unknown_helo_hostname cannot ask DNS: {_ACTION}"))
UNVERIFIED_SENDER_TEMPFAIL_ACTION = declare(Param("unverified_sender_tempfail_action", "$reject_tempfail_action",
    string(), f"When reject_unverified_sender cannot tell: {_ACTION}"))
UNVERIFIED_RECIPIENT_TEMPFAIL_ACTION = declare(Param("unverified_recipient_tempfail_action", "$reject_tempfail_action",
    string(), f"When reject_unverified_recipient cannot tell: {_ACTION}"))

GREYLIST_DELAY = declare(Param("greylist_delay", "300s", seconds(),
    "check_greylist: how long a stranger's mail has to wait before another attempt passes."))
GREYLIST_RETRY_WINDOW = declare(Param("greylist_retry_window", "2d", seconds(least=1),
    "check_greylist: who does not come back within this time begins anew."))
GREYLIST_MAX_AGE = declare(Param("greylist_max_age", "35d", seconds(least=1),
    "check_greylist: how long a client, sender and recipient that passed are remembered after their last mail."))
GREYLIST_AUTO_ALLOW = declare(Param("greylist_auto_allow", "5", integer(),
    "check_greylist: after so many different mails have passed from a network, all its mail passes; 0 never."))
GREYLIST_IPV4_PREFIX_LENGTH = declare(Param("greylist_ipv4_prefix_length", "24", integer(most=32),
    "check_greylist: clients whose IPv4 addresses agree in so many bits count as one; large senders have many hosts."))
GREYLIST_IPV6_PREFIX_LENGTH = declare(Param("greylist_ipv6_prefix_length", "64", integer(most=128),
    "check_greylist: the same for IPv6."))
GREYLIST_CLIENT_EXCEPTIONS = declare(Param("greylist_client_exceptions", "", string(),
    "check_greylist: clients that never wait: names, addresses, networks and tables, as in mynetworks."))
GREYLIST_RECIPIENT_DOMAINS_EXCEPTIONS = declare(Param("greylist_recipient_domain_exceptions", "", string(),
    "check_greylist: domains whose recipients get all mail at once: names and tables."))
GREYLIST_MAP = declare(Param("greylist_map", "btree:$data_directory/greylist", string(),
    "check_greylist: where it remembers; the file belongs to mail_owner."))
GREYLIST_CACHE_SIZE_LIMIT = declare(Param("greylist_cache_size_limit", "268435456", integer(least=1 << 20),
    "check_greylist: octets that the entries of greylist_map may have; beyond, nobody new waits."))
SMTPD_SASL_RECIPIENT_RATE_LIMIT = declare(Param("smtpd_sasl_recipient_rate_limit", "0", integer(),
    "Recipients that one logged-in account may send to in smtpd_sasl_rate_time_unit; what is beyond goes on hold, and "
    "the postmaster is told; beyond ten times as many it is refused for now. 0: no limit."))
SMTPD_SASL_RECIPIENT_RATE_LIMIT_MAPS = declare(Param("smtpd_sasl_recipient_rate_limit_maps", "", string(),
    "Tables with another smtpd_sasl_recipient_rate_limit for single accounts: login name to number, 0 for no limit."))
SMTPD_SASL_RATE_TIME_UNIT = declare(Param("smtpd_sasl_rate_time_unit", "1h", seconds(least=1),
    "The time over which smtpd_sasl_recipient_rate_limit counts."))
SMTPD_SASL_RATE_MAP = declare(Param("smtpd_sasl_rate_map", "btree:$data_directory/smtpd_sasl_rate", string(),
    "Where smtpd_sasl_recipient_rate_limit counts; the file belongs to mail_owner."))

SMTPD_BURL_PATH = declare(Param("smtpd_burl_path", "", string(),
    "Offer BURL (RFC 4468): who has logged in may send parts of messages that lie on the IMAP server. The path is that "
    "server's socket for URLs, base_dir/imap-urlauth of dovecot.conf: /run/dovecot/imap-urlauth. Empty: no BURL."))
SMTPD_PROXY_FILTER = declare(Param("smtpd_proxy_filter", "", string(),
    "A content filter that answers before the client does: host:port, inet:host:port or unix:path. What it accepts, it "
    "queues itself, by another smtpd. Empty: none."))
SMTPD_PROXY_EHLO = declare(Param("smtpd_proxy_ehlo", "$myhostname", string(),
    "The name that smtpd gives itself to the proxy filter."))
SMTPD_PROXY_OPTIONS = declare(Param("smtpd_proxy_options", "", words(lower=True),
    "speed_adjust: the proxy filter is asked when the message is whole, so that slow clients do not hold it."))
SMTPD_PROXY_TIMEOUT = declare(Param("smtpd_proxy_timeout", "100s", seconds(least=1),
    "How long to wait for the proxy filter, each time."))
