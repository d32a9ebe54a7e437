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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from mailsuite.cli.mailcommand import (
    EX_TEMPFAIL,
    EX_UNAVAILABLE,
    default_directory,
    fatal,
    load,
    parse,
    warn,
)

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

PROGRAM = "sendmail"
LETTERS = "A:B:C:F:GIL:N:O:R:UV:X:ab:ce:f:h:imno:p:r:q:tvx"
USAGE = "usage: sendmail [options]"
BLOCK = 64 * 1024
HEADER_LIMIT = 1024 * 1024      # octets of a header that -t reads
_RECIPIENT_FIELDS = (b"to", b"cc", b"bcc")


@dataclass
class Options:
    """What the command line said."""

    directory: str = field(default_factory=default_directory)
    mode: str = "m"
    sender: str | None = None
    full_name: str | None = None
    from_header: bool = False
    dots: bool = True               # a "." ends the message
    local: bool = True
    notify: int = 0
    ret: str = ""
    envid: str = ""
    verbose: bool = False
    encoding: str = ""
    flush: tuple[str, str] | None = None


def main() -> int:
    """The console script; also under the names mailq and newaliases."""
    argv = sys.argv[1:]
    name = os.path.basename(sys.argv[0])
    options = Options(mode={"mailq": "p", "newaliases": "i"}.get(name, "m"))
    # getopt knows no options with an argument that may be left out: "-q" alone.
    argv = ["-q." if word == "-q" else word for word in argv]
    given, words = parse(PROGRAM, argv, LETTERS, USAGE, EX_TEMPFAIL)
    for letter, value in given:
        _option(options, letter[1], value)
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
        return _newaliases(options.directory, settings)
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


def _option(options: Options, letter: str, value: str) -> None:
    """One option. What only Sendmail knew is accepted and does nothing."""
    match letter:
        case "b":
            _mode(options, value)
        case "C":
            options.directory = value if os.path.isdir(value) else os.path.dirname(value) or "."
        case "F":
            options.full_name = value
        case "f" | "r":
            options.sender = value
        case "G":
            options.local = False
        case "i":
            options.dots = False
        case "I":
            options.mode = "i"
        case "n":
            fatal(PROGRAM, "-n option not supported", EX_TEMPFAIL)
        case "o":
            options.dots = options.dots and value[:1] != "i"
            options.encoding = {"7": "7bit", "8": "8bit"}.get(value[:1], options.encoding)
        case "B":
            options.encoding = {"8BITMIME": "8bit", "7BIT": "7bit"}.get(value.upper(), options.encoding)
        case "N":
            options.notify = _notify(value)
        case "R":
            options.ret = _ret(value)
        case "V":
            options.envid = value
        case "t":
            options.from_header = True
        case "v":
            options.verbose = True
        case "q":
            _queue(options, value)


def _mode(options: Options, value: str) -> None:
    if value[:1] in ("m", "p", "i", "s", "v"):
        options.mode = value[0]
    elif value[:1] in ("d", "l"):
        options.mode = "d"
    else:
        fatal(PROGRAM, f"unsupported: -b{value[:1]}", EX_TEMPFAIL)


def _notify(value: str) -> int:
    """The bits of -N; what makes no sense is left out with a warning."""
    known = {"never": 1, "success": 2, "failure": 4, "delay": 8}
    bits = 0
    for word in value.lower().replace(",", " ").split():
        if word not in known:
            warn(PROGRAM, f'unknown DSN NOTIFY command value "{word}" in "{value}"')
            bits = 0
            break
        bits |= known[word]
    if not bits or (bits & 1 and bits != 1):
        warn(PROGRAM, "bad -N option value -- ignored")
        return 0
    return bits


def _ret(value: str) -> str:
    if value.upper() not in ("FULL", "HDRS"):
        warn(PROGRAM, "bad -R option value -- ignored")
        return ""
    return value.upper()


def _queue(options: Options, value: str) -> None:
    if value == ".":
        options.flush = ("flush", "")
    elif value[:1].isdigit():
        options.flush = ("daemon", "")          # an interval is the daemon's: it has queue_run_delay
    elif value[:1] == "I":
        options.flush = ("flush_one", value[1:])
    elif value[:1] == "R":
        options.flush = ("flush_site", value[1:].lstrip("@"))
    else:
        fatal(PROGRAM, f"-q{value[:1]} is not implemented", EX_TEMPFAIL)


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


