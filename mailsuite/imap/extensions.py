"""IMAP's extensions, one line each: what is announced, which commands it brings, and where it is offered.

    offered = offer(extended=False, plugins={"imap_quota"}, is_on=settings.flag)
    capabilities_of(offered) -> "IMAP4rev1 SASL-IR ..."       in Dovecot's order
    {each.name for each in offered}                           what parsers of items and options ask: "OBJECTID" in ...
    withheld(offered) -> {"UNAUTHENTICATE", ...}              commands that are answered as unknown

A new extension is a line in EXTENSIONS, a file in imap/commands/, and its entries in the table of imap/commands.
imap_extensions = dovecot offers exactly what Dovecot 2.3 has; all offers everything. A condition (plugin, setting) is
Dovecot's and holds for both, unless `free` says that with all it is not asked for.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extension:
    """words: in CAPABILITY after login; None: the name itself, "": nothing is announced. rfc: where it is defined.

    dovecot: Dovecot 2.3 has it. plugin: mail_plugins must have it. setting: must be on. free: all needs neither.
    """

    name: str
    rfc: str
    words: str | None = None
    commands: tuple[str, ...] = ()
    dovecot: bool = True
    plugin: str = ""
    setting: str = ""
    free: bool = False

    @property
    def announced(self) -> str:
        return self.name if self.words is None else self.words


EXTENSIONS = (
    Extension("IMAP4rev1", "RFC 3501"),
    Extension("IMAP4rev2", "RFC 9051", dovecot=False),
    Extension("SASL-IR", "RFC 4959"),
    Extension("LOGIN-REFERRALS", "RFC 2221"),
    Extension("ID", "RFC 2971", commands=("ID",)),
    Extension("ENABLE", "RFC 5161", commands=("ENABLE",)),
    Extension("IDLE", "RFC 2177", commands=("IDLE",)),
    Extension("SORT", "RFC 5256, RFC 5957", "SORT SORT=DISPLAY", ("SORT", "UID SORT")),
    Extension("THREAD", "RFC 5256", "THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT", ("THREAD", "UID THREAD")),
    Extension("MULTIAPPEND", "RFC 3502"),
    Extension("URL-PARTIAL", "RFC 5550"),
    Extension("CATENATE", "RFC 4469"),
    Extension("UNSELECT", "RFC 3691", commands=("UNSELECT",)),
    Extension("CHILDREN", "RFC 3348"),
    Extension("NAMESPACE", "RFC 2342", commands=("NAMESPACE",)),
    Extension("UIDPLUS", "RFC 4315", commands=("UID EXPUNGE",)),
    Extension("LIST-EXTENDED", "RFC 5258"),
    Extension("I18NLEVEL=1", "RFC 5255"),
    Extension("CONDSTORE", "RFC 7162"),
    Extension("QRESYNC", "RFC 7162"),
    Extension("ESEARCH", "RFC 4731"),
    Extension("ESORT", "RFC 5267"),
    Extension("SEARCHRES", "RFC 5182"),
    Extension("WITHIN", "RFC 5032"),
    Extension("CONTEXT=SEARCH", "RFC 5267", commands=("CANCELUPDATE",)),
    Extension("LIST-STATUS", "RFC 5819"),
    Extension("BINARY", "RFC 3516"),
    Extension("MOVE", "RFC 6851", commands=("MOVE", "UID MOVE")),
    Extension("SNIPPET", "draft-slusarz-imap-fetch-snippet", "SNIPPET=FUZZY PREVIEW=FUZZY"),
    Extension("PREVIEW", "RFC 8970"),
    Extension("STATUS=SIZE", "RFC 8438"),
    Extension("SAVEDATE", "RFC 8514"),
    Extension("LITERAL", "RFC 7888", "LITERAL+"),           # LITERAL- with imap_literal_minus
    Extension("NOTIFY", "RFC 5465", commands=("NOTIFY",)),
    Extension("METADATA", "RFC 5464", setting="imap_metadata", free=True),         # its commands always answer
    Extension("URLAUTH", "RFC 4467, RFC 5524", "URLAUTH URLAUTH=BINARY", setting="imap_urlauth_host", free=True),
    Extension("LIST-METADATA", "RFC 9590", dovecot=False),
    Extension("CONTEXT=SORT", "RFC 5267", dovecot=False),
    Extension("PARTIAL", "RFC 9394", dovecot=False),
    Extension("MULTISEARCH", "RFC 7377", commands=("ESEARCH",), dovecot=False),
    Extension("REPLACE", "RFC 8508", commands=("REPLACE", "UID REPLACE"), dovecot=False),
    Extension("METADATA-SERVER", "RFC 5464", dovecot=False),
    Extension("SPECIAL-USE", "RFC 6154", setting="special_use", free=True),        # some mailbox has one
    Extension("QUOTA", "RFC 9208", "QUOTA QUOTA=RES-STORAGE QUOTA=RES-MESSAGE",
              ("GETQUOTA", "GETQUOTAROOT", "SETQUOTA"), plugin="imap_quota"),
    Extension("ACL", "RFC 4314", "ACL RIGHTS=texk", ("SETACL", "DELETEACL", "GETACL", "LISTRIGHTS", "MYRIGHTS"),
              plugin="imap_acl"),
    Extension("LIST-MYRIGHTS", "RFC 8440", dovecot=False, plugin="imap_acl"),
    Extension("UTF8=ACCEPT", "RFC 6855", dovecot=False),
    Extension("UIDONLY", "RFC 9586", dovecot=False),
    Extension("OBJECTID", "RFC 8474", dovecot=False),
    Extension("CREATE-SPECIAL-USE", "RFC 6154", dovecot=False),
    Extension("APPENDLIMIT", "RFC 7889", dovecot=False),                # APPENDLIMIT=n with imap_append_limit
    Extension("UNAUTHENTICATE", "RFC 8437", commands=("UNAUTHENTICATE",), dovecot=False),
    Extension("INPROGRESS", "RFC 9585", dovecot=False),
    # With their numbers, of the settings.
    Extension("MESSAGELIMIT", "RFC 9738", "", dovecot=False, setting="imap_message_limit"),
    Extension("SAVELIMIT", "RFC 9738", "", dovecot=False, setting="imap_save_limit"),
    Extension("COMPRESS", "RFC 4978", "COMPRESS=DEFLATE", ("COMPRESS",), plugin="imap_zlib", free=True),
)


def offer(*, extended: bool, plugins: Collection[str] = (), is_on: Callable[[str], bool] = lambda name: False
          ) -> tuple[Extension, ...]:
    """What a site offers. extended: imap_extensions = all. plugins: mail_plugins. is_on: of a setting."""
    def fits(each: Extension) -> bool:
        if not each.dovecot and not extended:
            return False
        if extended and each.free:
            return True
        return (not each.plugin or each.plugin in plugins) and (not each.setting or is_on(each.setting))

    return tuple(each for each in EXTENSIONS if fits(each))


def capabilities_of(offered: Iterable[Extension], words: Mapping[str, str] | None = None) -> str:
    """The list that CAPABILITY tells after login. words: other ones for some extensions, by name."""
    told = ((words or {}).get(each.name, each.announced) for each in offered)
    return " ".join(word for word in told if word)


def withheld(offered: Iterable[Extension]) -> frozenset[str]:
    """Commands of extensions that are not offered: as unknown as any other word."""
    given = {command for each in offered for command in each.commands}
    return frozenset(command for each in EXTENSIONS for command in each.commands) - given
