"""Parameters of the queue; names and defaults are Postfix's."""

from mailsuite.config.registry import Param, boolean, declare, integer, items, octets, seconds, string, words

QUEUE_DIRECTORY = declare(Param("queue_directory", "/var/spool/postfix", string(),
    "Where the queue lives; relative paths of services (private/auth) are below it."))
HASH_QUEUE_NAMES = declare(Param("hash_queue_names", "deferred, defer", items(),
    "Queue folders that are split into subfolders; `postsuper -s` moves files after a change."))
HASH_QUEUE_DEPTH = declare(Param("hash_queue_depth", "1", integer(least=1, most=16),
    "Levels of subfolders, one character of the queue id each."))
ENABLE_LONG_QUEUE_IDS = declare(Param("enable_long_queue_ids", "no", boolean(),
    "Queue ids that hold the arrival time and do not come back for a century."))
QUEUE_JOURNAL = declare(Param("queue_journal", "yes", boolean(),
    "Small messages that smtpd accepts and that are delivered at once are kept in a journal, and never become files of "
    "their own; with no each message is a file at once."))
QUEUE_JOURNAL_SEGMENT_SIZE = declare(Param("queue_journal_segment_size", "8388608", integer(least=65536, most=1 << 30),
    "Octets of one file of the journal; smtpd processes write to one each, and go to another when it is full."))
QUEUE_JOURNAL_SEGMENT_LIMIT = declare(Param("queue_journal_segment_limit", "16", integer(least=1, most=10000),
    "Files of the journal, of all smtpd processes together; when all are in use new mail becomes files of its own."))
QUEUE_JOURNAL_TIME = declare(Param("queue_journal_time", "1s", seconds(least=0),
    "How long a message may be in the active queue before it leaves the journal for a file of its own."))
HEADER_SIZE_LIMIT = declare(Param("header_size_limit", "102400", integer(least=1),
    "Octets of one message header that are looked at; the rest of it is cut off."))
HOPCOUNT_LIMIT = declare(Param("hopcount_limit", "50", integer(least=1),
    "Received: headers (or Delivered-To:) after which mail goes in a circle."))
ENABLE_ORIGINAL_RECIPIENT = declare(Param("enable_original_recipient", "yes", boolean(),
    "Keep X-Original-To; with no, duplicates are found by the final address alone."))
ALWAYS_ADD_MISSING_HEADERS = declare(Param("always_add_missing_headers", "no", boolean(),
    "Add From:, Date:, Message-Id: to remote mail as well."))
UNDISCLOSED_RECIPIENTS_HEADER = declare(Param("undisclosed_recipients_header", "", string(),
    "What is added to a message without To:, Cc: or Bcc:."))
MESSAGE_DROP_HEADERS = declare(Param("message_drop_headers", "bcc, content-length, resent-bcc, return-path",
    items(lower=True), "Headers that are removed from every message that passes."))
HEADER_FROM_FORMAT = declare(Param("header_from_format", "standard", string(),
    "A missing From: is made as \"name <address>\" (standard) or \"address (name)\" (obsolete)."))
CONTENT_FILTER = declare(Param("content_filter", "", string(),
    "transport:nexthop that all mail goes through, instead of where it would go."))
HEADER_CHECKS = declare(Param("header_checks", "", string(), "Tables that are asked about each message header."))
MIME_HEADER_CHECKS = declare(Param("mime_header_checks", "$header_checks", string(),
    "The same for headers of MIME parts."))
NESTED_HEADER_CHECKS = declare(Param("nested_header_checks", "$header_checks", string(),
    "The same for headers of attached messages."))
BODY_CHECKS = declare(Param("body_checks", "", string(), "Tables that are asked about each body line."))
BODY_CHECKS_SIZE_LIMIT = declare(Param("body_checks_size_limit", "51200", integer(),
    "Octets of each body part that body_checks see."))
DISABLE_MIME_INPUT_PROCESSING = declare(Param("disable_mime_input_processing", "no", boolean(),
    "Take a message's body as one text: MIME parts are not looked at."))
MIME_NESTING_LIMIT = declare(Param("mime_nesting_limit", "100", integer(least=1),
    "How deep MIME parts may be nested; mail that goes deeper is refused."))
MIME_BOUNDARY_LENGTH_LIMIT = declare(Param("mime_boundary_length_limit", "2048", integer(least=1),
    "Octets of a MIME boundary that are compared."))
