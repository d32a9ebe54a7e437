"""`make docs`: bring the tables and pages of the manual up to date with the source.

    python -m mailsuite.config.manual.write [--check]

It takes out of text_*.py what the source says by now: the meaning of a parameter that is declared, the !GROUP of one
that is read; then it writes docs/parameters.md, docs/dovecot-settings.md and the list in docs/differences.md. What
only a person can write (a meaning, a reason) it asks for, and ends with status 1. --check changes nothing and names
what is not up to date.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import mailsuite
from mailsuite.config import registry
from mailsuite.config.dovecot_defaults import ROOT
from mailsuite.config.manual import tables
from mailsuite.config.manual.dovecot_text import MEANINGS
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS

HOME = Path(mailsuite.__path__[0]).parent
# Set by the program that asks, never by main.cf.
NOT_SETTABLE = frozenset({*COMPUTED, "service_name"})


def mended(text: str, read: set[str]) -> str:
    """The source of a text_*.py without what the code says by now. read: names that it reads."""
    head, opening, rest = text.partition('TEXT = r"""\n')
    body, closing, tail = rest.partition('"""')
    rows = re.split(r"\n(?! )", body.rstrip("\n"))
    kept = [new for row in rows if (new := _mended_row(row, read))]
    return head + opening + "\n".join(kept) + "\n" + closing + tail


def _mended_row(row: str, read: set[str]) -> str:
    match = tables.LINE.fullmatch(row.replace("\n    ", " "))
    if match is None:
        return row
    name, group, _, meaning = match.groups()
    if name in registry.declared() and meaning:
        row, meaning = row[:match.end(1)] + (row[match.end(1):].partition(":")[0]) + ":", None
    if name in read and group:
        row = name + row[row.index(":"):]
        group = None
    return row if group or meaning else ""


def complaints(read: set[str], dovecot_read: set[str]) -> Iterator[str]:
    """What a person must write."""
    from mailsuite.config.manual.entries import every_name, meaning

    where = "mailsuite/config/manual/text_*.py"
    for name in every_name():
        line = tables.LINES.get(name)
        if not meaning(name):
            yield f"{name}: has no meaning: add `{name}: MEANING` to {where}, or declare it as a Param"
        if name not in read and name not in NOT_SETTABLE and not (line and line.group):
            yield (f"{name}: nothing in our source reads it (mailsuite/config/manual/reads.py tells how that is found "
                   f"out): add `{name} !GROUP:` to {where} with one of the reasons in tables.py, or read it")
    for name in tables.LINES.keys() - set(every_name()):
        yield f"{name}: in {where}, but there is no such parameter"
    for name in sorted(dovecot_read - MEANINGS.keys()):
        yield f"{name}: a setting of dovecot.conf that our source reads: add its meaning to dovecot_text.py"
    for name in sorted(name for name in MEANINGS.keys() - dovecot_read if "/" not in name):
        yield f"{name}: in dovecot_text.py, but nothing in our source reads it: take it out"


def stale(read: set[str]) -> Iterator[tuple[Path, str]]:
    """Files that are not what they should be, with what they should be."""
    for module in tables.modules():
        path = HOME / Path(*module.split(".")).with_suffix(".py")
        if (new := mended(path.read_text(), read)) != path.read_text():
            yield path, new


def stale_pages() -> Iterator[tuple[Path, str]]:
    """As stale, for the pages in docs/."""
    from mailsuite.config.manual import render

    differences = HOME / "docs/differences.md"
    for path, new in ((HOME / "docs/parameters.md", render.parameters_page()),
                      (HOME / "docs/dovecot-settings.md", render.dovecot_page()),
                      (differences, render.with_unobeyed(differences.read_text()))):
        if not path.exists() or path.read_text() != new:
            yield path, new


def _write(found: Iterable[tuple[Path, str]]) -> None:
    for path, new in found:
        path.write_text(new)
        print(f"written: {path.relative_to(HOME)}")


def main() -> int:
    """The exit status."""
    from mailsuite.config.manual.reads import reads

    registry.import_all()
    read = set(reads({*DEFAULTS, *COMPUTED, *registry.declared()}))
    if "--check" in sys.argv[1:]:
        found = [str(path.relative_to(HOME)) for path, _ in (*stale(read), *stale_pages())]
        problems = [f"{path}: not up to date, run `make docs`" for path in found]
    else:
        changed = list(stale(read))
        _write(changed)
        if changed:                 # the tables are imported already: begin anew
            return subprocess.run([sys.executable, "-m", __spec__.name], check=False).returncode
        problems = []
    problems += complaints(read, set(reads(set(ROOT))))
    if "--check" not in sys.argv[1:]:
        _write(list(stale_pages()))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
