"""qshape: how old the mail of a queue is, by domain. See qshape(1).

    qshape [-s] [-p] [-m min_subdomains] [-b bucket_count] [-t bucket_time] [-l] [-w terminal_width]
           [-N batch_msg_count] [-n batch_top_domains] [-c config_directory] [queue_name ...]

Without queue names: incoming and active. A name that begins with "/" is a folder. -s counts senders, -p adds parent
domains with at least -m (5) subdomains. On a terminal the table is shown anew after every -N (1000) messages, with its
-n (20) largest rows. For root and the queue's owner. Exit: 0, 1.
"""

import os
import sys
import time
from typing import TYPE_CHECKING

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailsuite.queue.file import Stored

PROGRAM = "qshape"
USAGE = ("usage: qshape [-s] [-p] [-m min_subdomains] [-l] [-b bucket_count] [-t bucket_time] [-w terminal_width] "
         "[-N batch_msg_count] [-n batch_top_domains] [-c config_directory] [queue_name ...]")
CLEAR = "\x1b[H\x1b[2J\x1b[3J"
BUCKETS_MOST = 64


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "b:c:lm:N:n:pst:w:", USAGE, 1)
    given = dict(options)
    settings = load(given.get("-c", default_directory()), PROGRAM, 1)
    from mailsuite.queue.shape import Ages, Shape, domain_of
    number = {letter: _number(given, letter, usual) for letter, usual in
              {"b": 10, "t": 5, "m": 5, "w": 80, "N": 1000, "n": 20}.items()}
    ages = Ages(min(number["b"], BUCKETS_MOST), number["t"], "-l" in given)
    shape = Shape(ages, parents=number["m"] if "-p" in given else 0)
    live = sys.stdout.isatty()

    def show() -> None:
        lines = shape.lines(width=number["w"], most=number["n"] if live else 0)
        sys.stdout.write((CLEAR if live else "") + "".join(line + "\n" for line in lines))

    from mailsuite.queue.store import open_store
    from mailsuite.queue.to_files import bring_to_files
    bring_to_files(open_store(settings))
    now = time.time()
    for word in words or ("incoming", "active"):
        for stored in _messages(os.path.join(settings.text("queue_directory"), word), word):
            if "-s" in given:
                domains = [domain_of(stored.envelope.sender)]
            elif not stored.recipients:
                continue
            else:
                domains = [domain_of(one.address) for one in stored.recipients]
            shape.add(domains, now - stored.envelope.arrival_time)
            if live and shape.messages % number["N"] == 0:
                show()
    show()
    return 0


def _number(given: dict[str, str], letter: str, usual: int) -> int:
    """An option's value; what is no number above zero is passed over, as the original does."""
    text = given.get(f"-{letter}", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) else usual


def _messages(folder: str, word: str) -> "Iterator[Stored]":
    """Whole queue files below a folder. A file that has gone, or is none, is passed over."""
    from mailsuite.queue.file import Damaged, read
    from mailsuite.queue.ids import is_id
    try:
        os.scandir(folder).close()
    except FileNotFoundError:
        warn(PROGRAM, f"Can't stat {word}: No such file or directory")
        return
    except OSError as error:
        fatal(PROGRAM, f"Can't cd to {word}: {error.strerror}", 1)
    for top, _, names in os.walk(folder):
        for name in names:
            if not is_id(name):
                continue
            try:
                fd = os.open(f"{top}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                yield read(fd)
            except (Damaged, OSError):
                continue
            finally:
                os.close(fd)


if __name__ == "__main__":
    sys.exit(main())
