"""postqueue: look at the mail queue and have it tried. See postqueue(1).

    postqueue -p | -j | -f | -i queueid | -s site

Runs as any user: the listing comes from showq over public/showq, requests go to qmgr over public/qmgr; both ask the
kernel who we are. While the suite is down, whoever may read the queue's folders sees the listing all the same.
Exit: 0, 69 (EX_UNAVAILABLE).
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mailsuite.cli.mailcommand import EX_UNAVAILABLE, default_directory, fatal, load, parse, warn

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.queue.listing import Listed

PROGRAM = "postqueue"
USAGE = ("usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site")
ANSWER_S = 60.0


def main() -> int:
    """The console script."""
    options, words = parse(PROGRAM, sys.argv[1:], "c:fi:jps:v", USAGE, EX_UNAVAILABLE)
    directory, act, value = default_directory(), "", ""
    for option, given in options:
        if option == "-c":
            directory = given
        elif option != "-v":
            if act:
                fatal(PROGRAM, USAGE, EX_UNAVAILABLE)
            act, value = option, given
    if words or not act:
        fatal(PROGRAM, USAGE, EX_UNAVAILABLE)
    settings = load(directory, PROGRAM, EX_UNAVAILABLE)
    if act in ("-p", "-j"):
        return show(settings, as_json=act == "-j")
    if act == "-f":
        return flush(settings)
    return flush_one(settings, value) if act == "-i" else flush_site(settings, value)


def show(settings: "Settings", *, as_json: bool, program: str = PROGRAM) -> int:
    """Print the listing, message by message."""
    from mailsuite.queue.listing import Mailq, to_json
    listing = Mailq(long_ids=settings.text("enable_long_queue_ids") == "yes")
    put = sys.stdout.write
    try:
        for entry in listed(settings, program):
            put(to_json(entry) + "\n" if as_json else "".join(line + "\n" for line in listing.lines(entry)))
        if not as_json:
            put("".join(line + "\n" for line in listing.end()))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)        # "mailq | head" is no error
    return 0


def listed(settings: "Settings", program: str = PROGRAM) -> "Iterator[Listed]":
    """The messages in the queue, from showq, or from the folders while the suite is down and we may read them."""
    from mailsuite.queue.listing import from_json, list_queue
    queue_directory = settings.text("queue_directory")
    try:
        peer = connect(f"{queue_directory}/public/showq")
    except OSError as error:
        _check_allowed(settings, "authorized_mailq_users", "view", program)
        why = f"(Connect to the {settings.text('mail_name')} showq service: {error.strerror})"
        if not os.access(f"{queue_directory}/maildrop", os.R_OK | os.X_OK) and os.path.isdir(queue_directory) and (
                os.geteuid() != 0):
            fatal(program, f"Queue report unavailable - mail system is down {why}", EX_UNAVAILABLE, settings)
        warn(program, f"Mail system is down -- accessing queue directly {why}")
        from mailsuite.queue.store import open_store
        from mailsuite.queue.to_files import bring_to_files
        store = open_store(settings)
        bring_to_files(store)
        yield from list_queue(store)
        return
    with peer, peer.makefile("r", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            if line.startswith('{"end"'):
                return
            if line.startswith('{"error"'):
                fatal(program, json.loads(line)["error"], EX_UNAVAILABLE, settings)
            yield from_json(line)
    fatal(program, "the listing is not complete: the showq service ended", EX_UNAVAILABLE, settings)


def _check_allowed(settings: "Settings", name: str, act: str, program: str) -> None:
    """The services ask the kernel who we are; while they are away the command asks itself, as Postfix's does."""
    import asyncio

    from mailsuite.queue.access import allowed, user_name
    if not asyncio.run(allowed(settings, name, os.getuid())):
        fatal(program, f"User {user_name(os.getuid())}({os.getuid()}) is not allowed to {act} the mail queue",
              EX_UNAVAILABLE, settings)


def connect(path: str) -> socket.socket:
    """Raises OSError."""
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(ANSWER_S)
    try:
        peer.connect(path)
    except OSError:
        peer.close()
        raise
    return peer


def ask_qmgr(settings: "Settings", request: dict[str, Any], program: str = PROGRAM) -> None:
    """Send a request and wait for the answer; ends the command when there is none or it says no."""
    try:
        with connect(f"{settings.text('queue_directory')}/public/qmgr") as peer:
            peer.sendall(json.dumps({**request, "answer": True}).encode() + b"\n")
            with peer.makefile("rb") as lines:
                answer = json.loads(lines.readline() or b'{"error": "the queue manager did not answer"}')
    except OSError as error:
        _check_allowed(settings, "authorized_flush_users", "flush", program)
        if "site" in request or "id" in request:
            warn(program, f"connect to public/flush: {error.strerror}")
        elif isinstance(error, FileNotFoundError):
            warn(program, f"unable to look up public/qmgr: {error.strerror}")
        fatal(program, "Cannot flush mail queue - mail system is down", EX_UNAVAILABLE, settings)
    if "error" in answer:
        fatal(program, answer["error"], EX_UNAVAILABLE, settings)


def flush(settings: "Settings") -> int:
    """Try all deferred mail."""
    ask_qmgr(settings, {"op": "flush"})
    return 0


def flush_one(settings: "Settings", queue_id: str) -> int:
    """Try one message; an id that is not there is no error."""
    from mailsuite.queue.ids import is_id, may_be_id
    if not may_be_id(queue_id):
        fatal(PROGRAM, f'Cannot flush queue ID - invalid name: "{queue_id[:100]}"', EX_UNAVAILABLE, settings)
    # Nothing of ours has a name that is no id; whether the suite runs is told all the same.
    ask_qmgr(settings, {"op": "flush_one", "id": queue_id if is_id(queue_id) else "000000"})
    return 0


def flush_site(settings: "Settings", site: str) -> int:
    """Try what waits for a domain of fast_flush_domains."""
    import asyncio

    from mailsuite.address.hostname import is_mail_domain
    from mailsuite.base.errors import TemporaryError
    from mailsuite.queue.flushlog import flush_domains
    if not is_mail_domain(site):
        fatal(PROGRAM, f'Cannot flush mail queue - invalid destination: "{site[:100]}"', EX_UNAVAILABLE,
              settings)
    try:
        known = asyncio.run(flush_domains(settings, PROGRAM).matches(site.lower()))
    except TemporaryError as error:
        fatal(PROGRAM, f"fast_flush_domains: {error}", EX_UNAVAILABLE, settings)
    if not known:
        fatal(PROGRAM, f'Flush service is not configured for destination "{site}"', EX_UNAVAILABLE, settings)
    ask_qmgr(settings, {"op": "flush", "site": site})
    return 0


if __name__ == "__main__":
    sys.exit(main())
