"""The files of a new site: a complete small mail server on unprivileged ports, as `make run` and `mailsuite setup` make it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DOMAIN = "demo.test"
HOST = "mx.demo.test"
USERS = ("anna", "ben")

PORTS = {"smtp": 2525, "submission": 2587, "smtps": 2465, "imap": 2143, "imaps": 2993, "pop3": 2110, "pop3s": 2995}


@dataclass(frozen=True)
class SiteOwner:
    """Who owns the mailboxes, and whether accounts of the system are used (root) or all is one user."""

    uid: int
    gid: int
    mail_owner: str
    setgid_group: str
    mail_owner_group: str
    internal_user: str
    login_user: str


MAIN_CF = """\
# A small mail server. Parameters are Postfix's: see docs/parameters.md or Postfix's own manual, postconf(5).
compatibility_level = 3.6

queue_directory = {site}/spool
data_directory = {site}/data
maillog_file = {site}/log/mail.log
maillog_file_prefixes = {site}
mail_owner = {mail_owner}
setgid_group = {setgid_group}

myhostname = {host}
mydomain = {domain}
myorigin = $mydomain
mydestination = $myhostname, localhost.$mydomain, localhost
# Only programs on this machine may connect; write "all" to be reached from others.
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8 [::1]/128

alias_maps = hash:{site}/aliases
alias_database = hash:{site}/aliases

# The users of {domain}: one line each in vmailbox and in users.
virtual_mailbox_domains = {domain}
virtual_mailbox_base = {site}/vmail
virtual_mailbox_maps = hash:{site}/vmailbox
virtual_alias_maps = hash:{site}/virtual
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 100

# Who mail really comes from (docs/authentication-results.md): our own is signed, that of strangers is checked.
dkim_sign_domains = texthash:{site}/dkim_domains
dkim_key_directory = {site}/dkim
spf_verify = yes
dkim_verify = yes
dmarc_verify = yes
arc_verify = yes
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_spf_fail,
    reject_dmarc_reject, mark_dmarc_quarantine, check_greylist
# An account that sends to more in an hour was probably stolen: its mail waits, the postmaster is told (docs/policy.md).
smtpd_sasl_recipient_rate_limit = 500

# Who may send to the world: this machine and whoever has logged in.
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_sasl_auth_enable = yes
smtpd_tls_auth_only = yes
smtpd_tls_security_level = may
smtpd_tls_cert_file = {site}/certs/server.crt
smtpd_tls_key_file = {site}/certs/server.key
smtp_tls_security_level = may
"""

MASTER_CF = """\
# service  type  private unpriv  chroot  wakeup  maxproc command
{smtp}       inet  n       -       n       -       -       smtpd
{submission}       inet  n       -       n       -       -       smtpd
  -o syslog_name=postfix/submission
  -o smtpd_tls_security_level=encrypt
  -o {{ smtpd_relay_restrictions = permit_sasl_authenticated, reject }}
{smtps}       inet  n       -       n       -       -       smtpd
  -o syslog_name=postfix/smtps
  -o smtpd_tls_wrappermode=yes
  -o {{ smtpd_relay_restrictions = permit_sasl_authenticated, reject }}
pickup     unix  n       -       n       60      1       pickup
cleanup    unix  n       -       n       -       0       cleanup
qmgr       unix  n       -       n       300     1       qmgr
tlsmgr     unix  -       -       n       1000?   1       tlsmgr
rewrite    unix  -       -       n       -       -       trivial-rewrite
bounce     unix  -       -       n       -       0       bounce
defer      unix  -       -       n       -       0       bounce
trace      unix  -       -       n       -       0       bounce
verify     unix  -       -       n       -       1       verify
flush      unix  n       -       n       1000?   0       flush
proxymap   unix  -       -       n       -       -       proxymap
proxywrite unix  -       -       n       -       1       proxymap
smtp       unix  -       -       n       -       -       smtp
relay      unix  -       -       n       -       -       smtp
showq      unix  n       -       n       -       -       showq
error      unix  -       -       n       -       -       error
retry      unix  -       -       n       -       -       error
discard    unix  -       -       n       -       -       discard
local      unix  -       n       n       -       -       local
virtual    unix  -       n       n       -       -       virtual
lmtp       unix  -       -       n       -       -       lmtp
anvil      unix  -       -       n       -       1       anvil
scache     unix  -       -       n       -       1       scache
postlog    unix-dgram n  -       n       -       1       postlogd
"""

DOVECOT_CONF = """\
# Settings are Dovecot 2.3's: "doveconf -n" shows what is set here, "doveconf -a" all of them.
protocols = imap pop3
listen = 127.0.0.1, ::1
base_dir = {site}/run
state_dir = {site}/run/state
log_path = {site}/log/dovecot.log
default_internal_user = {internal_user}
default_login_user = {login_user}

