"""Parameters of postscreen. Effects are Postfix's; see postscreen(8) and docs/limits.md."""

from mailsuite.config.registry import INT_MAX, Param, boolean, declare, enum, integer, seconds, string

_ACTIONS = ("ignore", "enforce", "drop")


def _action(name: str, default: str, when: str) -> Param[str]:
    return declare(Param(name, default, enum(*_ACTIONS),
                         f"{when}: ignore (log only), enforce (refuse its mail with 550) or drop (521 at once)."))


def _ttl(name: str, default: str, test: str) -> Param[int]:
    return declare(Param(name, default, seconds(least=1), f"How long a client that passed {test} need not again."))


ACCESS_LIST = declare(Param("postscreen_access_list", "permit_mynetworks", string(),
    "permit_mynetworks, permit, reject, dunno or tables of them: who is let in or refused without any test."))
RESPECTFUL_LOGGING = declare(Param("respectful_logging", "${{$compatibility_level} <level {3.6} ? {no} : {yes}}",
    boolean(), "Log ALLOWLISTED and DENYLISTED instead of the older words."))
DENYLIST_ACTION = _action("postscreen_denylist_action",
    "${postscreen_blacklist_action?{$postscreen_blacklist_action}:{ignore}}", "What a client on the list gets")
GREET_ACTION = _action("postscreen_greet_action", "ignore", "What a client gets that speaks before the greeting")
GREET_WAIT = declare(Param("postscreen_greet_wait", "${stress?{2}:{6}}s", seconds(least=1),
    "How long the greeting is held back from unknown clients; 2s while under stress."))
GREET_TTL = _ttl("postscreen_greet_ttl", "1d", "the greeting test")
GREET_BANNER = declare(Param("postscreen_greet_banner", "$smtpd_banner", string(),
    "Text of the 220- line that comes first; empty: no greeting test."))
DNSBL_SITES = declare(Param("postscreen_dnsbl_sites", "", string(),
    "Lists in DNS, each domain[=filter][*weight]; a negative weight welcomes."))
DNSBL_THRESHOLD = declare(Param("postscreen_dnsbl_threshold", "1", integer(least=1),
    "A client with so many points fails."))
DNSBL_ACTION = _action("postscreen_dnsbl_action", "ignore", "What a client with too many points gets")
DNSBL_MIN_TTL = _ttl("postscreen_dnsbl_min_ttl", "60s", "the lists, at least")
DNSBL_MAX_TTL = declare(Param("postscreen_dnsbl_max_ttl", "${postscreen_dnsbl_ttl?{$postscreen_dnsbl_ttl}:{1}}h",
    seconds(least=1, unit="h"), "How long a client that passed the lists need not again, at most."))
DNSBL_TIMEOUT = declare(Param("postscreen_dnsbl_timeout", "10s", seconds(least=1), "How long DNS may take."))
PIPELINING_ENABLE = declare(Param("postscreen_pipelining_enable", "no", boolean(),
    "Check whether a client waits for each reply; costs unknown clients a second attempt."))
PIPELINING_ACTION = _action("postscreen_pipelining_action", "enforce", "What a client gets that does not wait")
PIPELINING_TTL = _ttl("postscreen_pipelining_ttl", "30d", "the pipelining test")
NON_SMTP_ENABLE = declare(Param("postscreen_non_smtp_command_enable", "no", boolean(),
    "Check for commands of other protocols (postscreen_forbidden_commands)."))
NON_SMTP_ACTION = _action("postscreen_non_smtp_command_action", "drop", "What a client gets that speaks no SMTP")
NON_SMTP_TTL = _ttl("postscreen_non_smtp_command_ttl", "30d", "the test for other protocols")
BARE_NEWLINE_ENABLE = declare(Param("postscreen_bare_newline_enable", "no", boolean(),
    "Check for lines that end in LF alone."))
BARE_NEWLINE_ACTION = _action("postscreen_bare_newline_action", "ignore", "What a client gets that sends such lines")
BARE_NEWLINE_TTL = _ttl("postscreen_bare_newline_ttl", "30d", "the bare newline test")
CACHE_CLEANUP_INTERVAL = declare(Param("postscreen_cache_cleanup_interval", "12h", seconds(),
    "How often old entries leave the cache; 0: never."))
CACHE_RETENTION_TIME = declare(Param("postscreen_cache_retention_time", "7d", seconds(least=1),
    "How long an entry of which nothing counts any more is kept."))
CACHE_LIMIT = declare(Param("postscreen_cache_limit", "200000", integer(least=1000),
    "Clients that the cache remembers; of more, the oldest are forgotten. A client takes some 300 octets."))
CONNECTION_COUNT_LIMIT = declare(Param("postscreen_client_connection_count_limit",
    "$smtpd_client_connection_count_limit", integer(), "Connections of one client at once; 0 for no limit."))
COMMAND_COUNT_LIMIT = declare(Param("postscreen_command_count_limit", "20", integer(least=1),
    "Commands of a session with postscreen."))
COMMAND_TIME_LIMIT = declare(Param("postscreen_command_time_limit", "${stress?{10}:{300}}s", seconds(least=1),
    "How long a client may take for a command; 10s while under stress."))
PRE_QUEUE_LIMIT = declare(Param("postscreen_pre_queue_limit", "$default_process_limit", integer(least=10, most=INT_MAX),
    "Clients under test at once; others hear that all screening ports are busy. At 90% begins stress, at 70% it ends."))
POST_QUEUE_LIMIT = declare(Param("postscreen_post_queue_limit", "$default_process_limit",
    integer(least=10, most=INT_MAX), "Clients at once that wait for an smtpd process to take them."))
PROXY_PROTOCOL = declare(Param("postscreen_upstream_proxy_protocol", "", enum("", "haproxy"),
    "haproxy: each connection begins with a PROXY header."))
PROXY_TIMEOUT = declare(Param("postscreen_upstream_proxy_timeout", "5s", seconds(least=1),
    "How long that header may take."))
TLS_SECURITY_LEVEL = declare(Param("postscreen_tls_security_level", "$smtpd_tls_security_level",
    enum("", "none", "may", "encrypt"), "may: offer STARTTLS to clients under test; encrypt: ask for it."))
SMTPD_SERVICE_NAME = declare(Param("smtpd_service_name", "smtpd", string(least=1),
    "The service of type pass that takes the clients that passed."))
