"""What parameters mean: local delivery, the queue, transports, content. The form of a line is in tables.py."""

TEXT = r"""
alias_database: The alias tables that newaliases builds.
alias_maps: Tables of local aliases: addresses, files, commands, :include: files.
biff !biff=no: Whether local users are told of new mail by the comsat service.
command_execution_directory: The folder in which commands of local deliveries run.
command_expansion_filter: Characters that may stand in what is put into mailbox_command.
default_delivery_slot_cost: How many recipients earn a small message the right to overtake a large one; 0: off.
default_delivery_slot_discount: Per cent by which the price of overtaking is lowered.
default_delivery_slot_loan: Slots that a message may use before it earned them.
default_delivery_status_filter: The delivery_status_filter of agents that have none of their own.
default_destination_concurrency_failed_cohort_limit: How many failures in a row make a destination count as down.
default_destination_concurrency_limit: Most deliveries to one destination at once.
default_destination_concurrency_negative_feedback: How much a failed delivery lowers a destination's concurrency.
default_destination_concurrency_positive_feedback: How much a good delivery raises a destination's concurrency.
default_destination_rate_delay: The pause between deliveries to one destination.
default_destination_recipient_limit: Most recipients in one delivery.
default_extra_recipient_limit: Recipients in memory that overtaking messages may have besides.
default_minimum_delivery_slots: Messages with fewer deliveries than this are never overtaken.
default_recipient_limit: Most recipients of a transport in memory.
default_recipient_refill_delay: How often recipients are read from large messages.
default_recipient_refill_limit: How many recipients are read at once from a large message.
default_transport_rate_delay: The pause between deliveries of one transport.
destination_concurrency_feedback_debug !debug: Log how a destination's concurrency changes.
detect_8bit_encoding_header: Label mail with 8-bit content by a Content-Transfer-Encoding header.
disable_dns_lookups: Old: send mail without asking DNS for mail exchangers; see smtp_dns_support_level.
disable_mime_output_conversion: Never turn 8-bit mail into quoted-printable for hosts without 8BITMIME.
execution_directory_expansion_filter: Characters that may stand in what is put into command_execution_directory.
fallback_transport: The transport of local recipients that are neither user nor alias.
fallback_transport_maps: Tables that choose fallback_transport for single recipients.
fast_flush_domains: Destinations whose mail ETRN and "postqueue -s" may ask for.
force_mime_input_conversion !mime: Turn 8-bit content into quoted-printable before checks, milters and filters.
forward_expansion_filter: Characters that may stand in what is put into forward_path.
forward_path: Where a user's forward file is looked for; $home, $user, $extension... are replaced.
home_mailbox: The mailbox below the user's home; with "/" at the end a Maildir.
initial_destination_concurrency: How many deliveries to a destination start at once.
local_command_shell: The shell for commands of local deliveries; by default only what needs one gets /bin/sh.
local_delivery_status_filter: As default_delivery_status_filter, for local.
local_destination_concurrency_limit: Most deliveries to one local mailbox at once.
local_destination_recipient_limit: Recipients of one local delivery; 1, so that Delivered-To is right.
luser_relay: Where mail for unknown local users goes; $user and the like are replaced.
mail_spool_directory: Where local mailboxes are; with "/" at the end they are Maildirs.
mailbox_command: A command that takes mail of local users in place of a mailbox.
mailbox_command_maps: Tables that choose mailbox_command for single users.
mailbox_transport: The transport of all local users, aliases coming before.
mailbox_transport_maps: Tables that choose mailbox_transport for single users.
non_empty_end_of_header_action !mime: What happens when the headers end without an empty line.
pipe_delivery_status_filter: As default_delivery_status_filter, for pipe.
qmgr_fudge_factor !oqmgr: Per cent of other messages' capacity that a mailing list may use (old queue manager).
queue_file_attribute_count_limit !queue: Most attributes in a queue file.
sun_mailtool_compatibility !mailtool: Old: give mailbox files locks that SunOS mailtool understands.
virtual_delivery_status_filter: As default_delivery_status_filter, for virtual.
virtual_gid_maps: Tables that give the group id with which a virtual mailbox is written; static:5000 for one.
virtual_uid_maps: Tables that give the user id with which a virtual mailbox is written; static:5000 for one.
qmqpd_authorized_clients !qmqp: Clients that may use the QMQP service.
qmqpd_client_port_logging !qmqp: Log the QMQP client's port.
qmqpd_error_delay !qmqp: The pause before a QMQP error reply.
qmqpd_timeout !qmqp: How long a QMQP client may be silent.
"""