ssl = yes
ssl_cert = <{site}/certs/server.crt
ssl_key = <{site}/certs/server.key

mail_location = maildir:{site}/vmail/%d/%n
first_valid_uid = {first_uid}
first_valid_gid = {first_gid}
auth_mechanisms = plain login

passdb {{
  driver = passwd-file
  args = scheme=SHA512-CRYPT username_format=%u {site}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {site}/users
  default_fields = uid={uid} gid={gid} home={site}/vmail/%d/%n
}}
# For lines of a name and a password only, which the one above passes over.
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={site}/vmail/%d/%n
}}

namespace inbox {{
  inbox = yes
  mailbox Drafts {{
    auto = subscribe
    special_use = \\Drafts
  }}
  mailbox Junk {{
    auto = subscribe
    special_use = \\Junk
  }}
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = subscribe
    special_use = \\Trash
  }}
}}

imap_extensions = all

protocol imap {{
  mail_plugins = $mail_plugins imap_zlib
}}

service auth {{
  unix_listener {site}/spool/private/auth {{
    mode = 0660
    user = {mail_owner}
    group = {mail_owner_group}
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
}}
"""

ALIASES = """\
# Who gets the mail for the system's own names; "newaliases" after a change.
postmaster: anna@{domain}
root: postmaster
mailer-daemon: postmaster
"""

VMAILBOX = "# address, folder below virtual_mailbox_base (a slash at the end: Maildir); \"postmap\" after a change\n"
# What a domain has to have (RFC 5321 section 4.5.1, RFC 2142), and root, to whom programs of the machine write.
VIRTUAL = """# address, where its mail goes instead; "postmap" after a change
postmaster@{domain} anna@{domain}
abuse@{domain} postmaster@{domain}
mailer-daemon@{domain} postmaster@{domain}
root@{domain} postmaster@{domain}
"""
DKIM_DOMAINS = """\
# domain of From:, selector:key file below dkim_key_directory; "mailsuite dkim record" prints what to publish in DNS.
{domain} mail:{domain}/mail.key
# Names below it, such as MAILER-DAEMON@{host}, are signed by it too.
.{domain} mail:{domain}/mail.key
"""
USERS_FILE = "# address:password hash::::::extra fields; \"mailsuite user add\" writes a line, \"doveadm pw\" makes a hash\n"


def render(site: Path, owner: SiteOwner, hashes: dict[str, str],
           ports: Mapping[str, int] = PORTS) -> dict[str, tuple[str, int]]:
    """File name -> (text, mode) of everything an administrator edits."""
    values: dict[str, object] = {
        "site": site, "domain": DOMAIN, "host": HOST, "uid": owner.uid, "gid": owner.gid,
        "mail_owner": owner.mail_owner, "setgid_group": owner.setgid_group, "internal_user": owner.internal_user,
        "login_user": owner.login_user, "first_uid": min(owner.uid, 500), "first_gid": min(owner.gid, 1),
        "mail_owner_group": owner.mail_owner_group, **ports}
    vmailbox = VMAILBOX + "".join(f"{user}@{DOMAIN} {DOMAIN}/{user}/\n" for user in USERS)
    users = USERS_FILE + "".join(f"{address}:{{SHA512-CRYPT}}{text}::::::\n" for address, text in hashes.items())
    return {
        "main.cf": (MAIN_CF.format(**values), 0o644),
        "master.cf": (MASTER_CF.format(**values), 0o644),
        "dovecot.conf": (DOVECOT_CONF.format(**values), 0o644),
        "aliases": (ALIASES.format(**values), 0o644),
        "vmailbox": (vmailbox, 0o644),
        "virtual": (VIRTUAL.format(**values), 0o644),
        "dkim_domains": (DKIM_DOMAINS.format(**values), 0o644),
        "users": (users, 0o600),
    }
