"""What a LIST asks for: the arguments of LIST, LSUB and of LIST-EXTENDED (RFC 5258) with what others added to it.

    request = parse_list(context, arguments, lsub=False)
    request.reference, .patterns, .select, .wanted, .status, .metadata, .rights

Selection: SUBSCRIBED, RECURSIVEMATCH, REMOTE, SPECIAL-USE (RFC 6154). Return: SUBSCRIBED, CHILDREN, SPECIAL-USE,
STATUS (RFC 5819), MYRIGHTS (RFC 8440), METADATA (RFC 9590). Raises PeerError in Dovecot's words.
"""

from dataclasses import dataclass, field

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context
from mailsuite.imap.commands.metadata import entry_name
from mailsuite.imap.commands.status import status_items
from mailsuite.imap.syntax import Argument, Atom, String, text_of
from mailsuite.store.namespace import literal_beginnings

MAX_PATTERNS = 100


@dataclass
class ListRequest:
    """What a LIST asks for. extended: the new form, where flags are only given when asked for."""

    reference: str = ""
    patterns: list[str] = field(default_factory=list)
    extended: bool = False
    select: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)
    status: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)       # entries that LIST-METADATA wants
    rights: bool = False
    rev2: bool = False              # IMAP4rev2 is offered: what RFC 9051 adds to LIST-EXTENDED

    @property
    def beginnings(self) -> list[str]:
        """What the names that are asked for begin with."""
        return literal_beginnings([self.reference + pattern for pattern in self.patterns])


def parse_list(context: Context, arguments: list[Argument], lsub: bool) -> ListRequest:
    request, rest = ListRequest(rev2=context.offers("IMAP4rev2")), list(arguments)
    if rest and isinstance(rest[0], list) and not lsub:
        request.select = _select_options(rest.pop(0))
        request.extended = True
    if not rest or not isinstance(rest[0], Atom | String):
        raise PeerError("Invalid reference")
    request.reference = text_of(rest.pop(0))
    if not rest:
        raise PeerError("Invalid pattern")
    pattern = rest.pop(0)
    if isinstance(pattern, list):
        if not all(isinstance(each, Atom | String) for each in pattern) or len(pattern) > MAX_PATTERNS:
            raise PeerError("Invalid pattern list")
        request.patterns, request.extended = [text_of(each) for each in pattern], True
    else:
        request.patterns = [text_of(pattern)]
    if rest and not lsub and len(rest) >= 2 and isinstance(rest[0], Atom) and rest[0].upper() == b"RETURN":
        if not isinstance(rest[1], list):
            raise PeerError("Extra arguments")
        _return_options(context, request, rest[1])
        request.extended, rest = True, rest[2:]
    if rest:
        raise PeerError("Extra arguments")
    return request


def _select_options(argument: Argument) -> set[str]:
    assert isinstance(argument, list)
    options = set()
    for each in argument:
        if not isinstance(each, Atom):
            raise PeerError("List options contains non-atoms")
        options.add(each.decode("ascii").upper())
    if options - {"SUBSCRIBED", "RECURSIVEMATCH", "SPECIAL-USE", "REMOTE"}:
        raise PeerError("Unknown select options")
    if "RECURSIVEMATCH" in options and "SUBSCRIBED" not in options and "SPECIAL-USE" not in options:
        raise PeerError("RECURSIVEMATCH must not be the only selection")
    return options


def _return_options(context: Context, request: ListRequest, arguments: list[Argument]) -> None:
    words = iter(arguments)
    previous = ""
    for each in words:
        if isinstance(each, list):
            if previous == "METADATA":
                request.metadata = [entry_name(entry) for entry in each]
            elif previous == "STATUS":
                request.status = status_items(context, each)
            else:
                raise PeerError("Unknown return options")
            previous = ""
            continue
        name = text_of(each).upper()
        if name == "MYRIGHTS" and previous not in ("STATUS", "METADATA") and "LIST-MYRIGHTS" in context.params.offered:
            request.rights, previous = True, name
            continue
        if previous in ("STATUS", "METADATA") or name not in ("SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS",
                                                              "METADATA"):
            raise PeerError("Unknown return options")
        if name not in ("STATUS", "METADATA"):
            request.wanted.add(name)
        previous = name
    if previous in ("STATUS", "METADATA"):
        raise PeerError("Unknown return options")
