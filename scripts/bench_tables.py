"""How fast `postmap -q -` and `postmap` are beside Postfix's own, start of the program included.

    bench_tables.py --bin .venv/bin [--rounds 7] [--output docs/performance.md]

Prints a section of docs/performance.md; with --output it takes the place of the old one there. The programs take turns
over the same keys, and their answers are compared; a ratio is that of neighbouring runs. Needs Debian's Postfix with
postfix-lmdb and postfix-pcre. Exit status: 0 measured, 1 Postfix is missing or an answer differs.
"""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from random import Random
from typing import NamedTuple

POSTFIX = Path("/usr/sbin/postmap")
TITLE = "## Lookup tables, against Postfix"
INTRO = """
`make bench-tables`: one call of each program's postmap, its start included. `ask`: 100,000 keys of a table of as many
(hash, btree, lmdb), 10,000 keys of 1,000 rules (pcre, regexp, cidr). `build`: 100,000 entries. Seconds by the clock
and of the processor (medians), and how many times as fast mailsuite is (minimum, median, maximum of the pairs).
"""
KEYS, RULES, RULE_KEYS = 100_000, 1000, 10_000


class Run(NamedTuple):
    """One call: seconds by the clock, seconds of the processor, standard output."""

    wall_s: float
    cpu_s: float
    output: bytes


def call(program: Path, arguments: list[str], folder: Path, keys: Path | None) -> Run:
    """Raises CalledProcessError."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with open(keys or os.devnull, "rb") as standard_input:
        done = subprocess.run([str(program), "-c", str(folder), *arguments], stdin=standard_input, check=True,
                              stdout=subprocess.PIPE, cwd=folder)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Run(wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout)


def write_files(folder: Path) -> None:
    """Sources and keys, the same in each run."""
    chance = Random(1)
    (folder / "main.cf").write_text("compatibility_level = 3.7\n")
    names = list({f"user{chance.randrange(10**8)}@domain{chance.randrange(5000)}.example.org" for _ in range(KEYS)})
    names.sort()
    chance.shuffle(names)
    (folder / "entries").write_text("".join(f"{name} value-{number}\n" for number, name in enumerate(names)))
    chance.shuffle(names)
    (folder / "keys").write_text("".join(f"{name}\n" for name in names))
    rules, asked = [], []
    for number in range(RULES):
        host = rf"host{number}\.example{number % 37}\.org"
        rules.append((f"/^user{number}@{host}$/ REJECT {number}", f"/@{host}$/ OK {number}",
                      rf"/^(.*)\+tag{number}@(.*)$/ $1@$2", rf"/^[a-z]+{number}\.[0-9]*@/ DUNNO",
                      f"/(spam|junk){number}[^@]*@/ REJECT")[number % 5])
    for _ in range(RULE_KEYS):
        number = chance.randrange(RULES * 7 // 5)
        host = f"host{number}.example{number % 37}.org"
        asked.append(chance.choice((f"user{number}@{host}", f"bob@{host}", f"bob+tag{number}@x.org",
                                    f"abc{number}.12@y.org", f"xspam{number}q@z.net", f"nobody{number}@elsewhere.net")))
    (folder / "rules").write_text("\n".join(rules) + "\n")
    (folder / "rule_keys").write_text("\n".join(asked) + "\n")
    (folder / "nets").write_text("".join(f"10.{n // 256}.{n % 256}.0/24 net{n}\n" for n in range(RULES)))
    (folder / "net_keys").write_text("".join(f"10.{chance.randrange(6)}.{chance.randrange(256)}.9\n"
                                             for _ in range(RULE_KEYS)))
    for name in folder.iterdir():
        os.utime(name, (1, 1))          # Postfix waits for files that may still be written


def measure(what: str, ours: Path, rounds: int, arguments: list[str], folders: tuple[Path, Path],
            keys: str = "") -> str:
    """A line of the table. Raises SystemExit when the answers differ."""
    runs: tuple[list[Run], list[Run]] = ([], [])
    for _ in range(rounds):
        for side, program in enumerate((ours, POSTFIX)):
            runs[side].append(call(program, arguments, folders[side], folders[side] / keys if keys else None))
    if runs[0][0].output != runs[1][0].output:
        raise SystemExit(f"{what}: the answers differ")

    def ratios(of: str) -> str:
        values = sorted(getattr(theirs, of) / getattr(own, of) for own, theirs in zip(*runs, strict=True))
        return f"{values[0]:5.2f} {statistics.median(values):5.2f} {values[-1]:5.2f}"

    medians = [statistics.median(getattr(run, of) for run in side) for of in ("wall_s", "cpu_s") for side in runs]
    return (f"{what:14} {medians[0]:8.3f} {medians[1]:8.3f}   {ratios('wall_s')}   {medians[2]:8.3f} {medians[3]:8.3f}"
            f"   {ratios('cpu_s')}")


def section(ours: Path, rounds: int) -> str:
    """The section's text."""
    lines = ["                    by the clock, s        ratio               of the processor, s       ratio",
             "               mailsuite  postfix    min   med   max   mailsuite  postfix    min   med   max"]
    with tempfile.TemporaryDirectory() as top:
        folders = Path(top) / "ours", Path(top) / "postfix"
        for folder in folders:
            folder.mkdir()
            write_files(folder)
        for kind in ("hash", "btree", "lmdb"):
            lines.append(measure(f"build {kind}", ours, rounds, [f"{kind}:entries"], folders))
            lines.append(measure(f"ask {kind}", ours, rounds, ["-q", "-", f"{kind}:entries"], folders, "keys"))
        for kind, table, keys in (("pcre", "rules", "rule_keys"), ("regexp", "rules", "rule_keys"),
                                  ("cidr", "nets", "net_keys")):
            lines.append(measure(f"ask {kind}", ours, rounds, ["-q", "-", f"{kind}:{table}"], folders, keys))
    return f"{TITLE}\n{INTRO}\n```\n" + "\n".join(lines) + "\n```\n"


def put_into(page: str, text: str) -> str:
    """The page with its section replaced, or with one more."""
    old = re.compile(rf"^{re.escape(TITLE)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if old.search(page):
        return old.sub(lambda found: text + ("\n" if found.end() < len(page) else ""), page)
    return page.rstrip("\n") + "\n\n" + text


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    if not POSTFIX.exists():
        print("Postfix is not installed", file=sys.stderr)
        return 1
    text = section((args.bin / "postmap").absolute(), args.rounds)
    if args.output:
        args.output.write_text(put_into(args.output.read_text(), text))
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
