"""postdrop: put a message into maildrop/ from standard input. See postdrop(1).

    postdrop [-c config_dir] [-rv]          standard input: a queue file (mailsuite/queue/file.py)

`sendmail` does not need it: it writes to maildrop/ itself or asks pickup. It serves where an administrator gives a
wrapper of it the group of maildrop/. What the file says of its sender's rights is not believed. Empty input is no mail.
Prints the id. Exit: 0; 1 for input that is no queue file; 75 when the mail could not be kept.
"""

import os
import sys
import tempfile

from mailsuite.cli.mailcommand import EX_TEMPFAIL, EX_UNAVAILABLE, default_directory, fatal, load, parse

PROGRAM = "postdrop"
USAGE = "usage: postdrop [-c config_dir] [-v]"
BLOCK = 64 * 1024


def main() -> int:
    """The console script."""
    options, _ = parse(PROGRAM, sys.argv[1:], "c:rv", USAGE, 1)
    directory = dict(options).get("-c", default_directory())
    settings = load(directory, PROGRAM, EX_UNAVAILABLE)
    import asyncio

    from mailsuite.queue.access import allowed, user_name
    from mailsuite.queue.file import Damaged, read
    from mailsuite.queue.submit import Draft, SubmitError
    uid = os.getuid()
    if not asyncio.run(allowed(settings, "authorized_submit_users", uid)):
        fatal(PROGRAM, f"User {user_name(uid)}({uid}) is not allowed to submit mail", EX_TEMPFAIL, settings)
    with tempfile.TemporaryFile() as copy:
        while block := sys.stdin.buffer.read(BLOCK):
            copy.write(block)
        copy.flush()
        if not copy.tell():
            return 0                    # nobody meant anything
        try:
            stored = read(copy.fileno())
            draft = Draft(settings)
            try:
                for at in range(stored.offset, stored.offset + stored.size, BLOCK):
                    draft.write(os.pread(copy.fileno(), min(BLOCK, stored.offset + stored.size - at), at))
                queue_id = draft.send(stored.envelope, stored.recipients)
            finally:
                draft.abort()
        except Damaged:
            fatal(PROGRAM, f"uid={uid}: malformed input", 1, settings)
        except SubmitError as error:
            fatal(PROGRAM, f"uid={uid}: {error.public}", EX_TEMPFAIL, settings)
    print(queue_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
