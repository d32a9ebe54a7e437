"""postscreen_access_list: who is let in, or refused, without a test.

    access = AccessList(text, source, mynetworks);  await access.judge("192.0.2.1") -> Verdict

Words: permit_mynetworks, permit, reject, dunno, type:table (whose values are words too). A table that cannot be asked
counts as dunno, with a warning: the tests then decide.
"""

from enum import Enum

from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import Maps, MapSource, open_maps, split_specs
from mailsuite.maps.matchlist import AddressList

log = logger("postscreen")


class Verdict(Enum):
    PERMIT = "permit"
    REJECT = "reject"
    DUNNO = "dunno"


class AccessList:
    """Raises ConfigError for a word that means nothing."""

    def __init__(self, text: str, source: MapSource, mynetworks: AddressList) -> None:
        self._mynetworks = mynetworks
        self._steps: list[str | Maps] = []
        for word in split_specs(text):
            if ":" in word:
                self._steps.append(open_maps(word, source))
            elif word.lower() in ("permit_mynetworks", "permit", "reject", "dunno"):
                self._steps.append(word.lower())
            else:
                raise ConfigError(f"unknown command in postscreen_access_list: {word}")

    async def judge(self, address: str) -> Verdict:
        """The first word that decides."""
        for step in self._steps:
            if isinstance(step, Maps):
                try:
                    value = await step.find(address)
                except TemporaryError as error:
                    log.warning("postscreen_access_list: %s", error.detail or error.public)
                    continue
                words = value.replace(",", " ").lower().split() if value is not None else []
                inside = True
            else:
                words, inside = [step], False
            for word in words:
                verdict = await self._word(word, address)
                if verdict is not None and (verdict is not Verdict.DUNNO or not inside):
                    return verdict
                if verdict is Verdict.DUNNO:
                    break
        return Verdict.DUNNO

    async def _word(self, word: str, address: str) -> Verdict | None:
        if word == "permit_mynetworks":
            try:
                return Verdict.PERMIT if await self._mynetworks.matches(address) else None
            except TemporaryError:
                return None
        try:
            return Verdict(word)
        except ValueError:
            log.warning("postscreen_access_list: unknown command in a table: %s", word)
            return Verdict.DUNNO
