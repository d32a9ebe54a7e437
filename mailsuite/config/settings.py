"""main.cf as typed values: read at start, then fixed.

    settings = Settings.load("/etc/postfix")       raises ConfigErrors, all that is wrong with file and line
    settings[MESSAGE_SIZE_LIMIT]                   the parsed value of a declared Param; cached, one dictionary look-up
    settings.text("myhostname")                    expanded text of any known name, cached
    settings.raw("smtpd_banner")                   as written (or the default), unexpanded
    settings.expand("$myhostname x", {"user": "a"})
    settings.with_overrides({"syslog_name": "postfix/submission"})       what -o in master.cf does

A Settings is immutable, can be pickled, and goes to children as JSON with to_json()/from_json().
`Settings.load(dir, strict=False)` never refuses a name or value: what is wrong is in `.warnings`. For commands such
as postconf; a file that cannot be read or parsed is an error all the same.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from mailsuite.config.registry import Param

T = TypeVar("T")


class Origin(NamedTuple):
    """Where a value was written; line of the name."""

    file: str
    line: int


class Settings:
    """All parameters of the mail side. `settings[PARAM]` is typed and cheap."""

    config_directory: str
    warnings: tuple[str, ...]

    def __init__(self, config_directory: str, raw: Mapping[str, str], *, origins: Mapping[str, Origin] | None = None,
                 warnings: tuple[str, ...] = ()) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, config_directory: str, *, strict: bool = True) -> "Settings":
        """Read config_directory/main.cf. Raises ConfigErrors."""
        raise NotImplementedError

    @classmethod
    def of(cls, values: Mapping[str, str], config_directory: str = "/etc/postfix") -> "Settings":
        """Settings from a dictionary, for tests: nothing is checked before it is asked for."""
        raise NotImplementedError

    def __getitem__(self, param: Param[T]) -> T:
        """The value of a declared parameter. Raises ConfigError when it cannot be parsed (not after a strict load)."""
        raise NotImplementedError

    def text(self, name: str) -> str:
        """The expanded text of any known or user-defined name; "" for a name nobody defined. Raises ConfigError."""
        raise NotImplementedError

    def raw(self, name: str) -> str:
        """As written or as the default has it, unexpanded; "" for a name nobody defined."""
        raise NotImplementedError

    def is_set(self, name: str) -> bool:
        """Whether main.cf or an override gives it, i.e. the default is not in force."""
        raise NotImplementedError

    def transport_param(self, transport: str, suffix: str) -> str:
        """E.g. ("smtp", "destination_concurrency_limit"): text of smtp_SUFFIX, or of default_SUFFIX."""
        raise NotImplementedError

    def expand(self, text: str, extra: Mapping[str, str] | None = None) -> str:
        """Expand $name, ${name}, ${name?..}, ${name:..}, comparisons, $$. extra comes before parameters.

        Values of extra are not expanded again: a peer may have chosen them. Raises ConfigError.
        """
        raise NotImplementedError

    def with_overrides(self, overrides: Mapping[str, str]) -> "Settings":
        """A copy with some values replaced, as -o does."""
        raise NotImplementedError

    def to_json(self) -> dict[str, object]:
        """What from_json takes, of JSON types only."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> "Settings":
        """The Settings that to_json described."""
        raise NotImplementedError
