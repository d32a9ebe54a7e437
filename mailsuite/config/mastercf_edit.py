"""Changing master.cf and leaving the rest of it alone.

    edit_text(text, decide)      decide("smtp/inet") -> KEEP, REMOVE, COMMENT_OUT, a text, or a function on MasterLine

A text takes the place of the entry's first line. A function gets the whole entry, so what it makes stands where the
entry's continuation ended: comments between its lines come before it.
"""

from collections.abc import Callable
from typing import Final

from mailsuite.config.maincf import COMMENT_OUT, LogicalLine, is_comment, physical_lines
from mailsuite.config.mastercf_syntax import MasterLine, format_line, parse_line

KEEP: Final = None
REMOVE: Final = ""
Change = Callable[[MasterLine], MasterLine]
Decision = str | Change | None


def edit_text(text: str, decide: Callable[[str], Decision]) -> str:
    """text after the decision on each entry. Raises ConfigError: an entry to be changed cannot be read."""
    out: list[str] = []
    pending: list[str] = []
    decision: Decision = KEEP

    def flush() -> None:
        if pending and callable(decision):
            line = parse_line(LogicalLine("".join(part.rstrip("\n") for part in pending), 0, 0))
            out.append(format_line(decision(line), fold=True) + "\n")
        pending.clear()

    for physical in physical_lines(text):
        if is_comment(physical):
            out.append(physical)
            continue
        if physical[0] not in " \t":
            flush()
            decision = decide("/".join(physical.split()[:2]))
            if isinstance(decision, str) and decision not in (REMOVE, COMMENT_OUT):
                out.append(decision.rstrip("\n") + "\n")
        if decision is KEEP:
            out.append(physical)
        elif decision == COMMENT_OUT:
            out.append(COMMENT_OUT + physical)
        elif callable(decision):
            pending.append(physical)
    flush()
    return "".join(out)


def with_override(line: MasterLine, name: str, value: str | None) -> MasterLine:
    """The entry with -o name=value set in its place or behind the other options; None removes it."""
    places = [place for place, other, _ in line.overrides() if other == name]
    arguments = list(line.arguments)
    if value is None:
        for place in reversed(places):
            del arguments[place:place + 2]
    elif places:
        for place in places:
            arguments[place + 1] = f"{name}={value}"
    else:
        end = line.options_end()
        arguments[end:end] = ["-o", f"{name}={value}"]
    return MasterLine(line.fields, arguments)


def with_field(line: MasterLine, field: str, value: str) -> MasterLine:
    """The entry with one column, or the command with its arguments, replaced. Raises ConfigError."""
    from mailsuite.config.mastercf_syntax import FIELDS

    columns = list(line.fields)
    if field == "command":
        return parse_line(" ".join([*columns[:7], value]))
    columns[FIELDS.index(field)] = value
    return MasterLine(columns, line.arguments)
