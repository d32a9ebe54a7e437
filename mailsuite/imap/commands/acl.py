"""SETACL, DELETEACL, GETACL, LISTRIGHTS, MYRIGHTS (RFC 4314): there where mail_plugins has imap_acl.

Identifiers: a user's name, $GROUP, !$GROUP (group-override), owner, anyone, authenticated; "-" in front for rights that
are taken away, "#" for what the administrator has set for all. Who may administer a mailbox (a) may do all of this.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mailsuite.acl.entries import Entry, Identifier, Kind, put
from mailsuite.acl.rights import ALL, NONE, Rights, file_text, imap_text, parse_imap, with_old
from mailsuite.base.errors import MailError, PeerError
from mailsuite.base.log import access_logger
from mailsuite.imap.commands.context import Context, Run, astring, at_least
from mailsuite.imap.reply import NO, OK, Refusal, Reply
from mailsuite.imap.reply import astring as shown
from mailsuite.imap.session import Command
from mailsuite.store.api import NoSuchMailbox, StoreError
from mailsuite.store.names import Parts

if TYPE_CHECKING:
    from mailsuite.store.acl import NamespaceAcl

log = access_logger("imap")
_WORDS = {"anyone": Kind.ANYONE, "authenticated": Kind.AUTHENTICATED, "owner": Kind.OWNER}
_LISTED = "lrwstpiekxa"             # Dovecot's order in LISTRIGHTS
INTERNAL = "Internal error occurred. Refer to server log for more information"


def do_setacl(context: Context, command: Command) -> Run:
    """RFC 4314 section 3.1."""
    at_least(command.arguments, 3)
    name, identifier = context.mailbox(command.arguments[0]), astring(command.arguments[1])
    sign, rights = parse_imap(astring(command.arguments[2]))
    _change(context, name, identifier, sign, rights)
    yield from ()
    return Reply(OK, "Setacl complete")


def do_deleteacl(context: Context, command: Command) -> Run:
    """RFC 4314 section 3.2."""
    at_least(command.arguments, 2)
    _change(context, context.mailbox(command.arguments[0]), astring(command.arguments[1]), "", None)
    yield from ()
    return Reply(OK, "Deleteacl complete")


def do_getacl(context: Context, command: Command) -> Run:
    """RFC 4314 section 3.3."""
    at_least(command.arguments, 1)
    name = context.mailbox(command.arguments[0])
    acl, parts = _administered(context, name)
    pairs = [b"%b %b" % (shown(text.encode("utf-8", "surrogateescape")), _rights(rights))
             for text, rights in _pairs(acl, acl.entries(parts))]
    yield b"* ACL %b\r\n" % b" ".join([context.shown(name), *pairs])
    return Reply(OK, "Getacl completed")


def do_listrights(context: Context, command: Command) -> Run:
    """RFC 4314 section 3.4: any right can be given to anybody, each for itself. Dovecot 2.3 tells that to everybody,
    the RFC's section 4 only to who has the right a.
    """
    at_least(command.arguments, 2)
    name = context.mailbox(command.arguments[0])
    identifier = astring(command.arguments[1]).encode()
    if context.offers("IMAP4rev2"):
        _administered(context, name)
    yield b"* LISTRIGHTS %b %b \"\" %b\r\n" % (
        context.shown(name), shown(identifier), " ".join(with_old(_LISTED)).encode())
    return Reply(OK, "Listrights completed")


def do_myrights(context: Context, command: Command) -> Run:
    """RFC 4314 section 3.5."""
    at_least(command.arguments, 1)
    name = context.mailbox(command.arguments[0])
    try:
        rights = rights_of(context, name)
    except NoSuchMailbox as error:
        raise Refusal(error.public, "NONEXISTENT") from error
    except StoreError as error:
        log.error("MYRIGHTS: %s", error.detail)
        return Reply(NO, INTERNAL)
    if rights <= {"p"}:         # who may only deliver does not learn that the mailbox is there
        raise Refusal(NoSuchMailbox(name).public, "NONEXISTENT")
    yield b"* MYRIGHTS %b %b\r\n" % (context.shown(name), imap_text(rights).encode())
    return Reply(OK, "Myrights completed")


def rights_of(context: Context, name: str) -> Rights:
    """What the user may do, all without ACLs. Raises what MailStore.acl_of does."""
    found = context.store.acl_of(name) if name else None
    return found[0].rights(found[1]) if found is not None else ALL


def _administered(context: Context, name: str) -> "tuple[NamespaceAcl, Parts]":
    """The mailbox's ACLs, for who has the right a. Raises Refusal."""
    missing = Refusal(NoSuchMailbox(name).public, "NONEXISTENT")
    try:
        found = context.store.acl_of(name) if name else None
        rights = found[0].rights(found[1]) if found is not None else NONE
    except MailError as error:
        if isinstance(error, StoreError):
            log.error("%s: %s", name, error.detail)
        raise missing from error
    if found is None or "a" not in rights:
        raise Refusal("You lack administrator privileges on this mailbox", "NOPERM") if "l" in rights else missing
    if not context.store.exists(name):
        raise missing
    return found


