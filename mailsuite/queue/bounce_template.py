"""Texts of notices from bounce_template_file (bounce(5)), read and filled in as Postfix's bounce(8) does.

    book = TemplateBook(settings)
    book.filled("failure") -> Template             never raises: what is wrong with the file is logged, the built-in
                                                   text takes its place; a changed file is read again
    load(path, warn) -> {"failure": Template, ...}         whole files; raises TemplateError
    fill_in(template, settings, warn) -> str               the text with $name replaced; raises TemplateError

A file holds assignments NAME_template = <<EOF ... EOF: header lines (Charset, From, Subject, Postmaster-Subject), an
empty line, the text. $parameter, ${parameter} and main.cf's other forms are replaced; delay_warning_time_SUFFIX and
maximal_queue_lifetime_SUFFIX (seconds, minutes, hours, days, weeks) give these times in that unit; "$$" is a "$".
What is wrong with one template leaves that one as built in; a file that is no list of assignments, or a $name that
nobody defined, ends Postfix's bounce(8) (mail waits then): here the built-in texts are used.
Limit: FILE_LIMIT octets of a file.
"""

import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO

from mailsuite.address.idna import to_unicode
from mailsuite.base.errors import ConfigError
from mailsuite.base.log import logger
from mailsuite.config import expansion
from mailsuite.config.registry import seconds
from mailsuite.queue import params
from mailsuite.queue.bounce_text import BUILT_IN, BUILT_IN_SENDER, OBSOLETE_SENDER, Template
from mailsuite.smtp.params import SMTPUTF8_ENABLE

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

FILE_LIMIT = 1024 * 1024
log = logger("bounce")
Warn = Callable[[str], None]
_HEADER = re.compile(r"([!-9;-~]+)[ \t]*:(.*)", re.DOTALL)
_UNITS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
_TIMES = {"maximal_queue_lifetime": "d", "delay_warning_time": "h"}


class TemplateError(ConfigError):
    """public: what is wrong, with the file and where it can be told the line, as Postfix words it."""


class TemplateBook:
    """The texts of one configuration, ready to be sent. The file is looked at again when it changes."""

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._sender = OBSOLETE_SENDER if settings[params.HEADER_FROM_FORMAT].lower() == "obsolete" else BUILT_IN_SENDER
        self._path = settings[params.BOUNCE_TEMPLATE_FILE]
        self._stamp: tuple[int, ...] | None = None
        self._raw: dict[str, Raw] = {}

    def filled(self, name: str) -> Template:
        """The template with its text filled in. name: "failure", "delay", "success", "verify"."""
        self._refresh()
        template = BUILT_IN[name]
        try:
            if name in self._raw:
                template = parse(self._raw[name], log.warning)
            return self._ready(template)
        except TemplateError as error:
            log.warning("%s -- using the built-in %s template", error.public, name)
        return self._ready(BUILT_IN[name])

    def _ready(self, template: Template) -> Template:
        """Raises TemplateError; never for the built-in ones."""
        sender = self._sender if template.sender == BUILT_IN_SENDER else template.sender
        return dataclasses.replace(template, sender=sender, text=fill_in(template, self._settings, log.warning))

    def _refresh(self) -> None:
        if not self._path:
            return
        stamp: tuple[int, ...] = ()
        try:
            status = os.stat(self._path)
            stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
            if stamp != self._stamp:
                self._raw = {}
                self._raw = read(self._path, log.warning)
        except (TemplateError, OSError) as error:
            if stamp != self._stamp:
                text = error.public if isinstance(error, TemplateError) else f"open {self._path}: {error.strerror}"
                log.warning("%s -- using the built-in templates", text)
        self._stamp = stamp


@dataclasses.dataclass(frozen=True, slots=True)
class Raw:
    """A template as it stands in a file."""

    name: str
    text: str
    path: str


def load(path: str, warn: Warn) -> dict[str, Template]:
    """All four templates; "" : the built-in ones. Raises TemplateError for a file that cannot be read as a whole."""
    raw = read(path, warn) if path else {}
    return {name: parse(raw[name], warn) if name in raw else built_in for name, built_in in BUILT_IN.items()}


# --- reading a file -------------------------------------------------------------------------------------------------


def read(path: str, warn: Warn) -> dict[str, Raw]:
    """The assignments of a file; the last of one name counts. Raises TemplateError."""
    found: dict[str, Raw] = {}
    try:
        with open(path, "rb") as file:
            for name, text in _assignments(path, _lines(file), warn):
                found[name] = Raw(name, text, path)
    except OSError as error:
        raise TemplateError(f"open {path}: {error.strerror}") from error
    return found


def _lines(file: BinaryIO) -> Iterator[tuple[int, str]]:
    """Lines without their ends, and the number that Postfix's messages give: that of the line behind."""
    content = file.read(FILE_LIMIT).decode("utf-8", "surrogateescape")
    lines = content.split("\n")
    if not lines[-1]:
        lines.pop()
    yield from enumerate(lines, 2)


