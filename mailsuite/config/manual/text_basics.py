"""What parameters mean: identity, files, processes, logging, tables. The form of a line is in tables.py."""

TEXT = r"""
alternate_config_directories !instances: Other configuration folders that set-gid commands may be pointed at with -c.
authorized_flush_users: Users who may run "postqueue -f", -i and -s.
authorized_mailq_users: Users who may list the queue.
authorized_submit_users: Users who may submit mail with sendmail.
backwards_bounce_logfile_compatibility !process: Whether bounce logs are written in the form of Postfix before 2.0.
berkeley_db_create_buffer_size !bdb: Octets of memory while a hash or btree table is built.
berkeley_db_read_buffer_size !bdb: Octets of memory while a hash or btree table is read.
bounce_service_name !names: The master.cf service that keeps the log of bounces.
cleanup_service_name !names: The master.cf service that takes new mail.
command_directory !install: Where Postfix's administration commands are.
compatibility_level: The version whose changed defaults are accepted; several defaults depend on it.
config_directory: The folder with main.cf and master.cf; -c or MAIL_CONFIG set it, not main.cf.
connection_cache_protocol_timeout !scache: How long to wait for the connection cache service.
connection_cache_service_name !scache: The service that keeps connections for all smtp processes.
connection_cache_status_update_time !scache: How often the connection cache logs what it did.
connection_cache_ttl_limit !scache: The longest time that the connection cache keeps anything.
daemon_directory: Where Postfix's daemons are; the command column of master.cf is looked up by name, not there.
daemon_table_open_error_is_fatal !process: Whether a daemon ends when a table cannot be opened; here it defers mail.
data_directory: Folder for what programs write and may lose: caches, random state, the master's lock.
debug_peer_level !debug: How much more is logged for peers in debug_peer_list.
debug_peer_list: Hosts, networks and domains whose sessions are logged in detail.
debugger_command !debug: A command that is run when a daemon is started with -D.
default_cache_db_type !unseen: Table type of caches such as the one of verified addresses.
default_database_type: The type that postmap and postalias use when the command line names none.
default_process_limit: Most processes of a service whose maxproc column in master.cf is "-".
defer_service_name !names: The master.cf service that keeps the log of deferrals.
dont_remove !debug: Not 0: finished queue files go to the folder saved/ rather than away.
error_service_name !names: The service that a failed transport's mail is given to.
export_environment: Names of environment variables (or name=value) that commands of deliveries get.
fault_injection_code !debug: For tests of Postfix itself: a place in the code that is to fail.
flush_service_name !names: The master.cf service behind ETRN and "postqueue -s".
fork_attempts !process: How often a failed fork() is tried.
fork_delay !process: The pause between attempts of fork().
full_name_encoding_charset !unseen: The character set of the full name that sendmail puts into a From header.
helpful_warnings: Warn of settings that are probably slips.
html_directory !install: Where Postfix's manuals are, in HTML.
import_environment: Environment variables (names, or name=value) that the mail system keeps when it is started.
inet_interfaces: Addresses or names on which mail is taken; also what counts as this host in mail routing.
inet_protocols: all, ipv4 or ipv6: what is listened on and connected to.
info_log_address_format !logging: How odd addresses are quoted in log lines (external, internal).
ipc_idle !process: How long an unused internal connection stays open.
ipc_timeout !process: How long internal requests may take.
ipc_ttl !process: How old an internal connection may grow.
lmdb_map_size !lmdb: First size of an LMDB table in octets; ours grow by themselves.
mail_owner: The account that owns the queue and most processes; it must own nothing else.
mail_release_date: The day of the release, for show.
mail_version: The version that $mail_version shows.
maillog_file: A file for the log (or /dev/stdout) in place of syslog; its folder must be in maillog_file_prefixes.
maillog_file_compressor !logging: The program that compresses the log on "postfix logrotate".
maillog_file_permissions: The mode of a new log file: 0600, 0640 or 0644.
maillog_file_prefixes: Folders in which maillog_file may be.
maillog_file_rotate_suffix !logging: The date(1) format that "postfix logrotate" puts behind the old log's name.
mailq_path !install: Where the mailq command is.
manpage_directory !install: Where Postfix's manual pages are.
max_idle: How long a process without work stays alive.
max_use !process: After how many connections a process ends; ours stay.
meta_directory !install: Where files with Postfix's installation facts are.
multi_instance_directories !instances: Configuration folders of further instances.
multi_instance_enable !instances: Whether this instance is started with the others.
multi_instance_group: The group to which the instance belongs.
multi_instance_name: The instance's name; it becomes the syslog_name's beginning.
multi_instance_wrapper !instances: The command that starts and stops all instances.
mydestination: Domains whose mail ends on this host, in local mailboxes (class local).
mydomain: The domain of this host: by default, $myhostname without its first part.
mynetworks: Clients of these networks are trusted: they may relay (permit_mynetworks). CIDR, files, tables.
mynetworks_style: How mynetworks follows from the interfaces when it is not set: host, subnet or class.
myorigin: The domain behind addresses without one, and of mail from this host's users.
newaliases_path !install: Where the newaliases command is.
openssl_path !install: The openssl command that "postfix tls" runs.
non_bdb_custom_mapping !migration: Berkeley DB types and what takes their place, for the migration.
non_bdb_migration_allow_root_prefixes !migration: Folders whose tables root may convert on demand.
non_bdb_migration_allow_user_prefixes !migration: Folders whose tables other owners may convert on demand.
non_bdb_migration_level !migration: How far old hash and btree tables are converted on demand.
non_bdb_migration_log_redirect !migration: Whether messages of a conversion go to the log.
non_bdb_migration_service_name !migration: The service that converts tables on demand.
parent_domain_matches_subdomains: Names of parameters whose domain lists match subdomains too; elsewhere write .domain.
pickup_service_name !names: The master.cf service that collects mail of local users.
postlog_service_name !names: The service that writes maillog_file.
postlogd_watchdog_timeout !process: After how long a stuck log service is ended.
postmulti_control_commands !instances: Commands that "postmulti -p" passes to every instance.
postmulti_start_commands !instances: Commands for which enabled instances come in order.
postmulti_stop_commands !instances: Commands for which instances come in reverse order.
process_id: The process that asks; cannot be set.
process_id_directory !process: The folder, below the queue, of lock files of processes.
process_name: The name of the program that asks; cannot be set.
proxy_interfaces: Addresses of a NAT or proxy in front that count as this host in mail routing.
proxy_read_maps: Tables that the proxymap service may read for others; here proxy: opens them in place.
proxy_write_maps !proxymap: Tables that the proxywrite service may change for others.
proxymap_service_name !proxymap: The service behind proxy: tables.
proxywrite_service_name !proxymap: The service behind proxy: tables that are written.
queue_service_name !names: The master.cf service of the queue manager.
readme_directory !install: Where Postfix's README files are.
relay_domains: Domains whose mail is passed on to their own hosts (class relay).
rewrite_service_name !names: The service that rewrites and resolves addresses.
sample_directory !install: Where Postfix's sample files are.
sendmail_path !install: Where the sendmail command is.
service_name: The name of the service (first column of master.cf) that asks; cannot be set.
service_throttle_time !process: How long the master waits before it starts a broken daemon again.
setgid_group: The group of commands that submit mail and look at the queue; no user belongs to it.
shlib_directory !install: Where Postfix's shared libraries are.
showq_service_name !names: The service that lists the queue.
stress: "yes" while a service is under load; defaults such as smtpd_timeout depend on it. Postfix's master sets it.
syslog_facility: The syslog facility: mail, local0 to local7 and others.
syslog_name: What stands before the program's name in every log line.
tlsmgr_service_name !names: The service for random numbers and TLS sessions.
trace_service_name !names: The service that logs deliveries for reports.
trigger_timeout !process: How long waking a service may take.
"""
