"""The manual as pages in docs/: what `make docs` writes and a test compares.

    parameters_page() -> text of docs/parameters.md        dovecot_page() -> docs/dovecot-settings.md
    with_unobeyed(text of docs/differences.md) -> the same with its list of what nothing obeys
"""

from collections.abc import Iterable

from mailsuite.config import dovecot_defaults
from mailsuite.config.manual.dovecot_text import MEANINGS
from mailsuite.config.manual.entries import OWN, Entry, entry, every_name
from mailsuite.config.manual.tables import GROUPS, LINES
from mailsuite.config.postfix_defaults import transport_suffixes

BEGIN, END = "<!-- begin: written by make docs -->", "<!-- end: written by make docs -->"
_PARAMETERS = """\
# Parameters of main.cf

Every parameter of Postfix 3.7 to 3.11, and our own ("not in Postfix"). Written by `make docs`; change the declaration
of the parameter, or `mailsuite/config/manual/`, instead. For one parameter with the value in force, and where it comes
from: `mailsuite config explain NAME`.

*Default* is what holds when main.cf does not set it. *Since* is the version of Postfix that brought it; none: 1.1 or
before. **Not obeyed** means that nothing here reads it: `mailsuite check` and `start` warn when it is set to
something that we would not do anyway; [differences.md](differences.md#parameters-that-nothing-obeys) has the list by
reason. A time is a number with s, m, h, d or w behind it.

"""
_DOVECOT = """\
# Settings of dovecot.conf

Those that mailsuite obeys, with Dovecot 2.3's names. Written by `make docs` from
`mailsuite/config/manual/dovecot_text.py`. All other settings of Dovecot 2.3 may stand in dovecot.conf, are checked,
shown by `doveconf`, and change nothing; unknown ones are errors. For one setting with the value in force: `mailsuite
config explain NAME`.

"""


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _shown_default(item: Entry) -> str:
    if item.computed:
        return item.default
    return _code(item.default) if item.default else "(empty)"


def _paragraph(item: Entry) -> str:
    facts = [f"Default: {_shown_default(item)}", f"Value: {item.kind}"]
    if item.since:
        facts.append(f"Since: {item.since}")
    lines = [f"### {item.name}", item.meaning, "", " · ".join(facts)]
    differs = [text for text in item.differs if text != OWN and not text.startswith("not obeyed")]
    if item.own:
        lines += ["", "Not in Postfix."]
    if not item.obeyed:
        lines += ["", f"**Not obeyed**: {item.reason}."]
    if differs:
        lines += ["", f"Differs: {'; '.join(differs)}."]
    return "\n".join(lines) + "\n"


def parameters_page() -> str:
    """docs/parameters.md."""
    items = [item for name in every_name() if (item := entry(name)) is not None]
    letters = sorted({item.name[0] for item in items})
    first = {letter: next(item.name for item in items if item.name[0] == letter) for letter in letters}
    index = " ".join(f"[{letter}](#{first[letter]})" for letter in letters)
    transports = ", ".join(f"`{suffix}`" for suffix in sorted(transport_suffixes("pipe")))
    return (f"{_PARAMETERS}Each transport NAME of master.cf has parameters of its own, `NAME_` and one of: "
            f"{transports}. They hold for that transport in place of `default_...` (`command_time_limit` for "
            f"time_limit).\n\n{index}\n\n" + "\n".join(map(_paragraph, items)))


def dovecot_page() -> str:
    """docs/dovecot-settings.md."""
    rows: dict[str, list[str]] = {}
    for name, text in MEANINGS.items():
        section, _, setting = name.rpartition("/")
        default = dovecot_defaults.default_of(setting, section) or ""
        rows.setdefault(section, []).append(
            f"### {name}\n{text}\n\nDefault: {_code(default) if default else '(empty)'}\n")
    parts = [f"## {f'In {section} {{ }}' if section else 'At the top level'}\n\n" + "\n".join(found)
             for section, found in rows.items()]
    return _DOVECOT + "\n".join(parts)


def _unobeyed() -> Iterable[str]:
    for group in sorted(GROUPS):
        names = sorted(name for name, line in LINES.items() if line.group == group)
        if names:
            quiet = " (no warning: nothing depends on it)" if GROUPS[group].silent else ""
            # A line each, so that two who implement parameters at the same time do not meet in one.
            linked = ",\n  ".join(f"[{name}](parameters.md#{name.lower()})" for name in names)
            yield f"- {GROUPS[group].reason}{quiet}:\n  {linked}"


def with_unobeyed(text: str) -> str:
    """docs/differences.md with its generated list. Raises ValueError: the marks are missing."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"docs/differences.md has lost its marks: {BEGIN} and {END}")
    return before + BEGIN + "\n" + "\n".join(_unobeyed()) + "\n" + END + after