def _assignments(path: str, lines: Iterator[tuple[int, str]], warn: Warn) -> Iterator[tuple[str, str]]:
    """(template name without "_template", text). Raises TemplateError."""
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            what = "missing attribute name" if equals else "missing '=' after attribute name"
            raise TemplateError(f'{path}, line {number}: {what}: "{line.strip()}"')
        if value.startswith("<<"):
            marker = value[2:].strip()
            if not marker:
                raise TemplateError(f"{path}, line {number}: missing end marker after <<")
            if not marker[0].isalnum():
                raise TemplateError(f"{path}, line {number}: malformed end marker after <<")
            value, number = _until(marker, path, lines, number, warn)
        kind = name.removesuffix("_template")
        if kind == name or kind not in BUILT_IN:
            warn(f"{path}, line {number}: unknown template name: {name} -- ignoring this template")
        else:
            yield kind, value


def _until(marker: str, path: str, lines: Iterator[tuple[int, str]], number: int, warn: Warn) -> tuple[str, int]:
    """The text before the end marker, and where that stands."""
    text = []
    for number, line in lines:      # noqa: B007 (where it ended)
        if line == marker:
            break
        text.append(line + "\n")
    else:
        warn(f'{path}, line {number}: missing "{marker}" end marker')
    return "".join(text), number


def parse(raw: Raw, warn: Warn) -> Template:
    """Header and text of one template; with an error in it, the built-in one."""
    built_in = BUILT_IN[raw.name]
    fields, text, trouble = _header(raw, bool(built_in.postmaster_subject))
    charset = fields.get("charset", built_in.charset)
    if not trouble and not text:
        trouble = [f"{raw.path}: missing message text in {raw.name} template -- ignoring this template"]
    if not trouble and not text.isascii() and charset.lower() == "us-ascii":
        trouble = [f"{raw.path}: 8-bit message text in {raw.name} template",
                   "please specify a charset value other than us-ascii", "-- ignoring this template for now"]
    for line in trouble:
        warn(line)
    if trouble:
        return built_in
    return dataclasses.replace(
        built_in, text=text, charset=charset, sender=fields.get("from", built_in.sender), origin=raw.path,
        subject=fields.get("subject", built_in.subject),
        postmaster_subject=fields.get("postmaster-subject", built_in.postmaster_subject))


def _header(raw: Raw, for_postmaster: bool) -> tuple[dict[str, str], str, list[str]]:
    """(header fields by lower-case name, the text behind, what is wrong)."""
    fields: dict[str, str] = {}
    rest = raw.text if raw.text.endswith("\n") else raw.text + "\n"
    while rest and (match := _HEADER.fullmatch(line := rest.partition("\n")[0])) is not None:
        rest = rest[len(line) + 1:]
        label, value = match[1], match[2].lstrip(" \t")
        what = ""
        if not value.strip():
            what = f'empty "{label}" header value'
        elif not value.isascii():
            what = f'non-ASCII "{label}" header value'
        elif label.lower() == "postmaster-subject" and not for_postmaster:
            what = f'inapplicable "{label}" header label'
        elif label.lower() not in ("charset", "from", "subject", "postmaster-subject"):
            what = f'unknown "{label}" header label'
        if what:
            return {}, "", [f"{raw.path}: {what} in {raw.name} template -- ignoring this template"]
        fields[label.lower()] = value
    return fields, rest.lstrip("\n"), []


# --- filling in -----------------------------------------------------------------------------------------------------


def fill_in(template: Template, settings: "Settings", warn: Warn) -> str:
    """The text with every $name replaced. Raises TemplateError."""
    return "".join(_expanded(template, line, settings, warn) for line in template.text.splitlines(keepends=True))


def _expanded(template: Template, line: str, settings: "Settings", warn: Warn) -> str:
    undefined = False

    def find(name: str) -> str | None:
        nonlocal undefined
        value = _value(template, name, settings, warn)
        undefined = undefined or value is None
        return value

    def given(name: str) -> bool:
        return bool(_value(template, name, settings, warn))

    where = f"in {template.name} template: {line.rstrip(chr(10))}"
    try:
        expanded = expansion.expand(line, find, given)
    except TemplateError:
        raise
    except ConfigError as error:
        warn(error.public.replace("\n", ""))
        raise TemplateError(f"{template.origin}: bad $name syntax {where}") from error
    if undefined:
        raise TemplateError(f"{template.origin}: undefined $name {where}")
    return expanded


def _value(template: Template, name: str, settings: "Settings", warn: Warn) -> str | None:
    for stem, unit in _TIMES.items():
        if name.startswith(f"{stem}_"):
            return _time(template, name, seconds(unit=unit)(settings.text(stem)), name[len(stem) + 1:], warn)
    if settings.raw_or_none(name) is None:
        return None
    text = settings.text(name)
    return to_unicode(text) if name in ("mydomain", "myhostname") and settings[SMTPUTF8_ENABLE] else text


def _time(template: Template, name: str, value_s: int, suffix: str, warn: Warn) -> str:
    """A time in the unit that a suffix names."""
    if suffix not in _UNITS:
        raise TemplateError(f'{template.origin}: unrecognized suffix "{suffix}" in parameter "{name}"')
    value = value_s // _UNITS[suffix]
    if value_s and not value:
        warn(f'{template.origin}: zero result in {template.name} template conversion of parameter "{name}"')
        warn(f'please reduce time unit "{suffix}" of "{name}" in {template.name} template')
        warn("for instructions see the bounce(5) manual")
    return str(value)
