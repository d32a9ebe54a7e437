"""The tables that tell whose mailbox is where.

    tables = MailboxTables(settings, "virtual")
    await tables.mailbox("user+x@a.test") -> "/var/vmail/a.test/user/" | None
    await tables.owner("user+x@a.test") -> Identity               raises BadOwner: logged, and the mail waits

Raises TemporaryError when a table could not be asked.
"""

from mailsuite.base.errors import TemporaryError
from mailsuite.base.log import logger
from mailsuite.base.trace import TRACE
from mailsuite.config.settings import Settings
from mailsuite.deliver.agent import CONFIGURATION_ERROR
from mailsuite.deliver.params import VIRTUAL_MAILBOX_BASE, VIRTUAL_MINIMUM_UID
from mailsuite.maps import Maps, MapSource, open_maps
from mailsuite.maps.lookup import AddressFound, find_address
from mailsuite.net.privileges import Identity

_LARGEST_ID = 2**32 - 2


class BadOwner(TemporaryError):
    """The tables give no usable mailbox, uid or gid, or cannot be asked."""

    default_status = "4.3.5"


class MailboxTables:
    """virtual_mailbox_maps, virtual_uid_maps, virtual_gid_maps."""

    def __init__(self, settings: Settings, program: str) -> None:
        source = MapSource(settings, program)
        self._log = logger(program)
        self._mailboxes = open_maps(settings.text("virtual_mailbox_maps"), source, "virtual_mailbox_maps")
        self._uids = open_maps(settings.text("virtual_uid_maps"), source, "virtual_uid_maps")
        self._gids = open_maps(settings.text("virtual_gid_maps"), source, "virtual_gid_maps")
        self._base = settings[VIRTUAL_MAILBOX_BASE]
        self._least = settings[VIRTUAL_MINIMUM_UID]
        self._delimiter = settings.text("recipient_delimiter")
        self._everybody = self._uids.same_for_all and self._gids.same_for_all
        self._owner: Identity | None = None         # of all mailboxes, once it was looked up

    async def mailbox(self, address: str) -> str | None:
        """The path, with virtual_mailbox_base; it ends in "/" for a Maildir. None: there is no such mailbox."""
        found = await self._find(self._mailboxes, address, "virtual_mailbox_maps")
        if found is None:
            return None
        path = f"{self._base}/{found.value}" if self._base else found.value
        if not path.startswith("/"):
            self._log.warning("recipient %s: the mailbox %s is no whole path, and virtual_mailbox_base is empty",
                              address, path)
            raise BadOwner(CONFIGURATION_ERROR)
        if (trace := TRACE.get()) is not None:
            trace.step("virtual_mailbox_maps", address, path)
        return path

    async def owner(self, address: str) -> Identity:
        """Whose rights a delivery to address has."""
        if self._owner is not None and TRACE.get() is None:
            return self._owner
        uid = await self._number(self._uids, address, "uid", "virtual_uid_maps", self._least)
        gid = await self._number(self._gids, address, "gid", "virtual_gid_maps", 1)
        owner = Identity(uid, gid)
        if self._everybody:
            self._owner = owner
        return owner

    async def _find(self, maps: Maps, address: str, parameter: str) -> AddressFound | None:
        """Raises BadOwner when a table cannot be asked."""
        try:
            return await find_address(maps, address.lower(), delimiter=self._delimiter)
        except TemporaryError as error:
            self._log.warning("table %s: lookup %s: %s", parameter, address, error)
            raise BadOwner(CONFIGURATION_ERROR) from error

    async def _number(self, maps: Maps, address: str, what: str, parameter: str, least: int) -> int:
        found = await self._find(maps, address, parameter)
        if found is None:
            self._log.warning("recipient %s: not found in %s", address, parameter)
            raise BadOwner(CONFIGURATION_ERROR)
        text = found.value.strip()
        if not (text.isascii() and text.isdigit() and least <= int(text) <= _LARGEST_ID):
            self._log.warning("recipient %s: bad %s %s in %s", address, what, found.value, parameter)
            raise BadOwner(CONFIGURATION_ERROR)
        if (trace := TRACE.get()) is not None:
            trace.step(parameter, address, text)
        return int(text)