STRICT_7BIT_HEADERS = declare(Param("strict_7bit_headers", "no", boolean(),
    "Refuse mail with 8-bit octets in headers (SMTPUTF8 mail may have them)."))
STRICT_8BITMIME_BODY = declare(Param("strict_8bitmime_body", "no", boolean(),
    "Refuse 8-bit content that no Content-Transfer-Encoding header announces."))
STRICT_8BITMIME = declare(Param("strict_8bitmime", "no", boolean(),
    "Both strict_7bit_headers and strict_8bitmime_body."))
STRICT_MIME_ENCODING_DOMAIN = declare(Param("strict_mime_encoding_domain", "no", boolean(),
    "Refuse multipart/* and message/* parts that are encoded as a whole."))

MESSAGE_REJECT_CHARACTERS = declare(Param("message_reject_characters", "", octets(),
    "Octets that no message may have, e.g. \\0, as in C: \\a \\b \\f \\n \\r \\t \\v \\ddd (octal) \\\\."))
MESSAGE_STRIP_CHARACTERS = declare(Param("message_strip_characters", "", octets(),
    "Octets that are taken out of messages; written likewise."))

QMGR_MESSAGE_ACTIVE_LIMIT = declare(Param("qmgr_message_active_limit", "20000", integer(least=1),
    "Messages in the active queue; the rest waits in incoming/ and deferred/."))
QMGR_MESSAGE_RECIPIENT_LIMIT = declare(Param("qmgr_message_recipient_limit", "20000", integer(least=1),
    "Recipients in memory; of a message with more, the rest is read when the first ones are done. Also how many "
    "destinations that are out of reach are remembered."))
QUEUE_RUN_DELAY = declare(Param("queue_run_delay", "300s", seconds(least=1),
    "Time between scans of the deferred queue; no retry comes sooner than this."))
MINIMAL_BACKOFF_TIME = declare(Param("minimal_backoff_time", "300s", seconds(least=1),
    "Least time between two attempts to deliver a message; also how long a dead destination is left alone."))
MAXIMAL_BACKOFF_TIME = declare(Param("maximal_backoff_time", "4000s", seconds(least=1),
    "Most time between two attempts."))
MAXIMAL_QUEUE_LIFETIME = declare(Param("maximal_queue_lifetime", "5d", seconds(unit="d"),
    "How long delivery is tried before the message is returned; 0: once."))
BOUNCE_QUEUE_LIFETIME = declare(Param("bounce_queue_lifetime", "5d", seconds(unit="d"),
    "The same for messages from the null sender."))
DELAY_WARNING_TIME = declare(Param("delay_warning_time", "0h", seconds(unit="h"),
    "After how long the sender is told that mail is still queued; 0: never."))
DEFER_TRANSPORTS = declare(Param("defer_transports", "", items(),
    "Transports that are not tried unless asked to (postqueue -f, ETRN)."))
TRANSPORT_RETRY_TIME = declare(Param("transport_retry_time", "60s", seconds(least=1),
    "Time before a delivery agent that does not answer is tried again."))

DAEMON_TIMEOUT = declare(Param("daemon_timeout", "18000s", seconds(least=1),
    "How long a delivery agent may be silent about a delivery before it is given up."))

FAST_FLUSH_REFRESH_TIME = declare(Param("fast_flush_refresh_time", "12h", seconds(least=1, unit="h"),
    "After how long the mail of a flush log is tried although nobody asked for it (ETRN, postqueue -s)."))
FAST_FLUSH_PURGE_TIME = declare(Param("fast_flush_purge_time", "7d", seconds(least=1, unit="d"),
    "After how long an empty flush log is removed."))
QMGR_CLOG_WARN_TIME = declare(Param("qmgr_clog_warn_time", "300s", seconds(),
    "Least time between warnings that one destination takes up a fifth of the active queue; 0: none."))
QMGR_DAEMON_TIMEOUT = declare(Param("qmgr_daemon_timeout", "1000s", seconds(least=1),
    "How long the queue manager may be stuck before it is ended, and started anew."))
QMGR_IPC_TIMEOUT = declare(Param("qmgr_ipc_timeout", "60s", seconds(least=1),
    "How long the queue manager waits for a delivery agent to take a connection."))
