"""Errors say whose move is next.

A `MailError` is an answer; each protocol has a table that says it in its own words. A `Bug` (and any exception that
is not a MailError) is logged with its traceback, ends one session with a temporary failure and no other.
"""


class Bug(Exception):
    """A state our own code must not reach: log a traceback, end this session, keep serving others."""


class MailError(Exception):
    """public: safe to send to anyone; names no path, table or server. detail: for the log.

    status: enhanced status code, RFC 3463, e.g. "5.1.1".
    """

    def __init__(self, public: str, *, status: str = "", detail: str = "") -> None:
        super().__init__(detail or public)
        self.public, self.status, self.detail = public, status or self.default_status, detail

    default_status = "4.3.0"


class PeerError(MailError):
    """The other end broke the protocol."""

    default_status = "5.5.2"


class TemporaryError(MailError):
    """Ours, and it may pass: keep the mail, try again."""

    default_status = "4.3.0"


class PermanentError(MailError):
    """A fact or a decision: do not try again."""

    default_status = "5.0.0"


class ConfigError(MailError):
    """The administrator acts; nothing starts half-working. public names file and line where they are known."""

    default_status = "4.3.5"


class ConfigErrors(ConfigError):
    """All that is wrong with a configuration, in the order of files and lines."""

    def __init__(self, errors: "list[ConfigError]") -> None:
        super().__init__("\n".join(error.public for error in errors))
        self.errors = errors
