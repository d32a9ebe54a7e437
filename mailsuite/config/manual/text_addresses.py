"""What parameters mean: addresses, their rewriting, classes and routes. The form of a line is in tables.py."""

TEXT = r"""
allow_untrusted_routing: Whether a stranger's user@there@here may be passed on to there.
always_bcc: An address that gets a copy of every message.
best_mx_transport: The transport of mail whose best mail exchanger is this host.
canonical_classes: What canonical_maps change: envelope_sender, envelope_recipient, header_sender, header_recipient.
canonical_maps: Tables that replace addresses in envelopes and headers, as mail comes in.
default_filter_nexthop: The next hop of a FILTER action that names none.
default_transport: Transport, and next hop, of domains in none of the other classes.
empty_address_default_transport_maps_lookup_key: What stands for <> in sender_dependent_default_transport_maps.
empty_address_relayhost_maps_lookup_key: What stands for <> in sender_dependent_relayhost_maps.
enable_idna2003_compatibility !idna: Whether domain names follow the older standard IDNA 2003.
local_header_rewrite_clients: Clients whose headers are completed with this host's domain.
local_recipient_maps: Tables of all local users and aliases; others are refused. Empty: any name is taken.
local_transport: Transport of domains in mydestination.
lmtp_fallback_relay: Where LMTP deliveries go when the host is away.
masquerade_classes: Which addresses masquerade_domains change.
masquerade_domains: Domains to which host names below them are cut: host.example.com becomes example.com.
masquerade_exceptions: User names that masquerade_domains leaves alone.
permit_mx_backup_networks: Networks of main mail exchangers for which permit_mx_backup may be a backup.
propagate_unmatched_extensions: Which rewritings keep an address extension that the table did not match.
rbl_reply_maps: Replies for single blocklists, in place of default_rbl_reply.
receive_override_options: What is left out of the handling of incoming mail: no_address_mappings and its like.
recipient_bcc_maps: Tables that give a recipient's mail a further recipient.
recipient_canonical_classes: Which addresses recipient_canonical_maps change.
recipient_canonical_maps: As canonical_maps, for recipients only, and before it.
recipient_delimiter: Characters, the first of which separates user and extension, as in user+ext.
relay_recipient_maps: Tables of all recipients in relay_domains; others are refused. Empty: any is taken.
relay_transport: Transport of domains in relay_domains.
relayhost: Where all mail goes that is not ours: [host], host:port or a domain with MX records.
relocated_maps: Tables of people who moved: mail for them is refused with the new address.
sender_bcc_maps: Tables that give a sender's mail a further recipient.
sender_canonical_classes: Which addresses sender_canonical_maps change.
sender_canonical_maps: As canonical_maps, for senders only, and before it.
sender_dependent_default_transport_maps: Tables that choose default_transport by the sender.
sender_dependent_relayhost_maps: Tables that choose relayhost by the sender.
transport_maps: Tables that give an address or a domain its transport and next hop.
virtual_alias_domains: Domains that have aliases only, no mailboxes (class virtual alias).
virtual_alias_maps: Tables that replace recipients by one or more others, in every class.
virtual_mailbox_domains: Domains whose mailboxes are in virtual_mailbox_maps (class virtual mailbox).
virtual_mailbox_maps: Tables of all addresses of virtual_mailbox_domains, with their mailboxes.
virtual_transport: Transport of virtual_mailbox_domains; lmtp:unix:... hands them to another store.
address_verify_default_transport: default_transport for probes.
address_verify_local_transport: local_transport for probes.
address_verify_relay_transport: relay_transport for probes.
address_verify_relayhost: relayhost for probes.
address_verify_sender_dependent_default_transport_maps: sender_dependent_default_transport_maps for probes.
address_verify_sender_dependent_relayhost_maps: sender_dependent_relayhost_maps for probes.
address_verify_transport_maps: transport_maps for probes.
address_verify_virtual_transport: virtual_transport for probes.
"""
