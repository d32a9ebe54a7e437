"""What dovecot.conf says about mailboxes, read once.

    options = StoreOptions.of(settings.for_protocol("imap"))      settings: DovecotSettings
    options = StoreOptions(fsync="never")                          tests

Parameters (dovecot.conf): mail_fsync, lock_method, mbox_read_locks, mbox_write_locks, mbox_lock_timeout,
mbox_dotlock_change_timeout, mbox_lazy_writes, mbox_dirty_syncs, mbox_very_dirty_syncs, mail_privileged_group,
maildir_stat_dirs, mail_max_keyword_length, mbox_md5, hostname, mail_server_comment, mail_server_admin,
mail_attribute_dict, imap_extensions (all: with a dictionary in the home), and the namespace with inbox = yes:
separator, prefix, mailbox { auto, special_use, comment, autoexpunge, autoexpunge_max_mails }. Other namespaces:
namespace.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mailsuite.fulltext.params import FullTextOptions
from mailsuite.store.names import to_mutf7

ATTRIBUTES = "file:%h/dovecot-attributes"


class Section(Protocol):
    """A section of dovecot.conf, as config.dovecot gives it."""

    def text(self, name: str) -> str: ...
    def sections(self, kind: str) -> Sequence[Any]: ...


class Settings(Protocol):
    """What is used of config.dovecot.DovecotSettings."""

    def text(self, name: str) -> str: ...
    def sections(self, kind: str) -> Sequence[Any]: ...
    @property
    def plugin(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class MailboxRule:
    """mailbox NAME { auto = no|create|subscribe; special_use = \\Sent; autoexpunge... }; name without the prefix, as
    clients name it (modified UTF-7). autoexpunge_s, autoexpunge_max_mails: 0 for never."""

    name: str
    auto: str = "no"
    special_use: tuple[str, ...] = ()
    autoexpunge_s: float = 0
    autoexpunge_max_mails: int = 0
    comment: str = ""


@dataclass(frozen=True)
class StoreOptions:
    """Times in seconds. locks: in the order they are taken. fsync: never, optimized or always."""

    fsync: str = "optimized"
    read_locks: tuple[str, ...] = ("fcntl",)
    write_locks: tuple[str, ...] = ("dotlock", "fcntl")
    lock_timeout_s: float = 300
    dotlock_change_timeout_s: float = 120
    lazy_writes: bool = True
    dirty_syncs: bool = True        # an mbox that only grew is read from its old end on, until a session begins...
    very_dirty_syncs: bool = False  # ...or anything is written
    privileged_group: str = ""
    max_keyword_length: int = 50
    host: str = ""
    header_md5_all: bool = False    # mbox_md5 = all
    separator: str = ""             # "" means the format's own: "." or "/"
    prefix: str = ""
    mailboxes: tuple[MailboxRule, ...] = field(default=())
    inbox: bool = True              # the user's INBOX is here
    kind: str = "private"           # or "shared", "public": whose mail it is
    attribute_dict: str = ""        # "file:%h/dovecot-attributes": store/attributes.py
    server_comment: str = ""
    server_admin: str = ""
    fulltext: FullTextOptions = FullTextOptions()
    escape: str = ""                # the listescape plugin: the character that stands before an octet in hexadecimal
    unpacks: bool = False           # the zlib plugin: files of a Maildir may be compressed
    pack: str = ""                  # zlib_save: "gz" or "bz2", how new ones are stored
    pack_level: int = 0             # zlib_save_level; 0: the format's usual one

    @classmethod
    def of(cls, settings: Settings) -> "StoreOptions":
        """From a configuration; what it doesn't set has Dovecot's default."""
        inbox = _inbox_namespace(settings)
        return cls(
            fsync=_text(settings.text, "mail_fsync", "optimized"),
            read_locks=tuple(_text(settings.text, "mbox_read_locks", "fcntl").split()),
            write_locks=tuple(_text(settings.text, "mbox_write_locks", "dotlock fcntl").split()),
            lock_timeout_s=seconds(_text(settings.text, "mbox_lock_timeout", "5 mins")),
            dotlock_change_timeout_s=seconds(_text(settings.text, "mbox_dotlock_change_timeout", "2 mins")),
            lazy_writes=_text(settings.text, "mbox_lazy_writes", "yes") == "yes",
            dirty_syncs=_text(settings.text, "mbox_dirty_syncs", "yes") == "yes",
            very_dirty_syncs=_text(settings.text, "mbox_very_dirty_syncs", "no") == "yes",
            privileged_group=_text(settings.text, "mail_privileged_group", ""),
            max_keyword_length=int(_text(settings.text, "mail_max_keyword_length", "50")),
            host=_text(settings.text, "hostname", ""),
            header_md5_all=_text(settings.text, "mbox_md5", "apop3d") == "all",
            separator=_text(inbox.text, "separator", "") if inbox else "",
            prefix=_text(inbox.text, "prefix", "") if inbox else "",
            mailboxes=tuple(rules(inbox)) if inbox else (),
            server_comment=_text(settings.text, "mail_server_comment", ""),
            server_admin=_text(settings.text, "mail_server_admin", ""),
            attribute_dict=_text(settings.text, "mail_attribute_dict", "") or
            (ATTRIBUTES if _text(settings.text, "imap_extensions", "") == "all" else ""),
            fulltext=FullTextOptions.of(settings.plugin), **_packing(settings), escape=_escape(settings))


def _escape(settings: Settings) -> str:
    if "listescape" not in _text(settings.text, "mail_plugins", "").split():
        return ""
    return settings.plugin.get("listescape_char", "")[:1] or "\\"


def _packing(settings: Settings) -> dict[str, Any]:
    if not {"zlib", "mail_compress"} & set(_text(settings.text, "mail_plugins", "").split()):
        return {}
    name, level = settings.plugin.get("zlib_save", ""), settings.plugin.get("zlib_save_level", "")
    return {"unpacks": True, "pack": name,
            "pack_level": int(level) if level.isdecimal() and 1 <= int(level) <= 9 else 0}


def _text(text: Callable[[str], str], name: str, default: str) -> str:
    try:
        return text(name) or default
    except KeyError:
        return default


def _inbox_namespace(settings: Settings) -> Any:
    namespaces = list(settings.sections("namespace"))
    for namespace in namespaces:
        if _text(namespace.text, "inbox", "no") == "yes":
            return namespace
    return namespaces[0] if namespaces else None


def rules(namespace: Section) -> list[MailboxRule]:
    found = []
    for box in namespace.sections("mailbox"):
        most = _text(box.text, "autoexpunge_max_mails", "0")
        found.append(MailboxRule(to_mutf7(box.name.strip('"')), _text(box.text, "auto", "no"),
                                 tuple(_text(box.text, "special_use", "").split()),
                                 seconds(_text(box.text, "autoexpunge", "0")), int(most) if most.isdecimal() else 0,
                                 _text(box.text, "comment", "")))
    return found


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def seconds(text: str) -> float:
    """Dovecot's times: "300", "5 mins", "2min", "1 hour", "500 msecs"."""
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text.strip()[len(number):].strip()
    if unit.startswith(("ms", "milli")):
        return float(number) / 1000
    return float(number) * _UNITS[unit[:1]]
