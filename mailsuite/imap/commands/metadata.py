"""GETMETADATA and SETMETADATA (RFC 5464), and what LIST-METADATA (RFC 9590) and notices of changes need of them.

    GETMETADATA (DEPTH 1 MAXSIZE 1024) INBOX (/shared/comment /private/comment)
    SETMETADATA INBOX (/private/comment "mine" /shared/comment NIL)

Entries lie in the user's dictionary (store/attributes.py), those of the server with INBOX's. Computed are
/private/specialuse and the comment of the configuration, and the server's /shared/comment and /shared/admin. What lies
below /private/vendor/vendor.dovecot/pvt/ and /shared/vendor/vendor.dovecot/pvt/, and URLAUTH's key, is nobody's.
Limits: params.metadata_max_size octets of a value, params.metadata_max_entries of a mailbox.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mailsuite.base.errors import PeerError
from mailsuite.imap.commands.context import Context, Run
from mailsuite.imap.reply import OK, Refusal, Reply, astring, literal
from mailsuite.imap.session import Command
from mailsuite.imap.syntax import Argument, Atom, number
from mailsuite.store.api import MailStore
from mailsuite.store.attributes import SERVER, URLAUTH, Entries, MailboxEntries

SCOPES = ("/private", "/shared")
_INTERNAL = "/vendor/vendor.dovecot/pvt/"
_EVERYTHING = 1 << 30
NOT_ENABLED = "Generic mailbox attributes not enabled"


@dataclass(frozen=True)
class _Options:
    """depth: how many levels below an entry. max_size: -1 for any."""

    depth: int = 0
    max_size: int = -1


class Annotated:
    """The entries of a mailbox, or with the name "" the server's, as a client sees them. Raises what open() does."""

    def __init__(self, store: MailStore, name: str) -> None:
        self._store, self.name = store, name
        held = store.attributes_of(name or "INBOX")
        if held is None:
            raise Refusal(NOT_ENABLED, "CANNOT")
        self._held: MailboxEntries = held

    def read(self) -> Entries:
        stored = self._held.read()
        if not self.name:
            return {**visible(stored, server=True), **self._store.server_entries}
        return {**self._computed(), **visible(stored, server=False)}

    def _computed(self) -> Entries:
        comment, special = self._store.comment(self.name), self._store.special_use(self.name)
        found = {"/private/specialuse": " ".join(special).encode()} if special else {}
        if comment:
            found |= dict.fromkeys(("/private/comment", "/shared/comment"), comment.encode("utf-8", "surrogateescape"))
        return found

    def change(self, changes: Mapping[str, bytes | None], *, max_size: int, max_entries: int) -> None:
        """All or none. Raises Refusal."""
        stored_changes = {_stored(name, server=not self.name): value for name, value in changes.items()}
        for name, value in stored_changes.items():
            _check_change(name, value, max_size)
        after = self._held.read()
        after.update({name: value for name, value in stored_changes.items() if value is not None})
        grows = any(value is not None for value in changes.values())
        if grows and len(after) > max_entries:
            raise Refusal("Too many entries", "METADATA TOOMANY")
        self._held.change(stored_changes)


def _annotated(context: Context, name: str) -> Annotated:
    if not context.offers("METADATA"):
        raise Refusal(NOT_ENABLED, "CANNOT")
    return Annotated(context.store, name)


def visible(stored: Mapping[str, bytes], *, server: bool, internal: bool = False) -> Entries:
    """Of what is kept with a mailbox: what clients see of it, or with INBOX's: of the server's entries, in order.

    internal: also what no client sees, but for the keys of URLAUTH.
    """
    found = {}
    for name in sorted(stored):
        if server:
            scope, _, rest = name[1:].partition("/")
            if rest.startswith(SERVER):
                found[f"/{scope}/{rest.removeprefix(SERVER)}"] = stored[name]
        elif name != URLAUTH and (internal or not _is_internal(name)):
            found[name] = stored[name]
    return found


def _is_internal(name: str) -> bool:
    scope = name[:name.find("/", 1)]
    return name == URLAUTH or name.startswith(scope + _INTERNAL)


def _stored(name: str, *, server: bool) -> str:
    """The name under which it is kept. Raises Refusal."""
    if _is_internal(name):
        raise Refusal("Internal mailbox attributes cannot be accessed", "CANNOT")
    scope, _, rest = name[1:].partition("/")
    return f"/{scope}/{SERVER}{rest}" if server else name


def _check_change(name: str, value: bytes | None, max_size: int) -> None:
    if name in ("/private/specialuse", f"/shared/{SERVER}comment", f"/shared/{SERVER}admin"):
        raise Refusal(f"The {name} attribute cannot be changed", "CANNOT")
    if value is not None and len(value) > max_size:
        raise Refusal("Value is too large", f"METADATA MAXSIZE {max_size}")


# --- commands -------------------------------------------------------------------------------------------------------

