"""dovecot.conf as typed values.

    conf = DovecotSettings.load("/etc/dovecot/dovecot.conf")        raises ConfigErrors, all with file and line
    conf.text("mail_location")   conf.flag("ssl")   conf.number("first_valid_uid")   conf.time_s("auth_failure_delay")
    for passdb in conf.sections("passdb"): passdb.text("driver"), passdb.text("args")
    conf.section("service", "auth").sections("unix_listener")       default listeners included
    imap = conf.for_protocol("imap")                                 protocol imap { } laid over
    here = imap.for_connection(local_ip="192.0.2.1", remote_ip="192.0.2.9", local_name="mx.test")

%-variables in values are left alone (`variables.expand_variables`); $name of earlier settings and `<file` values are
resolved: `.text("ssl_cert")` is the file's content (read when asked, so the configuration loads without the right
to read keys), `.file("ssl_cert")` its path.
A DovecotSettings is immutable, can be pickled, and goes to children as JSON with to_json()/from_json().
"""

from collections.abc import Mapping


class Section:
    """A section such as `service auth { }` or the root: settings of known names, with defaults, and sections in it."""

    type: str       # "passdb", "service", ...; "" for the root
    name: str       # "auth" of `service auth {`; "" without

    def text(self, name: str) -> str:
        """The value, or its default; `<file` gives the content. Raises ConfigError (file), Bug (unknown name)."""
        raise NotImplementedError

    def is_set(self, name: str) -> bool:
        """Whether the configuration gives it, i.e. the default is not in force."""
        raise NotImplementedError

    def file(self, name: str) -> str:
        """The path of a `<file` value, "" when the value is not of that form."""
        raise NotImplementedError

    def flag(self, name: str) -> bool:
        """A yes/no value."""
        raise NotImplementedError

    def number(self, name: str) -> int:
        """A whole number; octal for `mode`."""
        raise NotImplementedError

    def time_s(self, name: str) -> float:
        """A time in seconds; "2 mins" -> 120.0. "infinite" gives math.inf."""
        raise NotImplementedError

    def size(self, name: str) -> int:
        """Octets; "256 M" -> 268435456. "unlimited" gives 2**64 - 1."""
        raise NotImplementedError

    def words(self, name: str) -> list[str]:
        """Split at blanks and commas."""
        raise NotImplementedError

    def sections(self, type: str) -> "list[Section]":
        """All sections of a type, in order: defaults merged in by name."""
        raise NotImplementedError

    def section(self, type: str, name: str = "") -> "Section | None":
        """The section of that type and name; None when there is none."""
        raise NotImplementedError

    def mapping(self) -> dict[str, str]:
        """All settings by name (for `plugin { }`: every key that is set)."""
        raise NotImplementedError


class DovecotSettings(Section):
    """The whole configuration."""

    path: str

    @classmethod
    def load(cls, path: str) -> "DovecotSettings":
        """Read the file and what it includes. Raises ConfigErrors."""
        raise NotImplementedError

    @classmethod
    def of(cls, text: str, path: str = "/etc/dovecot/dovecot.conf") -> "DovecotSettings":
        """From the text of a dovecot.conf, for tests. Raises ConfigErrors."""
        raise NotImplementedError

    @property
    def plugin(self) -> dict[str, str]:
        """What `plugin { }` sets."""
        raise NotImplementedError

    def for_protocol(self, protocol: str) -> "DovecotSettings":
        """With `protocol NAME { }` laid over. protocol: imap, pop3, lmtp, lda, doveadm, sieve..."""
        raise NotImplementedError

    def for_connection(self, *, local_ip: str = "", remote_ip: str = "", local_name: str = "") -> "DovecotSettings":
        """With the matching `local`, `remote` and `local_name` sections laid over."""
        raise NotImplementedError

    def to_json(self) -> dict[str, object]:
        """What from_json takes, of JSON types only."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> "DovecotSettings":
        """The settings that to_json described."""
        raise NotImplementedError
