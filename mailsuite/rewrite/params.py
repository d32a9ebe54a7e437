"""Parameters of address rewriting and resolving. Tables and lists are texts: their compilers are elsewhere."""

from mailsuite.config.registry import Param, boolean, declare, integer, string

SWAP_BANGPATH = declare(Param("swap_bangpath", "yes", boolean(), "Rewrite site!user to user@site."))
ALLOW_PERCENT_HACK = declare(Param("allow_percent_hack", "yes", boolean(), "Rewrite user%domain to user@domain."))
APPEND_AT_MYORIGIN = declare(Param("append_at_myorigin", "yes", boolean(),
    "Append @$myorigin to addresses without a domain. Needed: mail without it cannot be delivered."))
APPEND_DOT_MYDOMAIN = declare(Param(
    "append_dot_mydomain", "${{$compatibility_level} <level {1} ? {yes} : {no}}", boolean(),
    "Append .$mydomain to domains of one label."))
EMPTY_ADDRESS_RECIPIENT = declare(Param("empty_address_recipient", "MAILER-DAEMON", string(),
    "Who gets mail for the empty address, as sendmail '<>' makes it; SMTP clients cannot."))
RESOLVE_DEQUOTED_ADDRESS = declare(Param("resolve_dequoted_address", "yes", boolean(),
    "Look for routes (@, %, !) inside quoted local parts: relay control would miss them otherwise."))
RESOLVE_NULL_DOMAIN = declare(Param("resolve_null_domain", "no", boolean(),
    "Take user@ for user@$myhostname instead of refusing it."))
RESOLVE_NUMERIC_DOMAIN = declare(Param("resolve_numeric_domain", "no", boolean(),
    "Take user@192.0.2.1 for user@[192.0.2.1] instead of refusing it."))
ALLOW_MIN_USER = declare(Param("allow_min_user", "no", boolean(),
    "Allow recipients that begin with \"-\"; commands might take such a name for an option."))
RELOCATED_PREFIX_ENABLE = declare(Param("relocated_prefix_enable", "yes", boolean(),
    "Put \"5.1.6 User has moved to\" before what relocated_maps say; without it they have the whole text."))
SHOW_USER_UNKNOWN_TABLE_NAME = declare(Param("show_user_unknown_table_name", "yes", boolean(),
    "Name the kind of table in \"User unknown\" replies."))
VIRTUAL_ALIAS_RECURSION_LIMIT = declare(Param("virtual_alias_recursion_limit", "1000", integer(least=1),
    "How often the result of virtual_alias_maps is looked up again; more is taken for a loop."))
VIRTUAL_ALIAS_EXPANSION_LIMIT = declare(Param("virtual_alias_expansion_limit", "1000", integer(least=1),
    "How many recipients one recipient may become."))
VIRTUAL_ALIAS_ADDRESS_LENGTH_LIMIT = declare(Param("virtual_alias_address_length_limit", "1000", integer(least=1),
    "How long a result may be; a loop that appends something is stopped by it."))
UNKNOWN_LOCAL_RECIPIENT_REJECT_CODE = declare(Param("unknown_local_recipient_reject_code", "550", integer(),
    "Reply code for a recipient that local_recipient_maps does not know; 450 while testing the tables."))
UNKNOWN_VIRTUAL_ALIAS_REJECT_CODE = declare(Param("unknown_virtual_alias_reject_code", "550", integer(),
    "Reply code for a recipient that virtual_alias_maps does not know."))
UNKNOWN_VIRTUAL_MAILBOX_REJECT_CODE = declare(Param("unknown_virtual_mailbox_reject_code", "550", integer(),
    "Reply code for a recipient that virtual_mailbox_maps does not know."))
UNKNOWN_RELAY_RECIPIENT_REJECT_CODE = declare(Param("unknown_relay_recipient_reject_code", "550", integer(),
    "Reply code for a recipient that relay_recipient_maps does not know."))
HEADER_ADDRESS_TOKEN_LIMIT = declare(Param("header_address_token_limit", "10240", integer(least=1),
    "Tokens of one address header field that are looked at; what follows is left out."))
REMOTE_HEADER_REWRITE_DOMAIN = declare(Param("remote_header_rewrite_domain", "", string(),
    "Rewrite headers of remote clients too, completing addresses with this domain; empty: leave them alone."))
