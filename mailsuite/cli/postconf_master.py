"""postconf -M, -F, -P: services of master.cf, their columns and their -o parameters, shown and edited.

Patterns: service/type, service/type/column, service/type/parameter; "*" stands for any, and so do missing parts at
the end.
"""

from collections.abc import Callable

from mailsuite.base.errors import ConfigError
from mailsuite.cli.postconf_main import check_texts, expanded, read_master, service_names, tell_unused
from mailsuite.cli.postconf_options import Options, fatal, out, show, warn
from mailsuite.config import registry
from mailsuite.config.command import read_settled
from mailsuite.config.maincf import COMMENT_OUT, read_text, write_config
from mailsuite.config.mastercf_edit import KEEP, REMOVE, Decision, edit_text, with_field, with_override
from mailsuite.config.mastercf_syntax import (
    FIELDS,
    MasterLine,
    fold_arguments,
    format_command,
    format_line,
    parse_line,
)
from mailsuite.config.names import Names
from mailsuite.config.postfix_defaults import DEFAULTS
from mailsuite.config.settings import Settings

PARTS = {"M": 2, "F": 3, "P": 3}
NEEDS = {"M": "-M option requires service_name[/type]",
         "F": "-F option requires service_name[/type[/field]]",
         "P": "-P option requires service_name[/type[/parameter]]"}

ONE_SERVICE = "-Me, -MX or -M# requires service_name/type"


def run(options: Options) -> None:
    """Show or edit, as the options say."""
    what = next(flag for flag in "MFP" if flag in options)
    if "e" in options:
        edit(options, what)
    elif "X" in options or "#" in options:
        remove(options, what)
    else:
        display(options, what)


def split_pattern(text: str, what: str) -> list[str]:
    """A pattern's parts, "*" for those that are missing."""
    parts = text.split("/", 2) if what != "M" else text.split("/")
    if len(parts) > PARTS[what] or "/" in parts[-1] and what != "M":
        fatal(NEEDS[what])
    if what == "F" and len(parts) == 3 and parts[2] not in (*FIELDS, "*"):
        fatal(f'invalid service attribute name: "{parts[2]}"')
    return [*parts, *["*"] * (PARTS[what] - len(parts))]


def matches(pattern: str, text: str) -> bool:
    """Whether one part of a pattern fits."""
    return pattern in ("*", text)


# -- showing


def display(options: Options, what: str) -> None:
    """Every pattern's services, in the file's order."""
    master = read_master(options.directory, required=True)
    settings, names = _settings(options, master.lines)
    check_texts(settings, names)
    rows = [row for line in master.lines for row in _rows(line, what)]
    for word in options.words or ["*"]:
        pattern = split_pattern(word, what)
        found = [row for row in rows if all(map(matches, pattern, row[0].split("/", PARTS[what] - 1)))]
        if not found and options.words:
            warn(f'unmatched request: "{word}"')
        for name, line, value in found:
            _show(options, what, name, line, value, settings)
    tell_unused(options.directory, names, files=("master.cf",))


def _settings(options: Options, lines: list[MasterLine]) -> tuple[Settings, Names]:
    written = {entry.name: entry.value for entry in read_settled(f"{options.directory}/main.cf", warn).entries}
    overridden = {name for line in lines for _, name, _ in line.overrides()}
    if any(name not in DEFAULTS for name in written.keys() | overridden):
        registry.import_all()
    master = read_master(options.directory)
    return Settings(options.directory, written), Names(written, service_names(master))


def _rows(line: MasterLine, what: str) -> list[tuple[str, MasterLine, str]]:
    """(name, service, value) of all that -M, -F or -P tells of one service."""
    if what == "M":
        return [(line.key, line, "")]
    if what == "F":
        return [(f"{line.key}/{field}", line, format_command(line) if field == "command" else line.fields[place])
                for place, field in enumerate(FIELDS)]
    return [(f"{line.key}/{name}", line, value)
            for name, value in sorted({name: value for _, name, value in line.overrides()}.items())]


