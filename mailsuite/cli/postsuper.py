"""postsuper: remove, hold, release, requeue mail; repair the queue's folders. See postsuper(1).

    postsuper [-c config_dir] [-d|-e|-f|-h|-H|-r queue_id|ALL|-]... [-psS] [queue...]

Works on the files themselves, whether the suite runs or not; qmgr notices that a file has gone. "-" reads ids from
standard input. Without options: -s and -p. For root and for the queue's owner. Exit: 0, 1.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

from mailsuite.cli.mailcommand import default_directory, fatal, load, log_also, parse

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from mailsuite.queue.store import QueueStore

PROGRAM = "postsuper"
USAGE = ("usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or "
         "un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] "
         "[-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]")
ALL_QUEUES = ("hold", "incoming", "active", "deferred")
STALE_S = 86400.0
EXPIRE = 0o010              # as in queue/file.py
# option: (queues it looks into, what is said of each, the summary)
ACTS = {
    "-d": ((*ALL_QUEUES, "maildrop"), "removed", "Deleted"),
    "-e": (ALL_QUEUES, "expired", "Force-expired"),
    "-h": (("incoming", "active", "deferred"), "placed on hold", "Placed on hold"),
    "-H": (("hold",), "released from hold", "Released from hold"),
    "-r": (ALL_QUEUES, "requeued", "Requeued"),
}


def main() -> int:
    """The console script."""
    options, queues = parse(PROGRAM, sys.argv[1:], "c:d:e:f:h:H:pr:sSv", USAGE, 1)
    directory = default_directory()
    for option, value in options:
        directory = value if option == "-c" else directory
    settings = load(directory, PROGRAM, 1)
    from mailsuite.queue.store import open_store
    store = open_store(settings)
    _check_rights(store)
    unknown = [queue for queue in queues if queue not in (*ALL_QUEUES, "maildrop", "defer", "bounce", "trace")]
    if unknown:
        fatal(PROGRAM, f"invalid directory name: {unknown[0]}", 1)
    log = log_also(PROGRAM, settings)
    tidy = not any(option in ACTS or option in ("-f", "-p", "-s", "-S") for option, _ in options)
    counts: dict[str, int] = {}
    for option, value in options:
        if option in ACTS or option == "-f":
            # -f is -e and -H in one.
            for act in ("-e", "-H") if option == "-f" else (option,):
                counts[act] = counts.get(act, 0) + _act(store, log, act, value, queues)
    for act, count in counts.items():
        log.info("%s: %d message%s", ACTS[act][2], count, "" if count == 1 else "s")
    if tidy or any(option in ("-s", "-S") for option, _ in options):
        fix_structure(store, log)
    if tidy or any(option == "-p" for option, _ in options):
        purge(store)
    return 0


def _check_rights(store: "QueueStore") -> None:
    """Postfix reserves this for root; here the owner of the queue may as well (a suite that a user runs)."""
    try:
        owner = os.stat(f"{store.directory}/incoming").st_uid
    except FileNotFoundError:
        return                      # no queue yet: nothing to do
    if os.geteuid() not in (0, owner):
        fatal(PROGRAM, "use of this command is reserved for the superuser", 1)


def _act(store: "QueueStore", log: "logging.Logger", option: str, value: str, queues: list[str]) -> int:
    """Do one option; returns how many messages it touched."""
    from mailsuite.queue.ids import is_id
    allowed, said, _ = ACTS[option]
    where = tuple(queue for queue in allowed if not queues or queue in queues)
    if value == "ALL":
        return sum(_one(store, option, queue, queue_id) for queue in where for queue_id in list(store.scan(queue)))
    wanted: Iterable[str] = (line.strip() for line in sys.stdin) if value == "-" else (value,)
    count = 0
    for queue_id in wanted:
        if not queue_id:
            continue
        if not is_id(queue_id):
            log.warning("invalid mail queue id: %s", queue_id)
        elif any(_one(store, option, queue, queue_id) for queue in (*where, *where)):
            # Twice: a message may move on between two looks.
            log.info("%s: %s", queue_id, said)
            count += 1
    return count


def _one(store: "QueueStore", option: str, queue: str, queue_id: str) -> bool:
    """One message in one queue; False when it is not there. Raises OSError."""
    try:
        if option == "-d":
            for log in ("defer", "bounce", "trace"):
                store.remove(log, queue_id)
            return store.remove(queue, queue_id)
        if option == "-e":
            path = store.path(queue, queue_id)
            os.chmod(path, os.stat(path).st_mode | EXPIRE)      # it is returned after the next attempt
            return True
        target = {"-h": "hold", "-H": "deferred", "-r": "maildrop"}[option]
        if option == "-H":
            os.utime(store.path(queue, queue_id))               # it is due at the next scan
        store.move(queue_id, queue, target)
        if option == "-r":
            store.remove("defer", queue_id)
        return True
    except FileNotFoundError:
        return False


def fix_structure(store: "QueueStore", log: "logging.Logger") -> None:
    """Move files to where hash_queue_names and hash_queue_depth want them."""
    for queue in (*ALL_QUEUES, "defer", "bounce", "trace"):
        for folder, queue_id in list(store.scan_paths(queue)):
            wanted = store.path(queue, queue_id)
            if f"{folder}/{queue_id}" != wanted:
                store.make_folder(os.path.dirname(wanted))
                os.rename(f"{folder}/{queue_id}", wanted)
                log.info("renamed file %s/%s as %s", folder, queue_id, wanted)


def purge(store: "QueueStore") -> None:
    """Remove what crashed programs left."""
    for queue in (*ALL_QUEUES, "maildrop", "defer"):
        for top, _, names in os.walk(f"{store.directory}/{queue}"):
            for name in names:
                path = f"{top}/{name}"
                if name.startswith(".new-") and os.lstat(path).st_mtime < time.time() - STALE_S:
                    os.unlink(path)


if __name__ == "__main__":
    sys.exit(main())
