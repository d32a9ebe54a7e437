"""smtp_header_checks and its kin: what tables say of the lines of mail that leaves.

    checks = ContentChecks(settings, "smtp")
    lines = await checks.header(queue_id, b"Subject: x", PRIMARY)       what stands in the field's place
    lines = await checks.body(queue_id, b"text")

smtp_header_checks are for the message's header, smtp_mime_header_checks for MIME fields and the headers of parts,
smtp_nested_header_checks for headers of attached messages, smtp_body_checks for all other lines.
Actions: DUNNO IGNORE INFO OK PREPEND REPLACE STRIP WARN; others are for mail that comes in, and are named in the log.
Raises TemporaryError: a table could not be asked; the mail waits, nothing slips past a check.
"""

from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.maps import Maps, MapSource, open_maps
from mailsuite.message.mime_pass import NESTED, PART, PRIMARY

_LOGGED = {"WARN": "warning", "INFO": "info", "REPLACE": "replace", "PREPEND": "prepend", "STRIP": "strip"}
_TABLES = {PRIMARY: "header_checks", PART: "mime_header_checks", NESTED: "nested_header_checks", "body": "body_checks"}


class ContentChecks:
    """One configuration's tables. header_on: the message's header is looked at; deep: its inside is."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        source = MapSource(settings, prefix)
        self._tables: dict[str, tuple[str, Maps]] = {}
        for kind, suffix in _TABLES.items():
            name = f"{prefix}_{suffix}"
            self._tables[kind] = (name, open_maps(settings.text(name), source))
        used = {kind for kind, (_, maps) in self._tables.items() if not maps.empty}
        self.header_on, self.deep = bool(used - {"body"}), bool(used - {PRIMARY})
        self._log = logger(prefix)

    async def header(self, queue_id: str, field: bytes, kind: str) -> list[bytes]:
        """field: with its continuation lines, without line end. kind: PRIMARY, PART or NESTED."""
        return await self._apply(queue_id, field, kind, "header")

    async def body(self, queue_id: str, line: bytes) -> list[bytes]:
        return await self._apply(queue_id, line, "body", "body")

    async def _apply(self, queue_id: str, line: bytes, kind: str, what: str) -> list[bytes]:
        parameter, maps = self._tables[kind]
        if maps.empty:
            return [line]
        text = line.decode("utf-8", "surrogateescape")
        found = await maps.find(text)
        if found is None:
            return [line]
        word, _, rest = found.strip().partition(" ")
        word, rest = word.upper(), rest.strip()
        if word in ("REPLACE", "PREPEND") and not rest:
            self._log.warning("%s action without text in %s map", word, parameter)
            return [line]
        if word in _LOGGED:
            self._log.info("%s: %s: %s %.60s%s", queue_id, _LOGGED[word], what, text, f": {rest}" if rest else "")
        new = rest.encode("utf-8", "surrogateescape")
        match word:
            case "IGNORE" | "STRIP":
                return []
            case "REPLACE":
                return [new]
            case "PREPEND":
                return [new, line]
            case "DUNNO" | "OK" | "WARN" | "INFO":
                return [line]
        self._log.warning("unsupported command in %s map: %s", parameter, f"{word} {rest}".strip())
        return [line]
