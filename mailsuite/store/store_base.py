"""What a user's store is made of: the layout on disk, the names, index and full text, rights.

The layers over this one: store_names.py (names and subscriptions), store_open.py (open mailboxes, quota), store.py.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress

from mailsuite.base.log import access_logger
from mailsuite.fulltext.database import FullText
from mailsuite.fulltext.file import FILE_NAME as FULLTEXT_NAME
from mailsuite.store.acl import NamespaceAcl, demand
from mailsuite.store.api import NoPermission, StoreError
from mailsuite.store.attributes import Attributes
from mailsuite.store.index import Index
from mailsuite.store.layout import Layout
from mailsuite.store.location import Location
from mailsuite.store.names import INBOX, Naming, Parts, from_mutf7
from mailsuite.store.options import MailboxRule, StoreOptions
from mailsuite.store.quota import Quota
from mailsuite.store.special_use import SpecialUses
from mailsuite.store.subscriptions import Subscriptions

INDEX_NAME = "dovecot.index.mailsuite"
log = access_logger("imap")


def make_layout(location: Location) -> Layout:
    if location.kind == "mbox":
        from mailsuite.store.mbox.layout import MboxTree
        return MboxTree(location)
    from mailsuite.store.maildir.layout import MaildirPlusPlus, MaildirTree
    return MaildirPlusPlus(location) if location.layout == "maildir++" else MaildirTree(location)


@contextmanager
def file_errors() -> Iterator[None]:
    """Failures of the file system as errors of the store."""
    try:
        yield
    except PermissionError as error:
        raise NoPermission(str(error)) from error
    except OSError as error:
        raise StoreError(str(error)) from error


class StoreBase:
    """See store/store_api.MailStore for the public methods."""

    def __init__(self, user: str, location: Location, options: StoreOptions, quota: Quota | None = None,
                 attributes: Attributes | None = None, *, shared_attributes: Attributes | None = None,
                 acl: NamespaceAcl | None = None, keeper: "Callable[[], StoreBase] | None" = None) -> None:
        """keeper: of index and full text, for mailboxes that others use, too."""
        self.attributes, self._shared_attributes = attributes, shared_attributes or attributes
        self.user, self._location, self._options, self.quota = user, location, options, quota
        self._layout = make_layout(location)
        self._naming = Naming(self._layout.own, options.separator, options.prefix, self._layout.reserved,
                              inbox=options.inbox, others=options.kind == "shared", escape=options.escape)
        self._acl, self._keeper = acl, keeper
        if options.kind == "private":
            with file_errors():
                self._layout.prepare()
        self._subscriptions = Subscriptions(location.subscriptions, self._layout.own, utf8=location.utf8)
        folder, name = os.path.split(location.subscriptions)
        self._uses = SpecialUses(os.path.join(folder, name.replace("subscriptions", "dovecot-special-use")))
        self._lock = threading.RLock()
        self._index: Index | None = None
        self._fulltext: FullText | None = None
        self._text_lock = threading.Lock()      # its own: who asks may hold a mailbox's lock
        self.text_wanted: Callable[[str], None] = lambda name: None
        self._rules: dict[Parts, MailboxRule] = {self._rule_parts(rule): rule for rule in options.mailboxes}
        if acl is not None:
            acl.attach(self)

    def _rule_parts(self, rule: MailboxRule) -> Parts:
        parts = tuple(self._naming.stored(rule.name.split(self._naming.separator)))
        return INBOX if len(parts) == 1 and parts[0].upper() == "INBOX" and self._options.inbox else parts

    @property
    def separator(self) -> str:
        return self._naming.separator

    @property
    def prefix(self) -> str:
        return self._naming.prefix

    @property
    def own(self) -> str:
        """What separates the parts of a name on disk."""
        return self._naming.own

    @property
    def own_flags(self) -> bool:
        return bool(self._location.private)

    def name_of(self, parts: Parts) -> str:
        return self._naming.name(parts)

    @property
    def unlisted_root(self) -> bool:
        """Dovecot lists the root of mbox folders as if it held mail."""
        return self._location.kind == "mbox"

    @property
    def unusable(self) -> frozenset[str]:
        if self._options.escape:
            return frozenset((self._naming.separator,))
        return frozenset((self._naming.separator, self._naming.own, "/"))

    # --- index and full text ------------------------------------------------------------------------------------------

    @property
    def index(self) -> Index:
        """Opened at its first use: a login that opens nothing needs none."""
        if self._keeper is not None:
            return self._keeper().index
        if self._index is None:
            folder = self._location.index
            if folder is not None:
                try:
                    os.makedirs(folder, 0o700, exist_ok=True)
                except OSError:
                    folder = None
            self._index = Index(os.path.join(folder, INDEX_NAME) if folder is not None else None)
        return self._index

    @property
    def fulltext(self) -> FullText | None:
        """Opened at its first use. None: it is switched off, or there is no place for it."""
        if self._keeper is not None:
            return self._keeper().fulltext
        with self._text_lock:
            if self._fulltext is None and self._options.fulltext.enabled and self._location.index is not None:
                folder = self._location.index
                with suppress(OSError):
                    os.makedirs(folder, 0o700, exist_ok=True)
                    self._fulltext = FullText(os.path.join(folder, FULLTEXT_NAME), self._options.fulltext,
                                              lambda name: self.text_wanted(name))
            return self._fulltext

    def full_texts(self) -> dict[str, FullText]:
        text = self.fulltext
        return {self.prefix: text} if text is not None else {}

    def _known_text(self) -> FullText | None:
        """It, where something may be in it: what does not exist need not be made to forget something."""
        if self._keeper is not None:
            return self._keeper()._known_text()
        if self._fulltext is None and self._location.index is not None and not os.path.exists(
                os.path.join(self._location.index, FULLTEXT_NAME)):
            return None
        return self.fulltext

    # --- rights -------------------------------------------------------------------------------------------------------

    def acl_of(self, name: str) -> tuple[NamespaceAcl, Parts] | None:
        return (self._acl, self._naming.parts(name)) if self._acl is not None else None

    def _demand(self, parts: Parts, right: str, name: str) -> None:
        if self._acl is not None and right:
            demand(self._acl.rights(parts), right, name)

    def _is_seen(self, parts: Parts) -> bool:
        """May LIST tell it? What has a damaged ACL is not told; the others are."""
        assert self._acl is not None
        try:
            return "l" in self._acl.rights(parts)
        except StoreError as error:
            log.error("%s: %s", self._naming.name(parts), error.detail)
            return False

    def _may_any(self, parts: Parts, rights: frozenset[str]) -> bool:
        return self._acl is None or not rights.isdisjoint(self._acl.rights(parts))

    def _demand_below(self, parts: Parts) -> None:
        """May the user make this mailbox?"""
        if self._acl is not None and "k" not in self._acl.rights_below(parts):
            raise NoPermission("missing right: k")

    def acl_folder(self, parts: Parts) -> str:
        return self._layout.acl_folder(parts)

    def shown_name(self, parts: Parts) -> str:
        name = self._naming.name(parts or INBOX)
        return from_mutf7(name) or name

    def is_there(self, parts: Parts) -> bool:
        kind = self._layout.kind(parts)
        return kind is not None and kind.selectable

    def all_parts(self) -> Iterable[Parts]:
        return {INBOX: None, **self._layout.find_all()}
