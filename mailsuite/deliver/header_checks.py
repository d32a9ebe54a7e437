"""smtp_header_checks, smtp_mime_header_checks: what tables say of the header lines of mail that leaves.

    checks = HeaderChecks(settings, "smtp")
    lines = await checks.apply(queue_id, b"Subject: x\\n")          what stands in the field's place

Actions: DUNNO IGNORE INFO OK PREPEND REPLACE STRIP WARN; others are for mail that comes in, and are named in the log.
The message's own header is looked at, its MIME fields by the second table; headers of parts and of attached messages
(smtp_nested_header_checks) and the body (smtp_body_checks) are not.
Raises TemporaryError: a table could not be asked; the mail waits, nothing slips past a check.
"""

from mailsuite.base.log import logger
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps

_MIME = (b"content-", b"mime-version")

_LOGGED = {"WARN": "warning", "INFO": "info", "REPLACE": "replace", "PREPEND": "prepend", "STRIP": "strip"}


class HeaderChecks:
    """One configuration's smtp_header_checks and smtp_mime_header_checks (or lmtp_...)."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        source = MapSource(settings, prefix)
        self._tables = [(name, open_maps(settings.text(name), source))
                        for name in (f"{prefix}_header_checks", f"{prefix}_mime_header_checks")]
        self.empty = all(maps.empty for _, maps in self._tables)
        self._log = logger(prefix)

    async def apply(self, queue_id: str, field: bytes) -> list[bytes]:
        """field: with its continuation lines and line end; so are the results."""
        text = field.rstrip(b"\n").decode("utf-8", "surrogateescape")
        parameter, maps = self._tables[field[:12].lower().startswith(_MIME)]
        found = await maps.find(text)
        if found is None:
            return [field]
        word, _, rest = found.strip().partition(" ")
        word, rest = word.upper(), rest.strip()
        if word in _LOGGED:
            self._log.info("%s: %s: header %.60s%s", queue_id, _LOGGED[word], text, f": {rest}" if rest else "")
        new = rest.encode("utf-8", "surrogateescape") + b"\n"
        match word:
            case "IGNORE" | "STRIP":
                return []
            case "REPLACE" if rest:
                return [new]
            case "PREPEND" if rest:
                return [new, field]
            case "DUNNO" | "OK" | "WARN" | "INFO":
                return [field]
        self._log.warning("unsupported command in %s map: %s %s", parameter, word, rest)
        return [field]
