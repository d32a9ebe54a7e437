"""One parameter with all that is known of it in one configuration: meaning, value in force, and where that comes from.

    explain("mynetworks", "/etc/postfix") -> [Explanation(...)]      a name of main.cf, of dovecot.conf, or of both
    as_text(explanation) -> lines for people        as_json(explanation) -> JSON types

Names in dovecot.conf: mail_location, passdb/driver (every section of that type), service/auth/user (one section).
What is wrong with the files elsewhere does not matter here. Raises ConfigError: a file cannot be read or parsed.
"""

import difflib
import os
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_defaults, expansion
from mailsuite.config.dovecot import DovecotSettings, Section, read
from mailsuite.config.maincf import read_text
from mailsuite.config.manual.dovecot_text import MEANINGS
from mailsuite.config.manual.entries import entry, every_name
from mailsuite.config.manual.unobeyed import SEE, why_unobeyed
from mailsuite.config.mastercf_syntax import parse_master_cf
from mailsuite.config.settings import RAW, Settings

DEFAULT = "default"


class Value(NamedTuple):
    """A value in force. where: "FILE, line N", or "default". service: "" or the one whose -o gives it."""

    written: str
    expanded: str
    where: str
    service: str = ""


@dataclass(frozen=True)
class Explanation:
    """program: postfix (main.cf) or dovecot. refers: names that the value mentions, with their expanded values."""

    name: str
    program: str
    meaning: str
    default: str
    kind: str
    since: str
    differs: tuple[str, ...]
    obeyed: bool
    values: tuple[Value, ...]
    refers: Mapping[str, str]
    warning: str = ""


def explain(name: str, directory: str) -> list[Explanation]:
    """What is known of the name; [] when neither main.cf nor dovecot.conf knows it. Raises ConfigError."""
    found = []
    settings = Settings.load(directory, strict=False)
    if (item := _of_postfix(name, settings, directory)) is not None:
        found.append(item)
    path = f"{directory}/dovecot.conf"
    dovecot = DovecotSettings(read(path).root, path) if os.path.exists(path) else DovecotSettings.of("", path)
    if (item := _of_dovecot(name, dovecot)) is not None:
        found.append(item)
    return found


def near(name: str) -> list[str]:
    """Names of either program that look like this one."""
    names = {*every_name(), *dovecot_defaults.ROOT, *MEANINGS}
    return difflib.get_close_matches(name, sorted(names), n=3, cutoff=0.7)


# -- main.cf


def _of_postfix(name: str, settings: Settings, directory: str) -> Explanation | None:
    about = entry(name)
    if about is None and not settings.is_set(name):
        return None
    values = [Value(settings.raw(name), _expanded(settings, name), settings.where(name).removesuffix(": ") or DEFAULT)]
    values += _overrides(name, settings, directory)
    refers = {other: _expanded(settings, other) for other in _mentioned(value.written for value in values)}
    if about is None:
        return Explanation(name, "postfix", "A parameter of this configuration; Postfix and mailsuite do not know it.",
                           "", "text", "", (), True, tuple(values), refers)
    why = next((why for value in values if value.where != DEFAULT
                and (why := why_unobeyed(settings, name, value.written))), "")
    return Explanation(name, "postfix", about.meaning, about.default, about.kind, about.since, about.differs,
                       about.obeyed, tuple(values), refers, f"{why}; {SEE}" if why else "")


def _expanded(settings: Settings, name: str) -> str:
    try:
        return settings.raw(name) if name in RAW else settings.text(name)
    except ConfigError as error:
        return f"({error.public})"


def _mentioned(texts: Iterator[str]) -> list[str]:
    names: dict[str, None] = {}
    for text in texts:
        try:
            names.update(dict.fromkeys(expansion.references(text)))
        except ConfigError:
            continue
    return list(names)


def _overrides(name: str, settings: Settings, directory: str) -> Iterator[Value]:
    """What -o of master.cf says of the parameter, for each service."""
    path = f"{directory}/master.cf"
    if not os.path.exists(path):
        return
    for line in parse_master_cf(read_text(path), path).lines:
        given = {option: value for _, option, value in line.overrides()}
        if name in given:
            own = settings.with_overrides(given)
            yield Value(given[name], _expanded(own, name), f"{path}, line {line.first_line}", line.key)


# -- dovecot.conf


def _of_dovecot(name: str, dovecot: DovecotSettings) -> Explanation | None:
    section, _, setting = name.rpartition("/")
    kind, _, wanted = section.partition("/")
    default = dovecot_defaults.default_of(setting, kind)
    if default is None or wanted and "/" in wanted:
        return None
    values = tuple(_dovecot_values(dovecot, kind, wanted, setting))
    known = f"{kind}/{setting}" if kind else setting
    obeyed = known in MEANINGS
    differs = () if obeyed else ("not obeyed: it is checked and shown, and changes nothing",)
    return Explanation(known, "dovecot", MEANINGS.get(known, "A setting of Dovecot 2.3."), default,
                       dovecot_defaults.kind_of(setting, kind), "", differs, obeyed, values, {},
                       "" if obeyed or all(value.where == DEFAULT for value in values) else
                       "known, but not obeyed; see docs/dovecot-settings.md")


def _dovecot_values(dovecot: DovecotSettings, kind: str, wanted: str, setting: str) -> Iterator[Value]:
    if not kind:
        yield _dovecot_value(dovecot, setting, "")
        for node in dovecot.node.filters:
            if setting in node.values:
                yield _dovecot_value(Section(node, dovecot), setting, f"{node.type} {node.name}")
        return
    for section in _all_sections(dovecot, kind):
        if not wanted or section.name == wanted:
            yield _dovecot_value(section, setting, f"{kind} {section.name}".strip())


def _all_sections(section: Section, kind: str) -> Iterator[Section]:
    """Sections of the type, at any depth."""
    for outer in dovecot_defaults.NESTED.get(section.type, ()):
        for inner in section.sections(outer):
            if outer == kind:
                yield inner
            yield from _all_sections(inner, kind)


def _dovecot_value(section: Section, setting: str, service: str) -> Value:
    written = section.node.values.get(setting)
    if written is None:
        text = section.text(setting) if not section.default(setting).startswith("<") else ""
        return Value(section.default(setting), text, DEFAULT, service)
    return Value(written.written, f"<{written.file}" if written.file else written.text,
                 section.where(setting).replace(" line ", ", line ") or DEFAULT, service)


# -- output


def as_text(item: Explanation) -> str:
    """For people."""
    lines = [f"{item.name} ({'main.cf' if item.program == 'postfix' else 'dovecot.conf'})", *textwrap.wrap(
        item.meaning, 100, initial_indent="  ", subsequent_indent="  ")]
    for value in item.values:
        who = f" for {value.service}" if value.service else ""
        lines.append(f"  in force{who}: {value.written or '(empty)'}  [{value.where}]")
        if value.expanded != value.written:
            lines.append(f"    that is: {value.expanded or '(empty)'}")
    lines += [f"    ${name} = {text or '(empty)'}" for name, text in item.refers.items()]
    lines += [f"  default: {item.default or '(empty)'}", f"  value: {item.kind}"]
    if item.since:
        lines.append(f"  since: Postfix {item.since}")
    lines += [f"  differs: {text}" for text in item.differs]
    if item.warning:
        lines.append(f"  warning: {item.warning}")
    return "\n".join(lines)


def as_json(item: Explanation) -> dict[str, object]:
    """For programs."""
    return {**asdict(item), "values": [value._asdict() for value in item.values], "refers": dict(item.refers)}