# --- identifiers ----------------------------------------------------------------------------------------------------

def _identifier(text: str) -> tuple[bool, Identifier]:
    """Whether rights are taken away, and whose. Raises PeerError."""
    denied = text.startswith("-")
    name = text[denied:]
    if name.startswith("#"):
        raise PeerError(f"Global ACLs can't be modified: {text}")
    if not name:
        raise PeerError("Invalid arguments")
    if name in _WORDS:
        return denied, Identifier(False, _WORDS[name])
    for begin, kind in (("!$", Kind.GROUP_OVERRIDE), ("$", Kind.GROUP)):
        if name.startswith(begin):
            return denied, Identifier(False, kind, name[len(begin):])
    return denied, Identifier(False, Kind.USER, name)


def _text(acl: "NamespaceAcl", who: Identifier, *, own_name_used: bool) -> str:
    """As SETACL is given it. An owner is told by name, unless the name has rights of its own."""
    match who.kind:
        case Kind.OWNER:
            name = "owner" if own_name_used or not acl.owner else acl.owner
        case Kind.USER:
            name = who.name
        case Kind.GROUP:
            name = "$" + who.name
        case Kind.GROUP_OVERRIDE:
            name = "!$" + who.name
        case _:
            name = who.kind.name.lower()
    return "#" + name if who.everywhere else name


def _pairs(acl: "NamespaceAcl", entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Identifiers and rights as GETACL tells them."""
    used = any(entry.who.kind is Kind.USER and entry.who.name == acl.owner and entry.rights is not None
               for entry in entries)
    pairs = []
    for entry in entries:
        text = _text(acl, entry.who, own_name_used=used)
        if entry.rights is not None:
            pairs.append((text, with_old(file_text(entry.rights))))
        if entry.denied is not None:
            pairs.append(("-" + text, with_old(file_text(entry.denied))))
    if acl.owner and not any(entry.who.kind is Kind.OWNER and entry.rights is not None for entry in entries):
        pairs.append(("owner" if used else acl.owner, imap_text(ALL)))
    return pairs


def _rights(letters: str) -> bytes:
    return letters.encode() or b'""'


# --- changes --------------------------------------------------------------------------------------------------------

def _change(context: Context, name: str, identifier: str, sign: str, rights: Rights | None) -> None:
    """rights None: the identifier's entry goes."""
    denied, who = _identifier(identifier)
    acl, parts = _administered(context, name)
    if who.kind in (Kind.ANYONE, Kind.AUTHENTICATED) and not acl.anyone_allowed:
        raise PeerError(f"'{who}' identifier is disallowed")
    own = acl.who.owner and not denied and who in (
        Identifier(False, Kind.OWNER), Identifier(False, Kind.USER, acl.owner))

    def update(entries: Sequence[Entry]) -> Sequence[Entry]:
        old = next((entry for entry in entries if entry.who == who), Entry(who))
        before = old.denied if denied else old.rights
        if sign == "-" and before is None:
            return entries
        if sign == "+" and before is None:
            before = ALL if own else NONE       # an owner that nothing is said of has all rights, nobody else any
        new = rights
        if rights is not None and sign:
            new = None if before is None else before | rights if sign == "+" else before - rights
        if new is not None and own:
            new = new | {"a"}           # who owns a mailbox cannot lock himself out by mistake
        return put(entries, who, new, denied=denied)

    try:
        acl.change(parts, update)
    except StoreError as error:
        log.error("%s: %s", name, error.detail)
        raise Refusal(INTERNAL) from error
