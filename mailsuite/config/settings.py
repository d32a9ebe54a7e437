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
from typing import NamedTuple, TypeVar, cast

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config import expansion
from mailsuite.config.maincf import MainCf, read_main_cf
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS, transport_default
from mailsuite.config.registry import Param, declared

T = TypeVar("T")
# Values that their users expand later, with names that only they know ($recipient, $rbl_code...).
RAW = frozenset({
    "command_execution_directory", "default_rbl_reply", "forward_path", "luser_relay", "mailbox_command",
    "postscreen_expansion_filter", "postscreen_reject_footer", "smtpd_expansion_filter", "smtpd_reject_footer"})
_NOT_CACHED = frozenset({"process_id", "process_name"})       # a forked child has others
_MAX_NESTING = 100


class Origin(NamedTuple):
    """Where a value was written; line of the name."""

    file: str
    line: int


class Settings:
    """All parameters of the mail side. `settings[PARAM]` is typed and cheap."""

    def __init__(self, config_directory: str, raw: Mapping[str, str], *, origins: Mapping[str, Origin] | None = None,
                 warnings: tuple[str, ...] = ()) -> None:
        self.config_directory = config_directory
        self.warnings = warnings
        self._raw = dict(raw)
        self._origins = dict(origins or {})
        self._texts: dict[str, str] = {}
        self._values: dict[str, object] = {}

    @classmethod
    def load(cls, config_directory: str, *, strict: bool = True) -> "Settings":
        """Read config_directory/main.cf. Raises ConfigErrors."""
        try:
            main_cf = read_main_cf(f"{config_directory}/main.cf")
        except ConfigError as err:
            raise ConfigErrors([err]) from err
        return cls.from_main_cf(main_cf, config_directory, strict=strict)

    @classmethod
    def from_main_cf(cls, main_cf: MainCf, config_directory: str, *, strict: bool = True) -> "Settings":
        """From a main.cf that was read already. Raises ConfigErrors."""
        raw = {entry.name: entry.value for entry in main_cf.entries}
        origins = {entry.name: Origin(main_cf.path, entry.first_line) for entry in main_cf.entries}
        settings = cls(config_directory, raw, origins=origins, warnings=tuple(main_cf.overridden()))
        if not strict:
            if main_cf.errors:
                raise ConfigErrors(main_cf.errors)
            return settings
        from mailsuite.config.check import check_settings, in_order  # postconf starts faster without it

        errors, warnings = check_settings(settings)
        errors += [ConfigError(f"{main_cf.path}, line {line.first_line}: a line that begins with a blank continues the "
                               f"one before, but there is none: {line.text.strip()}") for line in main_cf.stray]
        if errors or main_cf.errors:
            raise ConfigErrors(in_order([*main_cf.errors, *errors]))
        settings.warnings += tuple(warnings)
        return settings

    @classmethod
    def of(cls, values: Mapping[str, str], config_directory: str = "/etc/postfix") -> "Settings":
        """Settings from a dictionary, for tests: nothing is checked before it is asked for."""
        return cls(config_directory, values)

    def __getitem__(self, param: Param[T]) -> T:
        """The value of a declared parameter. Raises ConfigError when it cannot be parsed (not after a strict load)."""
        try:
            return cast(T, self._values[param.name])
        except KeyError:
            return self._parse(param)

    def _parse(self, param: Param[T]) -> T:
        name = param.name
        text = self.raw(name) if name in RAW else self.text(name)
        try:
            value = param.parse(text)
        except ConfigError as err:
            raise ConfigError(f"{self.where(name)}{name}: {err.public}") from err
        self._values[name] = value
        return value

    def where(self, name: str) -> str:
        """"FILE, line N: " where a parameter is written, "" for a default or an override."""
        origin = self._origins.get(name)
        return f"{origin.file}, line {origin.line}: " if origin else ""

    def origin(self, name: str) -> Origin | None:
        """Where main.cf gives the parameter; None for a default or an override."""
        return self._origins.get(name)

    def text(self, name: str) -> str:
        """The expanded text of any known or user-defined name; "" for a name nobody defined. Raises ConfigError."""
        text = self._texts.get(name)
        return text if text is not None else self._expand_name(name, 0) or ""

    def _expand_name(self, name: str, depth: int) -> str | None:
        if (known := self._texts.get(name)) is not None:
            return known
        if name not in self._raw and name in COMPUTED or name == "config_directory":
            text = COMPUTED[name](self)
        else:
            raw = self.raw_or_none(name)
            if raw is None:
                return None
            if depth >= _MAX_NESTING:
                raise expansion.ExpansionError(f'unreasonable macro call nesting: "{name}"')
            text = expansion.expand(raw, lambda inner: self._expand_name(inner, depth + 1), self._given)
        if name not in _NOT_CACHED:
            self._texts[name] = text
        return text

    def _given(self, name: str) -> bool:
        """Whether ${name?..} takes its branch: by the value as written."""
        return bool(self.raw_or_none(name))

    def raw_or_none(self, name: str) -> str | None:
        """As raw, but None for a name that nobody defined."""
        if name == "config_directory":
            return self.config_directory
        if (written := self._raw.get(name)) is not None:
            return written
        if (default := DEFAULTS.get(name)) is not None:
            return default
        if name in COMPUTED:
            return COMPUTED[name](self)
        if (param := declared().get(name)) is not None:
            return param.default
        return transport_default(name)

    def raw(self, name: str) -> str:
        """As written or as the default has it, unexpanded; "" for a name nobody defined."""
        return self.raw_or_none(name) or ""

    def is_set(self, name: str) -> bool:
        """Whether main.cf or an override gives it, i.e. the default is not in force."""
        return name in self._raw

    @property
    def written(self) -> Mapping[str, str]:
        """Everything that main.cf or an override gives, as written."""
        return self._raw

    def transport_param(self, transport: str, suffix: str) -> str:
        """E.g. ("smtp", "destination_concurrency_limit"): text of smtp_SUFFIX, or of default_SUFFIX."""
        return self.text(f"{transport}_{suffix}")

    def expand(self, text: str, extra: Mapping[str, str] | None = None) -> str:
        """Expand $name, ${name}, ${name?..}, ${name:..}, comparisons, $$. extra comes before parameters.

        Values of extra are not expanded again: a peer may have chosen them. Raises ConfigError.
        """
        own = extra or {}

        def find(name: str) -> str | None:
            value = own.get(name)
            return value if value is not None else self._expand_name(name, 0)

        return expansion.expand(text, find, lambda name: bool(own[name]) if name in own else self._given(name))

    def with_overrides(self, overrides: Mapping[str, str]) -> "Settings":
        """A copy with some values replaced, as -o does."""
        if not overrides:
            return self
        origins = {name: origin for name, origin in self._origins.items() if name not in overrides}
        return Settings(self.config_directory, {**self._raw, **overrides}, origins=origins, warnings=self.warnings)

    def to_json(self) -> dict[str, object]:
        """What from_json takes, of JSON types only."""
        return {"config_directory": self.config_directory, "raw": self._raw, "warnings": list(self.warnings),
                "origins": {name: list(origin) for name, origin in self._origins.items()}}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> "Settings":
        """The Settings that to_json described."""
        origins = cast(Mapping[str, tuple[str, int]], state["origins"])
        return cls(cast(str, state["config_directory"]), cast(Mapping[str, str], state["raw"]),
                   origins={name: Origin(*origin) for name, origin in origins.items()},
                   warnings=tuple(cast(list[str], state["warnings"])))

    def __reduce__(self) -> tuple[object, tuple[dict[str, object]]]:
        return Settings.from_json, (self.to_json(),)
