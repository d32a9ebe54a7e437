"""The parameters of the delivery agents that write mailboxes and run commands."""

from mailsuite.config.registry import Param, boolean, declare, integer, seconds, size, string, words

_ANY = string()

MAILBOX_SIZE_LIMIT = declare(Param("mailbox_size_limit", "51200000", size(),
    "Most octets of a mailbox file that local writes; 0: no limit."))
MAILBOX_DELIVERY_LOCK = declare(Param("mailbox_delivery_lock", "fcntl, dotlock", words(),
    "How local locks an mbox file: fcntl, flock, dotlock. Mail programs must use one of them, too."))
VIRTUAL_MAILBOX_LOCK = declare(Param("virtual_mailbox_lock", "fcntl, dotlock", words(),
    "How virtual locks an mbox file: fcntl, flock, dotlock."))
DELIVER_LOCK_ATTEMPTS = declare(Param("deliver_lock_attempts", "20", integer(least=1),
    "How often to try for the lock of a mailbox before the mail is deferred."))
DELIVER_LOCK_DELAY = declare(Param("deliver_lock_delay", "1s", seconds(least=1), "Time between two tries for a lock."))
STALE_LOCK_TIME = declare(Param("stale_lock_time", "500s", seconds(least=1),
    "Age at which a NAME.lock file is taken to be left over."))
MAILBOX_FULL_TEMPFAIL = declare(Param("mailbox_full_tempfail", "no", boolean(),
    "Mail for a full mailbox (disk quota, mailbox_size_limit, virtual_mailbox_limit) waits with 4.2.2; with no it is "
    "returned with 5.2.2. It is for local and virtual what quota_full_tempfail of dovecot.conf is for LMTP."))
STRICT_MAILBOX_OWNERSHIP = declare(Param("strict_mailbox_ownership", "yes", boolean(),
    "Defer mail for an mbox file that its user does not own."))
MAILDIR_SYNC_DIRECTORY = declare(Param("maildir_sync_directory", "yes", boolean(),
    "Sync a Maildir's new/ after each delivery, so that a power loss cannot take a message whose queue file is gone. "
    "Only where the file system orders the rename behind the file's own sync may it be no."))
DELIVERY_WORKERS_PER_USER = declare(Param("delivery_workers_per_user", "2", integer(least=1, most=64),
    "Processes that may write one uid's mailboxes at the same time. What gathers while they are at work is written and "
    "synced together, so more of them help only where a file server is slow to answer."))
DELIVERY_WORKER_IDLE = declare(Param("delivery_worker_idle", "100s", seconds(least=1),
    "How long a recipient's delivery process waits for more before it ends."))
DELIVERY_STRAIGHT_TIME = declare(Param("delivery_straight_time", "1s", seconds(),
    "How long after a delivery to a Maildir of virtual qmgr may bring further small mail for that recipient straight "
    "to the delivery process, without virtual looking into its tables anew. 0: virtual looks each time."))

VIRTUAL_MAILBOX_BASE = declare(Param("virtual_mailbox_base", "", _ANY,
    "What is put in front of each result of virtual_mailbox_maps, with a slash between."))
VIRTUAL_MAILBOX_LIMIT = declare(Param("virtual_mailbox_limit", "51200000", size(),
    "Most octets of a mailbox file or Maildir message that virtual writes; 0: no limit."))
VIRTUAL_MINIMUM_UID = declare(Param("virtual_minimum_uid", "100", integer(least=1),
    "The lowest uid that virtual_uid_maps may give."))

DEFAULT_PRIVS = declare(Param("default_privs", "nobody", string(least=1),
    "Account for commands and files of aliases that belong to root."))
COMMAND_TIME_LIMIT = declare(Param("command_time_limit", "1000s", seconds(least=1),
    "How long a command of local or pipe may run; then it is killed and the mail deferred."))
COMMAND_OUTPUT_LIMIT = declare(Param("command_output_limit", "4096", size(least=200),
    "Octets of a command's output that are kept for the report; the rest is read and forgotten."))
ALLOW_MAIL_TO_COMMANDS = declare(Param("allow_mail_to_commands", "alias, forward", words(
    allowed=("alias", "forward", "include")), "Where \"|command\" is obeyed."))
ALLOW_MAIL_TO_FILES = declare(Param("allow_mail_to_files", "alias, forward", words(
    allowed=("alias", "forward", "include")), "Where \"/file/name\" is obeyed."))
PREPEND_DELIVERED_HEADER = declare(Param("prepend_delivered_header", "command, file, forward", words(
    allowed=("command", "file", "forward")), "Which deliveries of local add a Delivered-To header."))
EXPAND_OWNER_ALIAS = declare(Param("expand_owner_alias", "no", boolean(),
    "Use what owner-LIST expands to as the sender, when it is one address, instead of owner-LIST itself."))
OWNER_REQUEST_SPECIAL = declare(Param("owner_request_special", "yes", boolean(),
    "Obey owner-list aliases, and do not split owner-list and list-request where \"-\" is a recipient delimiter."))
RESET_OWNER_ALIAS = declare(Param("reset_owner_alias", "no", boolean(),
    "An alias in the expansion of another that has an owner loses that owner when it has none of its own."))
FROZEN_DELIVERED_TO = declare(Param("frozen_delivered_to", "yes", boolean(),
    "The Delivered-To header names the address that came to local. With no it names the last local address on the way "
    "through aliases and .forward files."))
REQUIRE_HOME_DIRECTORY = declare(Param("require_home_directory", "no", boolean(),
    "Mail for a user waits while the home directory is missing, as one of a file server that is away."))
DUPLICATE_FILTER_LIMIT = declare(Param("duplicate_filter_limit", "1000", integer(),
    "How many addresses of one expansion are remembered to avoid doubles; 0: all."))
EXPANSION_LIMIT = declare(Param("local_expansion_limit", "100000", integer(least=100),
    "Most destinations that one recipient may expand to."))