def _newaliases(directory: str, settings: "Settings") -> int:
    """Build what alias_database names."""
    words = settings.text("alias_database").replace(",", " ").split()
    if not words:
        return 0
    from mailsuite.cli import postalias
    sys.argv = ["postalias", "-c", directory, *words]
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
    from mailsuite.queue.submit import Draft, SubmitError, TooBig
    verify = "verify" if options.mode == "v" else "record" if options.verbose else ""
    sender = _sender(options)
    recipients = [address for word in words for address in _addresses(word)]
    if options.mode == "v" and options.from_header:
        fatal(PROGRAM, "-t option cannot be used with -bv", EX_TEMPFAIL)
    if not recipients and not options.from_header:
        _fail(sender, "Recipient addresses must be specified on the command line or via the -t option", EX_TEMPFAIL)
    try:
        draft = Draft(settings)
    except SubmitError as error:
        _fail(sender, error.public, EX_TEMPFAIL)
    try:
        if options.mode == "v":
            draft.write(probe(sender, words))
        else:
            recipients += Content(options.dots).copy(source, draft.write, read_header=options.from_header)
        if not recipients:
            _fail(sender, "No recipient addresses found in message header", EX_TEMPFAIL)
        name = options.full_name if options.full_name is not None else _full_name()
        envelope = Envelope(sender=sender, origin=Origin(), local=options.local, full_name=name,
                            ret=Ret(options.ret), envid=options.envid, encoding=options.encoding, verify=verify)
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


def _fail(sender: str, text: str, status: int) -> NoReturn:
    fatal(PROGRAM, f"{sender or 'MAILER-DAEMON'}({os.getuid()}): {text}", status)


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


def _addresses(text: str) -> list[str]:
    """Addresses of a list, in internal form."""
    from mailsuite.address.header import parse_addresses
    from mailsuite.address.syntax import unquote_local
    return [unquote_local(address) for address in parse_addresses(text).addresses() if address]


def _sender(options: Options) -> str:
    if options.sender is None:
        return _login()
    if options.sender in ("", "<>"):
        return ""
    found = _addresses(options.sender)
    if len(found) != 1:
        warn(PROGRAM, f"-f option specified malformed sender: {options.sender}")
    return found[0] if found else ""


class Content:
    """A message on its way from standard input into the queue."""

    def __init__(self, dots: bool) -> None:
        self._dots = dots

    def copy(self, source: BinaryIO, write: Callable[[bytes], None], *, read_header: bool) -> list[str]:
        """Copy the message, LF line ends; return the recipients of its header, when asked."""
        recipients: list[str] = []
        header: bytes | None = b""
        first = True
        for block in self._blocks(source):
            if first:
                block, first = _without_from_line(block), False
            if header is not None:
                header += block
                end = 0 if header.startswith(b"\n") else header.find(b"\n\n") + 1
                if not end and not header.startswith(b"\n") and len(header) < HEADER_LIMIT:
                    continue            # the header is kept back until it is whole
                if read_header:
                    recipients = header_recipients(header)
                block, header = header, None
            write(block)
        if header:
            if read_header:
                recipients = header_recipients(header)
            write(header)
        return recipients

    def _blocks(self, source: BinaryIO) -> Iterator[bytes]:
        """Whole lines in blocks; ends at a single dot, if that is meant; the last line gets its end."""
        rest = b""
        while octets := source.read(BLOCK):
            octets = rest + octets
            cut = octets.rfind(b"\n") + 1
            rest, whole = octets[cut:], octets[:cut]
            if b"\r\n" in whole:
                whole = whole.replace(b"\r\n", b"\n")
            if self._dots and (whole.startswith(b".\n") or b"\n.\n" in whole):
                yield b"" if whole.startswith(b".\n") else whole[: whole.index(b"\n.\n") + 1]
                return
            yield whole
        if rest and not (self._dots and rest.rstrip(b"\r") == b"."):
            yield rest.rstrip(b"\r") + b"\n"


def probe(sender: str, recipients: list[str]) -> bytes:
    """The message of sendmail -bv; it is never delivered. recipients: as they were given."""
    from mailsuite.address.syntax import quote_local
    to = ",\n\t".join(" ".join(address.split()) for address in recipients)
    return f"From: {quote_local(sender)}\nSubject: probe\nTo:\t{to}\n".encode("utf-8", "surrogateescape")


def _without_from_line(block: bytes) -> bytes:
    """mbox separators on top are no header."""
    while block.startswith((b"From ", b">From ")):
        block = block.partition(b"\n")[2]
    return block


def header_recipients(block: bytes) -> list[str]:
    """Addresses of To, Cc, Bcc; of the Resent- ones when there are any."""
    from mailsuite.queue.headers import name_of, split_header, value_of
    fields, _, _ = split_header(block, whole=True)
    by_name: dict[bytes, list[bytes]] = {}
    for item in fields:
        by_name.setdefault(name_of(item), []).append(value_of(item))
    prefix = b"resent-" if any(name.startswith(b"resent-") for name in by_name) else b""
    found: list[str] = []
    for name in _RECIPIENT_FIELDS:
        for value in by_name.get(prefix + name, []):
            found += _addresses(value.decode("utf-8", "surrogateescape"))
    return found


if __name__ == "__main__":
    sys.exit(main())