def _show(options: Options, what: str, name: str, line: MasterLine, value: str, settings: Settings) -> None:
    own = settings.with_overrides({"service_name": line.fields[0],
                                   **{option: text for _, option, text in line.overrides()}})
    if "x" in options and what != "P":
        arguments = list(line.arguments)
        for place, option, _ in line.overrides():
            arguments[place + 1] = f"{option}={expanded(own, option)}"
        line = MasterLine(line.fields, arguments)
        if what == "F" and name.endswith("/command"):
            value = format_command(line)
    if what == "M":
        out(format_line(line, fold="f" in options))
        return
    if what == "P" and "x" in options:
        value = expanded(own, name.split("/", 2)[2])
    if "f" in options and name.endswith("/command") and what == "F" and not options.flags & {"h", "H"}:
        out(fold_arguments(line, f"{name} = {line.fields[7]}"))
    else:
        show(options, name, value, as_is=what == "F")


# -- editing


def edit(options: Options, what: str) -> None:
    """-e: set a whole service, a column or a parameter."""
    if not options.words:
        fatal("-e requires name=value argument")
    path = f"{options.directory}/master.cf"
    text = read_text(path)
    for word in options.words:
        name, equals, value = word.partition("=")
        if not equals:
            fatal(f"missing '=' after attribute name: \"{word}\"")
        text = _set_service(text, word, name.strip(), value.strip()) if what == "M" else _set_part(
            text, word, what, name.strip(), value.strip())
    write_config(path, text)


def _set_service(text: str, word: str, name: str, value: str) -> str:
    """Replace the services that the name fits, or add one at the end."""
    if len(name.split("/")) != 2:
        fatal(ONE_SERVICE)
    try:
        line = format_line(parse_line(value), fold=True)
    except ConfigError as error:
        fatal(f'bad field count: "{word}"' if "field count" in error.public else error.public)
    found = False

    def decide(key: str) -> Decision:
        nonlocal found
        if key != name:
            return KEEP
        # Of several of that name one is left.
        first, found = not found, True
        return line if first else REMOVE

    text = edit_text(text, decide)
    if found:
        return text
    return text + ("" if text.endswith("\n") or not text else "\n") + line + "\n"


def _set_part(text: str, word: str, what: str, name: str, value: str) -> str:
    """Set a column (-F) or a parameter (-P) of every service that the pattern fits."""
    _whole_pattern(name, what)
    parts = split_pattern(name, what)
    found = False
    if what == "P" and any(blank in value for blank in " \t"):
        fatal("-Pe does not accept whitespace in parameter value")
    if what == "F":
        _check_field(parts[2], value)

    def change(line: MasterLine) -> MasterLine:
        return with_override(line, parts[2], value) if what == "P" else with_field(line, parts[2], value)

    def decide(key: str) -> Decision:
        nonlocal found
        if not all(map(matches, parts[:2], key.split("/", 1))):
            return KEEP
        found = True
        return change

    text = edit_text(text, decide)
    if not found:
        warn(f'unmatched service_name/type: "{word}"')
    return text


def _whole_pattern(name: str, what: str) -> None:
    """All three parts must be there."""
    parts = name.split("/")
    if len(parts) != 3 or not all(parts):
        fatal(f"-{what}e or -{what}X requires service_name/type/{'field_name' if what == 'F' else 'parameter'}")


def _check_field(field: str, value: str) -> None:
    from mailsuite.config.mastercf_syntax import SHAPES

    if field not in FIELDS:
        fatal(f'invalid service attribute name: "{field}"')
    if field in SHAPES and not SHAPES[field].fullmatch(value):
        fatal(f'invalid {field} field "{value}" in "{value}"')


def remove(options: Options, what: str) -> None:
    """-X takes services (-M) or parameters (-P) away, -# comments services out."""
    if not options.words:
        fatal("missing service argument")
    path = f"{options.directory}/master.cf"
    text = read_text(path)
    for word in options.words:
        if "=" in word:
            fatal(f"specify one of -e {'-X' if 'X' in options else '-#'}")
        if what == "M" and len(word.split("/")) != 2:
            fatal(ONE_SERVICE)
        parts = split_pattern(word, what)
        if what == "P":
            _whole_pattern(word, what)
        text = edit_text(text, _remover(parts, what, REMOVE if "X" in options else COMMENT_OUT))
    write_config(path, text)


def _remover(parts: list[str], what: str, how: str) -> Callable[[str], Decision]:
    def without(line: MasterLine) -> MasterLine:
        return with_override(line, parts[2], None)

    def decide(key: str) -> Decision:
        if not all(map(matches, parts[:2], key.split("/", 1))):
            return KEEP
        return how if what == "M" else without

    return decide
