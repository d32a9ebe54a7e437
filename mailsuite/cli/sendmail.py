"""sendmail: submit mail, and what else programs expect under this name. See sendmail(1).

    sendmail [options] [recipient ...]      the message on standard input
    sendmail -bp | -bi | -bs | -bv          listing (mailq), alias database (newaliases), SMTP on stdin, verify
    sendmail -q | -qI id | -qR site         try deferred mail

The message goes through maildrop/ or public/pickup (queue/submit.py): it is durable when we exit with 0, whether the
suite runs or not. A line with a single "." ends it, unless -i. Exit: 0, 69, 75 and what sysexits(3) says.
"""

import os
import pwd
import sys
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from mailsuite.cli.mailcommand import EX_TEMPFAIL, EX_UNAVAILABLE, fatal, load, warn
from mailsuite.cli.sendmail_content import LINE_ENDS, Content, addresses, probe
from mailsuite.cli.sendmail_options import DEFAULT, PROGRAM, Options, read_options

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


def main() -> int:
    """The console script; also under the names mailq and newaliases."""
    name = os.path.basename(sys.argv[0])
    options, words = read_options(sys.argv[1:], {"mailq": "p", "newaliases": "i"}.get(name, "m"))
    if options.mode == "h":
        return 0
    settings = load(options.directory, PROGRAM)
    if options.mode == "d":
        return _daemon(options.directory, settings)
    if options.flush is not None:
        if words:
            fatal(PROGRAM, "flush queue mode requires no recipient", EX_TEMPFAIL)
        return _flush(settings, options.flush)
    if options.mode == "p":
        if words:
            fatal(PROGRAM, "display queue mode requires no recipient", EX_TEMPFAIL)
        from mailsuite.cli.postqueue import show
        return show(settings, as_json=False)
    if options.mode == "i":
        if words:
            fatal(PROGRAM, "alias initialization mode requires no recipient", EX_TEMPFAIL)
        return _newaliases(options, settings)
    _check_submitter(settings)
    if options.mode == "s":
        from mailsuite.cli.sendmail_bs import run
        return run(settings)
    return submit(settings, options, words, sys.stdin.buffer)


def mailq() -> int:
    """The console script mailq."""
    sys.argv[0] = "mailq"
    return main()


def newaliases() -> int:
    """The console script newaliases."""
    sys.argv[0] = "newaliases"
    return main()


def _flush(settings: "Settings", what: tuple[str, str]) -> int:
    from mailsuite.cli import postqueue
    if what[0] == "daemon":
        return 0
    if what[0] == "flush":
        return postqueue.flush(settings)
    return (postqueue.flush_one if what[0] == "flush_one" else postqueue.flush_site)(settings, what[1])


def _daemon(directory: str, settings: "Settings") -> int:
    """-bd: the suite shall run. It is no error when it does already."""
    from mailsuite.cli.postqueue import connect
    try:
        connect(f"{settings.text('queue_directory')}/public/qmgr").close()
    except OSError:
        from mailsuite.master import control
        return control.start(directory)
    return 0


def _newaliases(options: Options, settings: "Settings") -> int:
    """Build what -oA or alias_database names."""
    words = [options.aliases] if options.aliases else settings.text("alias_database").replace(",", " ").split()
    if not words:
        return 0
    from mailsuite.cli import postalias
    sys.argv = ["postalias", "-c", options.directory, *words]
    return postalias.main()


def _who() -> str:
    uid = os.getuid()
    try:
        return f"{pwd.getpwuid(uid).pw_name}({uid})"
    except KeyError:
        return f"unknown({uid})"


def _check_submitter(settings: "Settings") -> None:
    if settings.text("authorized_submit_users").strip() == "static:anyone":
        return
    import asyncio

    from mailsuite.queue.access import allowed
    if not asyncio.run(allowed(settings, "authorized_submit_users", os.getuid())):
        fatal(PROGRAM, f"User {_who()} is not allowed to submit mail", EX_TEMPFAIL)


# --- submission -----------------------------------------------------------------------------------------------------


