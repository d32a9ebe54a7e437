"""Dovecot's plugins that `mail_plugins` names and that do nothing here, or something else than users are used to."""

from collections.abc import Iterator

from mailsuite.access import mail_log
from mailsuite.base.errors import ConfigError
from mailsuite.check.finding import Finding, error, note, warning
from mailsuite.check.site import Site
from mailsuite.config.dovecot import DovecotSettings

OBEYED = frozenset({"acl", "imap_acl", "imap_quota", "imap_zlib", "last_login", "listescape", "mail_compress",
                    "mail_log", "notify", "quota", "trash", "zlib"})
PACKED = ("gz", "bz2")
PROTOCOLS = ("imap", "pop3", "lmtp", "lda")
# What users or the administrator miss.
_MISSED = {
    "sieve": "users' scripts are kept, but not run: nothing is sorted into folders, nothing answered",
    "imap_sieve": "no script runs when a client moves mail (learning of spam)",
    "imap_filter_sieve": "clients cannot have a script run",
    "mail_crypt": "messages that Dovecot stored encrypted cannot be read here; new ones are stored in the clear",
    "mail_crypt_acl": "messages that Dovecot stored encrypted cannot be read here",
    "lazy_expunge": "what clients expunge is gone at once",
    "mailbox_alias": "mailbox_alias_* have no effect",
    "pop3_migration": "POP3 clients fetch again what they had from the old server",
    "replication": "nothing is copied to another server",
    "virtual": "there are no virtual mailboxes",
}
# What only the log, or nobody, tells the difference of.
_QUIET = {
    "apparmor": "AppArmor's profile is that of the whole suite",
    "charset_alias": "charsets have their usual names",
    "imap_old_stats": "doveadm stats counts sessions without it",
    "imap_stats": "doveadm stats counts sessions without it",
    "notify_status": "no dictionary is kept up to date",
    "old_stats": "doveadm stats counts sessions without it",
    "push_notification": "nobody else is told of new mail",
    "stats": "doveadm stats counts sessions without it",
    "welcome": "no command runs at a user's first login",
}



def _unknown_words(dovecot: DovecotSettings) -> Iterator[Finding]:
    """What ends all sessions when the first user logs in."""
    for name in PROTOCOLS:
        try:
            mail_log.wanted_of(dovecot.for_protocol(name))
        except ConfigError as problem:
            yield error(f"plugin {{ }}: {problem.public}; nobody can log in", (dovecot.path, 0),
                        "take the names from docs/mail-plugins.md")
            return


def check_plugins(site: Site) -> Iterator[Finding]:
    """Each plugin once, where mail_plugins names it first."""
    if site.dovecot is None:
        return
    yield from _unknown_words(site.dovecot)
    saved = site.dovecot.plugin.get("zlib_save", "")
    if saved not in ("", *PACKED):
        yield warning(f"zlib_save = {saved}: new messages are stored as they are", (site.dovecot.path, 0),
                      f"one of {', '.join(PACKED)}")
    told: set[str] = set()
    spoken = [name for name in PROTOCOLS if name == "lda" or name in site.dovecot.words("protocols")]
    for settings in (site.dovecot, *(site.dovecot.for_protocol(name) for name in spoken)):
        file, _, line = settings.where("mail_plugins").rpartition(" line ")
        place = (file, int(line)) if file else (site.dovecot.path, 0)
        for name in settings.words("mail_plugins"):
            if name in told or name in OBEYED or name.startswith("fts"):        # check_fulltext tells of fts
                continue
            told.add(name)
            if name in _MISSED:
                yield warning(f"mail_plugins has {name}: {_MISSED[name]}", place,
                              f"take {name} out of mail_plugins once nobody misses it")
            else:
                yield note(f"mail_plugins has {name}, which does nothing here: " +
                           _QUIET.get(name, "a plugin that is not known"), place)
