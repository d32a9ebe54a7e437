"""Sessions by day, policy and result: an SQLite file that the smtp processes share.

    add(path, "2026-11-20", {outcome: 3}, contacts={"a.test": "v=TLSRPTv1;..."}, keep_days=30, limit=100000)
    rows(path, "2026-11-20") -> [(Outcome, sessions), ...]
    days(path) -> ["2026-11-19", ...]       contacts(path, day) -> {"a.test": "v=TLSRPTv1;..."}

Calls block (some ms, at most LOCK_S): not for an event loop. What a domain's servers do makes rows, so there is a
limit: beyond it, outcomes that were not seen that day before are left out. Raises TemporaryError.
"""

import contextlib
import datetime
import json
import sqlite3
from collections.abc import Iterator, Mapping

from mailsuite.base.errors import TemporaryError
from mailsuite.tlsrpt.outcome import Outcome

LOCK_S = 5.0
_TABLES = """
CREATE TABLE IF NOT EXISTS sessions (
    day TEXT, domain TEXT, kind TEXT, policy TEXT, patterns TEXT, result TEXT, host TEXT, sender TEXT, receiver TEXT,
    reason TEXT, count INTEGER,
    PRIMARY KEY (day, domain, kind, policy, patterns, result, host, sender, receiver, reason)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contacts (day TEXT, domain TEXT, record TEXT, PRIMARY KEY (day, domain)) WITHOUT ROWID;
"""


@contextlib.contextmanager
def _database(path: str, *, create: bool) -> Iterator[sqlite3.Connection]:
    try:
        mode = "rwc" if create else "ro"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode={mode}", uri=True, timeout=LOCK_S)) as database:
            if create:
                database.executescript(_TABLES)
            yield database
    except sqlite3.Error as error:
        raise TemporaryError("TLS reports unavailable", detail=f"{path}: {error}") from error


def add(path: str, day: str, counts: Mapping[Outcome, int], *, contacts: Mapping[str, str], keep_days: int,
        limit: int) -> None:
    """Count sessions; forget days that are older than keep_days. contacts: domains' TLSRPT records."""
    oldest = (datetime.date.fromisoformat(day) - datetime.timedelta(days=keep_days)).isoformat()
    with _database(path, create=True) as database, database:
        known = database.execute("SELECT count(*) FROM sessions WHERE day = ?", (day,)).fetchone()[0]
        for outcome, number in counts.items():
            key = (day, *_key(outcome))
            changed = database.execute(
                "UPDATE sessions SET count = count + ? WHERE day = ? AND domain = ? AND kind = ? AND policy = ? AND "
                "patterns = ? AND result = ? AND host = ? AND sender = ? AND receiver = ? AND reason = ?",
                (number, *key)).rowcount
            if not changed and known < limit:
                database.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, number))
                known += 1
        database.executemany("INSERT OR REPLACE INTO contacts VALUES (?, ?, ?)",
                             [(day, domain, record) for domain, record in contacts.items()])
        for table in ("sessions", "contacts"):
            database.execute(f"DELETE FROM {table} WHERE day < ?", (oldest,))


def _key(outcome: Outcome) -> tuple[str, ...]:
    return (outcome.domain, outcome.kind, json.dumps(outcome.policy), json.dumps(outcome.patterns), outcome.result,
            outcome.host, outcome.sender, outcome.receiver, outcome.reason)


def rows(path: str, day: str) -> list[tuple[Outcome, int]]:
    """What was counted on a day, by domain."""
    with _database(path, create=False) as database:
        found = database.execute("SELECT domain, kind, policy, patterns, result, host, sender, receiver, reason, count "
                                 "FROM sessions WHERE day = ? ORDER BY 1, 2, 3, 4, 5, 6, 7, 8, 9", (day,)).fetchall()
    return [(Outcome(domain, kind, tuple(json.loads(policy)), tuple(json.loads(patterns)), *rest), count)
            for domain, kind, policy, patterns, *rest, count in found]


def contacts(path: str, day: str) -> dict[str, str]:
    """Each domain's TLSRPT record of that day: where it wants its report."""
    with _database(path, create=False) as database:
        return dict(database.execute("SELECT domain, record FROM contacts WHERE day = ?", (day,)).fetchall())


def days(path: str) -> list[str]:
    """Those that anything is known of, oldest first."""
    with _database(path, create=False) as database:
        return [day for day, in database.execute("SELECT DISTINCT day FROM sessions ORDER BY 1").fetchall()]
