"""Which store a mail_location names.

    store = open_store("alice", home="/home/alice", location="maildir:~/Maildir", options=StoreOptions.of(settings))

location: after the expansion of %u and the like (config.dovecot.expand_variables); "~" is the home. An empty one is
guessed as Dovecot does: ~/Maildir, ~/.maildir, or mbox in ~/mail with /var/mail/USER.
Call it as the user whose mail it is (the worker runs with the user's uid): files get its owner and group.
"""

from functools import lru_cache

from mailsuite.store.api import MailStore, Quota
from mailsuite.store.options import StoreOptions


def open_store(user: str, *, home: str, location: str, options: StoreOptions | None = None,
               quota: Quota | None = None) -> MailStore:
    """The user's mail; makes the root folder if need be. Raises ConfigError (unknown format), StoreError."""
    from mailsuite.store.attributes import open_attributes
    from mailsuite.store.location import parse_location
    from mailsuite.store.store import UserStore
    options = options or StoreOptions()
    attributes = open_attributes(options.attribute_dict, user, home) if options.attribute_dict else None
    return UserStore(user, parse_location(user, home, location), options, quota, attributes)


def opens_without_files(location: str) -> bool:
    """Whether open_store for this location looks at no file: then it cannot block."""
    return location.startswith("maildir:")


@lru_cache(maxsize=1024)
def check_location(user: str, home: str, location: str) -> None:
    """Raise what open_store would for a location that opens_without_files."""
    from mailsuite.store.location import parse_location

    parse_location(user, home, location)
