"""Parameters of plug-ins; all are ours, Postfix has none of them."""

from mailsuite.config.registry import Param, boolean, declare, integer, seconds, string

SMTPD_HANDLERS = declare(Param("smtpd_handlers", "", string(),
    "Plug-ins written for aiosmtpd, asked in this order: package.module:Class, or { package.module:Class argument }."))
DELIVER = declare(Param("smtpd_handlers_deliver", "yes", boolean(),
    "What a plug-in's 2xx to DATA means. yes: it has no objection, the message is queued. no: it has taken the message "
    "itself, nothing is queued."))
DIRECTORY = declare(Param("smtpd_handlers_directory", "", string(),
    "A folder that is searched for the modules of plug-ins first; mail_owner must be able to read it."))
SIZE_LIMIT = declare(Param("smtpd_handlers_size_limit", "33554432", integer(least=1024),
    "Octets of a message that a plug-in gets in memory; larger ones are refused (552). A plug-in with stream_content "
    "is not concerned."))
CONCURRENCY = declare(Param("smtpd_handlers_concurrency", "10", integer(least=1),
    "Messages that are in memory for plug-ins at once, in each smtpd process; others wait."))
TIMEOUT = declare(Param("smtpd_handlers_timeout", "300s", seconds(least=1),
    "How long one hook of a plug-in may take; then the client gets 451."))