def submit(settings: "Settings", options: Options, words: list[str], source: BinaryIO) -> int:
    """Read a message and put it into the queue."""
    from mailsuite.queue.envelope import Envelope, Notify, Origin, Recipient, Ret
    from mailsuite.queue.params import SENDMAIL_FIX_LINE_ENDINGS
    from mailsuite.queue.submit import Draft, SubmitError, TooBig
    verify = "verify" if options.mode == "v" else "record" if options.verbose == 1 else ""
    sender = _sender(options)
    recipients = [address for word in words for address in addresses(word) or [""]]
    verp = _verp(settings, options, sender)
    line_ends = settings[SENDMAIL_FIX_LINE_ENDINGS]
    if line_ends not in LINE_ENDS:
        fatal(PROGRAM, f"invalid sendmail_fix_line_endings value: {line_ends}", EX_TEMPFAIL)
    if not recipients and not options.from_header:
        _fail(sender, "Recipient addresses must be specified on the command line or via the -t option", EX_TEMPFAIL)
    try:
        draft = Draft(settings)
    except SubmitError as error:
        _fail(sender, error.public, EX_TEMPFAIL)
    try:
        _check_sender(settings, sender, final=draft.is_file)
        if options.mode == "v":
            draft.write(probe(sender, words))
        else:
            recipients += Content(options.dots, line_ends).copy(source, draft.write, read_header=options.from_header)
        if not recipients:
            _fail(sender, "No recipient addresses found in message header", EX_TEMPFAIL)
        name = options.full_name if options.full_name is not None else _full_name()
        envelope = Envelope(sender=sender, origin=Origin(), local=options.local, full_name=name,
                            ret=Ret(options.ret), envid=options.envid, encoding=options.encoding, verify=verify,
                            verp=verp)
        draft.send(envelope, [Recipient(address, address, notify=Notify(options.notify)) for address in recipients])
        if draft.warning:
            print(f"postdrop: warning: {draft.warning}", file=sys.stderr)
    except TooBig as error:
        print(f"postdrop: warning: uid={os.getuid()}: File too large", file=sys.stderr)
        _fail(sender, error.public, EX_TEMPFAIL)
    except SubmitError as error:
        _fail(sender, error.public, EX_TEMPFAIL)
    finally:
        draft.abort()
    if verify:
        print(f"Mail Delivery Status Report will be mailed to <{sender}>.")
    return 0


def _verp(settings: "Settings", options: Options, sender: str) -> str:
    """The delimiters of variable envelope return paths, "" when they are not asked for."""
    from mailsuite.queue.params import DEFAULT_VERP_DELIMITERS, VERP_DELIMITER_FILTER
    from mailsuite.smtp.dsn import fits_verp
    if options.verp is None:
        return ""
    delimiters = settings[DEFAULT_VERP_DELIMITERS] if options.verp == DEFAULT else options.verp
    allowed = settings[VERP_DELIMITER_FILTER]
    if not fits_verp(delimiters, allowed):
        fatal(PROGRAM, f"-V requires two characters from {allowed}", EX_TEMPFAIL)
    if not sender:
        _fail(sender, "-V option requires non-null sender address", EX_TEMPFAIL)
    return delimiters


def _check_sender(settings: "Settings", sender: str, *, final: bool) -> None:
    """local_login_sender_maps. final: nobody asks after us; else pickup does, whose tables a user may not be able to
    read."""
    if settings.text("local_login_sender_maps").strip() == "static:*":
        return                          # nothing to be imported for
    import asyncio

    from mailsuite.queue.access import UNKNOWN_SENDERS, refused_sender
    refusal = asyncio.run(refused_sender(settings, os.getuid(), sender))
    if refusal and (final or refusal != UNKNOWN_SENDERS):
        _fail(sender, refusal, EX_TEMPFAIL)


def _fail(sender: str, text: str, status: int) -> NoReturn:
    fatal(PROGRAM, f"{sender}({os.getuid()}): {text}", status)


def _login() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        fatal(PROGRAM, f"no login name found for user ID {os.getuid()}", EX_UNAVAILABLE)


def _full_name() -> str:
    """$NAME, or the gecos field up to its comma, with "&" for the login name."""
    if os.environ.get("NAME"):
        return os.environ["NAME"]
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        return ""
    return entry.pw_gecos.partition(",")[0].replace("&", entry.pw_name.capitalize())


def _sender(options: Options) -> str:
    if options.sender is None:
        return _login()
    if options.sender in ("", "<>"):
        return ""
    found = addresses(options.sender)
    if len(found) != 1:
        warn(PROGRAM, f"-f option specified malformed sender: {options.sender}")
    return found[0] if found else ""


if __name__ == "__main__":
    sys.exit(main())
