"""Measure mailsuite beside Postfix and Dovecot in one run, and write docs/performance.md, but for what was tried.

    bench.py --bench ../shared/bench --bin .venv/bin --output docs/performance.md [--quick]

The two systems take turns; only ratios of one run mean anything. Needs root, Debian's Postfix and Dovecot, and an
account with uid 5000 (made if it is missing). Exit status: 0 measured, 1 a benchmark failed.
"""

import argparse
import datetime
import os
import platform
import pwd
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HEAD = """\
# Performance

Written by `make bench` on {date}: {cores} cores, {system}, Python {python}. Both systems of a pair took turns in
one run on the same machine; a ratio of 2.00 means that mailsuite is twice as fast. Compare ratios, not the absolute
figures of a busy machine.

## SMTP to Maildir, against Postfix

4 KB messages, a new connection for each, until the last one is in new/ (ratio: minimum, median, maximum of the pairs).

```
{smtp}
```

## IMAP and POP3, against Dovecot

An INBOX of {messages} messages; Dovecot tuned for many connections per process.

```
{imap}
```

## Signing and checking (SPF, DKIM, DMARC)

{identity}

{tables}
{notices}"""

TRIED = "## What was tried"


@contextmanager
def account(uid: int) -> Iterator[None]:
    """An account with this uid, for the time of the benchmark where there is none."""
    name = f"bench{uid}"
    try:
        pwd.getpwuid(uid)
    except KeyError:
        subprocess.run(["useradd", "--uid", str(uid), "--user-group", "--no-create-home", "--shell",
                        "/usr/sbin/nologin", name], check=True)
    else:
        name = ""
    try:
        yield
    finally:
        if name:
            subprocess.run(["userdel", name], check=True)


def run(*command: str) -> tuple[int, str]:
    """Exit status and standard output; what a benchmark says of its progress goes through."""
    done = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout.rstrip()


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bench", type=Path, required=True)
    parser.add_argument("--bin", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    args = parser.parse_args()
    if os.geteuid() != 0:
        print("the benchmarks start Postfix and Dovecot: run them as root", file=sys.stderr)
        return 1
    with account(5000):
        return measure(args)


def tried(page: Path) -> str:
    """The part of the page that people write."""
    _, mark, rest = page.read_text().partition(TRIED) if page.exists() else ("", "", "")
    return f"\n{mark}{rest}" if mark else ""


def measure(args: argparse.Namespace) -> int:
    """Run both benchmarks and write the page."""
    smtp_status, smtp = run(str(args.bench / "smtp_bench.py"), "--bin", str(args.bin),
                            *(["--sessions", "1,20", "--messages", "1000", "--pairs", "2"] if args.quick else []))
    messages = 5000 if args.quick else 20000
    imap_status, imap = run(str(args.bench / "imap_pair.py"), "--bin", str(args.bin), "--messages", str(messages),
                            *(["--pairs", "1"] if args.quick else []))
    identity_status, identity = run(str(Path(__file__).with_name("bench_identity.py")))
    tables_status, tables = run(str(Path(__file__).with_name("bench_tables.py")), "--bin", str(args.bin),
                                *(["--rounds", "3"] if args.quick else []))
    notices_status, notices = run(str(Path(__file__).with_name("bench_notices.py")),
                                  *(["--messages", "20"] if args.quick else []))
    text = HEAD.format(date=datetime.date.today(), cores=len(os.sched_getaffinity(0)), system=platform.system(),
                       python=platform.python_version(), smtp=smtp or "failed", imap=imap or "failed",
                       messages=f"{messages:,}", identity=identity or "failed", tables=tables.rstrip("\n") + "\n",
                       notices=(notices or "failed") + "\n")
    args.output.write_text(text + tried(args.output))
    print(text)
    return 1 if smtp_status or imap_status or identity_status or tables_status or notices_status else 0


if __name__ == "__main__":
    sys.exit(main())