QMGR_MESSAGE_RECIPIENT_MINIMUM = declare(Param("qmgr_message_recipient_minimum", "10", integer(least=1),
    "Recipients of a message that are read at once, however many are in memory."))
IN_FLOW_DELAY = declare(Param("in_flow_delay", "1s", seconds(most=10),
    "How long the end of a message waits while mail comes in faster than it can be taken into the active queue; 0: not."
    ))

BOUNCE_SIZE_LIMIT = declare(Param("bounce_size_limit", "50000", integer(least=1),
    "Octets of a message that are sent back; of a longer one only the headers."))
DOUBLE_BOUNCE_SENDER = declare(Param("double_bounce_sender", "double-bounce", string(least=1),
    "Sender of mail whose bounce is thrown away."))
NOTIFY_CLASSES = declare(Param("notify_classes", "resource, software", items(lower=True),
    "What the postmaster is told of: bounce, 2bounce, data, delay, policy, protocol, resource, software."))
BOUNCE_NOTICE_RECIPIENT = declare(Param("bounce_notice_recipient", "postmaster", string(),
    "Gets copies of bounces (class bounce)."))
DOUBLE_BOUNCE_NOTICE_RECIPIENT = declare(Param("2bounce_notice_recipient", "postmaster", string(),
    "Gets undeliverable bounces (class 2bounce)."))
DELAY_NOTICE_RECIPIENT = declare(Param("delay_notice_recipient", "postmaster", string(),
    "Gets copies of delay warnings (class delay)."))
ERROR_NOTICE_RECIPIENT = declare(Param("error_notice_recipient", "postmaster", string(),
    "Gets notices of problems (classes policy, protocol, resource, software)."))
SMTPUTF8_AUTODETECT_CLASSES = declare(Param("smtputf8_autodetect_classes", "sendmail, verify", words(allowed=(
    "sendmail", "smtpd", "qmqpd", "forward", "bounce", "notify", "verify", "all")),
    "From where mail is searched for the need of SMTPUTF8: a header or an address that is not ASCII. Who has declared "
    "SMTPUTF8 need not be searched."))
INTERNAL_MAIL_FILTER_CLASSES = declare(Param("internal_mail_filter_classes", "", items(lower=True),
    "Mail of our own (bounce, notify) that header_checks, content_filter and milters see."))
BOUNCE_TEMPLATE_FILE = declare(Param("bounce_template_file", "", string(),
    "File with texts of bounces in the place of the built-in ones."))
ENABLE_THREADED_BOUNCES = declare(Param("enable_threaded_bounces", "no", boolean(),
    "Notices are answers to the message they tell of (References, In-Reply-To): mail programs show them with it."))
CONFIRM_DELAY_CLEARED = declare(Param("confirm_delay_cleared", "no", boolean(),
    "Tell a sender who was warned of a delay when the message has been delivered after all."))
DEFAULT_VERP_DELIMITERS = declare(Param("default_verp_delimiters", "+=", string(least=2),
    "The two characters of variable envelope return paths when XVERP or sendmail -XV name none: "
    "owner-list+user=domain@origin."))
VERP_DELIMITER_FILTER = declare(Param("verp_delimiter_filter", "-=+", string(least=1),
    "Characters that XVERP=xy and sendmail -XVxy may ask for."))
DISABLE_VERP_BOUNCES = declare(Param("disable_verp_bounces", "no", boolean(),
    "Mail with variable envelope return paths: tell of all failed recipients in one notice, to the plain sender."))
LOCAL_LOGIN_SENDER_MAPS = declare(Param("local_login_sender_maps", "static:*", string(),
    "Tables of login names (uid:NUMBER for a user without a name): the envelope senders that sendmail takes from them: "
    "addresses, @domain, <> (the null sender), * (any)."))
EMPTY_ADDRESS_LOCAL_LOGIN_KEY = declare(Param("empty_address_local_login_sender_maps_lookup_key", "<>", string(),
    "How local_login_sender_maps writes the null sender."))
SENDMAIL_FIX_LINE_ENDINGS = declare(Param("sendmail_fix_line_endings", "always", string(),
    "Whether sendmail turns CRLF into LF: always, never, or strict: when the first line ends in CRLF."))
DELAY_LOGGING_RESOLUTION_LIMIT = declare(Param("delay_logging_resolution_limit", "2", integer(most=6),
    "Most digits behind the point in the delay values of the log."))