def do_getmetadata(context: Context, command: Command) -> Run:
    """RFC 5464 section 4.2."""
    arguments = list(command.arguments)
    options = _Options()
    if arguments and isinstance(arguments[0], list):
        options = _options(arguments.pop(0))
    elif context.offers("LIST-METADATA") and len(arguments) > 2:
        # The RFC's examples have the options behind the mailbox, and entries without a list around them.
        if isinstance(arguments[1], list):
            options = _options(arguments.pop(1))
        arguments[1:] = [arguments[1:]] if not isinstance(arguments[1], list) else arguments[1:]
    if len(arguments) < 2 or not isinstance(arguments[0], bytes):
        raise PeerError("Invalid arguments")
    wanted = arguments[1] if isinstance(arguments[1], list) else arguments[1:]
    if wanted == arguments[1:] and len(wanted) > 1:
        raise PeerError("Invalid arguments")
    names = [entry_name(each) for each in wanted]
    name = context.mailbox(arguments[0]) if arguments[0] else ""
    entries = _annotated(context, name).read()
    found, longest = _chosen(entries, names, options)
    if found:
        yield metadata_line(context, name, found)
    return Reply(OK, "Getmetadata completed", f"METADATA LONGENTRIES {longest}" if longest else "")


def _options(argument: Argument) -> _Options:
    if not isinstance(argument, list):
        raise PeerError("Invalid arguments")
    depth, max_size = 0, -1
    words = iter(argument)
    for each in words:
        name = each.upper() if isinstance(each, Atom) else b""
        value = next(words, None)
        if name == b"DEPTH":
            text = value.lower() if isinstance(value, Atom) else b""
            if text not in (b"0", b"1", b"infinity"):
                raise PeerError("Invalid value for DEPTH option")
            depth = {b"0": 0, b"1": 1, b"infinity": _EVERYTHING}[text]
        elif name == b"MAXSIZE":
            size = number(value) if value is not None else None
            if size is None:
                raise PeerError("Invalid value for MAXSIZE option")
            max_size = size
        else:
            raise PeerError("Unknown option")
    return _Options(depth, max_size)


def entry_name(argument: Argument) -> str:
    """An entry's name in lower case. Raises PeerError."""
    if not isinstance(argument, bytes):
        raise PeerError("Entry name isn't astring")
    name = argument.decode("ascii", "surrogateescape")
    if not name.startswith("/"):
        raise PeerError("Entry name must begin with '/'")
    if name.endswith("/"):
        raise PeerError("Entry name can't end with '/'")
    if "//" in name:
        raise PeerError("Entry name can't contain consecutive '/'")
    for bad in "*%":
        if bad in name:
            raise PeerError(f"Entry name can't contain '{bad}'")
    if not name.isascii() or any(octet <= "\x19" for octet in name):
        raise PeerError("Entry name can't contain control or 8bit characters")
    name = name.lower()
    if not any(name == scope or name.startswith(scope + "/") for scope in SCOPES):
        raise PeerError("Entry name must begin with /private or /shared")
    return name


def _chosen(entries: Mapping[str, bytes], names: Iterable[str], options: _Options
            ) -> tuple[dict[str, bytes | None], int]:
    """What is told, in the order that it was asked for, and the size of the longest value that is kept back."""
    found: dict[str, bytes | None] = {}
    longest = 0
    for name in names:
        below = [each for each in entries if each.startswith(name + "/")
                 and each.count("/") - name.count("/") <= options.depth]
        for each in ([name] if options.depth == 0 or name in entries else []) + below:
            if _is_internal(each):
                raise Refusal("Internal mailbox attributes cannot be accessed", "CANNOT")
            value = entries.get(each)
            if value is not None and 0 <= options.max_size < len(value):
                longest = max(longest, len(value))
            else:
                found[each] = value
    return found, longest


def metadata_line(context: Context, name: str, found: Mapping[str, bytes | None]) -> bytes:
    """A METADATA reply with values."""
    pairs = [b"%b %b" % (astring(each.encode()), b"NIL" if value is None else _value(value))
             for each, value in found.items()]
    return b"* METADATA %b (%b)\r\n" % (context.shown(name), b" ".join(pairs))


def _value(octets: bytes) -> bytes:
    return b"~" * (b"\0" in octets) + literal(octets)


def do_setmetadata(context: Context, command: Command) -> Run:
    """RFC 5464 section 4.3: all or none."""
    arguments = command.arguments
    if len(arguments) != 2 or not isinstance(arguments[0], bytes) or not isinstance(arguments[1], list):
        raise PeerError("Invalid arguments")
    changes: dict[str, bytes | None] = {}
    words = iter(arguments[1])
    for each in words:
        name, value = entry_name(each), next(words, None)
        if value is None:
            raise PeerError("Entry value missing")
        if isinstance(value, list):
            raise PeerError("Entry value can't be a list")
        if name in SCOPES:
            raise PeerError("Entry name must have a name behind /private or /shared")
        changes[name] = None if isinstance(value, Atom) and value.upper() == b"NIL" else bytes(value)
    name = context.mailbox(arguments[0]) if arguments[0] else ""
    if changes:
        _annotated(context, name).change(changes, max_size=context.params.metadata_max_size,
                                         max_entries=context.params.metadata_max_entries)
        if context.notices is not None:
            context.notices.annotated()
    yield from ()
    return Reply(OK, "Setmetadata completed")


def list_metadata(context: Context, name: str, names: Iterable[str]) -> bytes:
    """LIST's RETURN (METADATA (...)): all that were asked for, NIL where there is none (RFC 9590)."""
    entries = _annotated(context, name).read()
    return metadata_line(context, name, {each: entries.get(each) for each in names})


