"""postsuper: remove, hold, release, requeue mail; repair the queue's folders. See postsuper(1).

    postsuper [-psSv] [-c config_dir] [-d|-e|-f|-h|-H|-r queue_id|ALL|-]... [queue...]

Works on the files themselves, whether the suite runs or not; qmgr notices that a file has gone. "-" reads ids from
standard input. Without options: -s and -p, which come before all else. For root and for the queue's owner; root becomes
the owner first. Exit: 0, 1.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

from mailsuite.cli.mailcommand import become_owner, default_directory, fatal, load, log_also, parse

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable, Sequence

    from mailsuite.queue.admin import Act
    from mailsuite.queue.store import QueueStore

PROGRAM = "postsuper"
USAGE = ("usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or "
         "un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] "
         "[-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]")
ACTS = {"-d": ("DELETE",), "-e": ("EXPIRE",), "-f": ("EXPIRE", "RELEASE"), "-h": ("HOLD",), "-H": ("RELEASE",),
        "-r": ("REQUEUE",)}


def main() -> int:
    """The console script."""
    options, queues = parse(PROGRAM, sys.argv[1:], "c:d:e:f:h:H:pr:sSv", USAGE, 1)
    directory = default_directory()
    for option, value in options:
        directory = value if option == "-c" else directory
    settings = load(directory, PROGRAM, 1)
    from mailsuite.queue.store import open_store
    from mailsuite.queue.tidy import FOLDERS
    from mailsuite.queue.to_files import bring_to_files
    store = open_store(settings)
    _check_rights(store)
    log = log_also(PROGRAM, settings)
    unknown = [queue for queue in queues if queue not in (*FOLDERS, "flush")]
    if unknown:
        fatal(PROGRAM, f"invalid directory name: {unknown[0]}", 1)
    become_owner(store.directory)
    bring_to_files(store)
    given = {option for option, _ in options}
    tidy = not given & {*ACTS, "-p", "-s", "-S"}
    try:
        if tidy or given & {"-s", "-S"}:
            _fix(store, log, queues or FOLDERS, long_names="-S" in given)
        if tidy or "-p" in given:
            _purge(store, queues or FOLDERS)
        _work(store, log, [(option, value) for option, value in options if option in ACTS], queues)
    except OSError as error:
        fatal(PROGRAM, f"{error.filename or store.directory}: {error.strerror}", 1)
    return 0


def _check_rights(store: "QueueStore") -> None:
    """Postfix reserves this for root; here the owner of the queue may as well (a suite that a user runs)."""
    try:
        owner = os.stat(f"{store.directory}/incoming").st_uid
    except FileNotFoundError:
        return                          # no queue yet: nothing to do
    if os.geteuid() not in (0, owner):
        fatal(PROGRAM, "use of this command is reserved for the superuser", 1)


def _fix(store: "QueueStore", log: "logging.Logger", folders: "Sequence[str]", *, long_names: bool) -> None:
    from mailsuite.queue.tidy import fix_structure
    renamed = fix_structure(store, lambda text: log.warning("%s", text), folders=folders, long_names=long_names)
    if renamed:
        log.info("Renamed to match inode number: %d message%s", renamed, "" if renamed == 1 else "s")
        log.warning("QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS")


def _purge(store: "QueueStore", folders: "Sequence[str]") -> None:
    from mailsuite.queue.tidy import purge
    purge(store, time.time(), folders=folders)


def _work(store: "QueueStore", log: "logging.Logger", options: list[tuple[str, str]], queues: list[str]) -> None:
    """-d to -r, "ALL" first, else in the order given; then what was done in numbers."""
    from mailsuite.queue.admin import Act, on_all
    counts: dict[Act, int] = {}
    for option, value in sorted(options, key=lambda item: item[1] != "ALL"):
        acts = [Act[name] for name in ACTS[option]]
        for act in acts:
            counts.setdefault(act, 0)
        if value == "ALL":
            for act in acts:
                counts[act] += on_all(store, act, _looked_into(act, queues))
            continue
        wanted: Iterable[str] = (line.rstrip("\n") for line in sys.stdin) if value == "-" else (value,)
        for queue_id in wanted:
            _one(store, log, acts, queue_id, queues, counts)
    for act in Act:
        if act in counts:
            log.info("%s", act.total(counts[act]))


def _looked_into(act: "Act", queues: list[str]) -> list[str]:
    return [queue for queue in act.queues if not queues or queue in queues]


def _one(store: "QueueStore", log: "logging.Logger", acts: "list[Act]", queue_id: str, queues: list[str],
         counts: "dict[Act, int]") -> None:
    from mailsuite.queue.admin import on_one
    from mailsuite.queue.ids import may_be_id
    if not may_be_id(queue_id):
        log.warning("invalid mail queue id: %s", queue_id[:100])
        return
    for act in acts:
        if on_one(store, act, queue_id, _looked_into(act, queues)):
            log.info("%s: %s", queue_id, act.said)
            counts[act] += 1


if __name__ == "__main__":
    sys.exit(main())
