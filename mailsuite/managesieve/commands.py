"""The commands of ManageSieve after login: a table from names to functions over the user's scripts. Blocking.

    run(context, command) -> Done

What a script says is not looked at: there is no interpreter yet. PUTSCRIPT stores, SETACTIVE makes the link, and tells
in a WARNINGS code that nothing runs the script here.
Source: RFC 5804 section 2; the texts are Pigeonhole's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mailsuite.managesieve.reply import capabilities, no, ok, string, tag
from mailsuite.managesieve.scripts import ScriptError, ScriptStore, is_valid_name
from mailsuite.managesieve.syntax import Argument, Command, TooLarge, Word

NOT_RUN = "The script is kept; this server does not check or run Sieve scripts yet."


@dataclass
class Context:
    """store: made when a command first needs it. note: a line for the log."""

    implementation: str
    sieve: str
    notify: str
    open_store: Callable[[], ScriptStore]
    max_octets: int
    notes: list[str] = field(default_factory=list)
    _store: ScriptStore | None = None

    @property
    def store(self) -> ScriptStore:
        """Raises ScriptError: the user can have none."""
        if self._store is None:
            self._store = self.open_store()
        return self._store


@dataclass(frozen=True, slots=True)
class Done:
    """octets: the reply. bad: counts as a bad command."""

    octets: bytes
    bad: bool = False
    close: bool = False


class WrongArguments(Exception):
    """Of a command; the text is for the client."""


def run(context: Context, command: Command) -> Done:
    """Raises OSError."""
    entry = COMMANDS.get(command.name)
    if entry is None:
        return Done(no(f"Error in MANAGESIEVE command {command.name}: Unknown command.") if command.name
                    else no("Error in MANAGESIEVE command."), bad=True)
    try:
        return entry(context, command.arguments)
    except WrongArguments as error:
        return Done(no(f"Error in MANAGESIEVE command {command.name}: {error}"), bad=True)
    except ScriptError as error:
        return Done(no(error.public, error.code))


def _strings(arguments: tuple[Argument, ...], count: int) -> list[str]:
    """Exactly count strings. Raises WrongArguments."""
    _count(arguments, count)
    if not all(isinstance(argument, bytes) for argument in arguments):
        raise WrongArguments("Invalid arguments.")
    try:
        return [argument.decode("utf-8") for argument in arguments if isinstance(argument, bytes)]
    except UnicodeDecodeError:
        raise WrongArguments("Invalid arguments.") from None


def _count(arguments: tuple[Argument, ...], count: int) -> None:
    if len(arguments) < count:
        raise WrongArguments("Missing arguments." if count > 1 or not arguments else "Invalid arguments.")
    if len(arguments) > count:
        raise WrongArguments("Too many arguments.")


def do_capability(context: Context, arguments: tuple[Argument, ...]) -> Done:
    _count(arguments, 0)
    return Done(capabilities(context.implementation, context.sieve, context.notify) + ok("Capability completed."))


def do_noop(context: Context, arguments: tuple[Argument, ...]) -> Done:
    if not arguments:
        return Done(ok("NOOP Completed"))
    if not isinstance(arguments[0], bytes):
        return Done(no("Invalid echo tag."))
    _count(arguments, 1)
    return Done(ok("Done", tag(arguments[0])))


def do_logout(context: Context, arguments: tuple[Argument, ...]) -> Done:
    _count(arguments, 0)
    return Done(ok("Logout completed."), close=True)


def do_listscripts(context: Context, arguments: tuple[Argument, ...]) -> Done:
    _count(arguments, 0)
    lines = [string(name) + (b" ACTIVE" if active else b"") + b"\r\n" for name, active in context.store.names()]
    return Done(b"".join(lines) + ok("Listscripts completed."))


def do_havespace(context: Context, arguments: tuple[Argument, ...]) -> Done:
    _count(arguments, 2)
    name, size = arguments
    if not isinstance(name, bytes):
        return Done(no("Invalid string for scriptname."))
    if not isinstance(size, Word) or not size.text.isdigit():
        return Done(no("Invalid scriptsize argument."))
    text = name.decode("utf-8", "replace")
    if not is_valid_name(text):
        return Done(no("Invalid script name."))
    context.store.check_space(text, int(size.text))
    return Done(ok("Putscript would succeed."))


def do_putscript(context: Context, arguments: tuple[Argument, ...]) -> Done:
    if len(arguments) != 2 or not isinstance(arguments[0], bytes):
        raise WrongArguments("Invalid arguments.")
    if isinstance(arguments[1], TooLarge):
        return _too_large(context)
    name, content = _strings(arguments[:1], 1)[0], arguments[1]
    if not isinstance(content, bytes):
        raise WrongArguments("Invalid arguments.")
    try:
        context.store.put(name, content)
    except ScriptError as error:
        context.notes.append(f"Failed to store script `{name}': {error.public}")
        raise
    return Done(ok("PUTSCRIPT completed."))


def _too_large(context: Context) -> Done:
    return Done(no(f"Script is too large (max {context.max_octets} bytes).", "QUOTA/MAXSIZE"))


def do_checkscript(context: Context, arguments: tuple[Argument, ...]) -> Done:
    _count(arguments, 1)
    if isinstance(arguments[0], TooLarge):
        return _too_large(context)
    _strings(arguments, 1)
    return Done(ok("This server does not check Sieve scripts yet.", "WARNINGS"))


def do_getscript(context: Context, arguments: tuple[Argument, ...]) -> Done:
    (name,) = _strings(arguments, 1)
    try:
        content = context.store.get(name)
    except ScriptError as error:
        context.notes.append(f"Failed to retrieve script `{name}': {error.public}")
        raise
    return Done(b"{%d}\r\n" % len(content) + content + b"\r\n" + ok("Getscript completed."))


def do_setactive(context: Context, arguments: tuple[Argument, ...]) -> Done:
    (name,) = _strings(arguments, 1)
    if not name:
        return Done(ok("Active script is now deactivated." if context.store.deactivate() else
                       "No scripts currently active."))
    try:
        changed = context.store.activate(name)
    except ScriptError as error:
        context.notes.append(f"Failed to open script `{name}' for activation: {error.public}")
        raise
    return Done(ok(NOT_RUN, "WARNINGS") if changed else ok("Script is already active."))


def do_deletescript(context: Context, arguments: tuple[Argument, ...]) -> Done:
    (name,) = _strings(arguments, 1)
    try:
        context.store.delete(name)
    except ScriptError as error:
        context.notes.append(f"Failed to delete script `{name}': {error.public}")
        raise
    return Done(ok("Deletescript completed."))


def do_renamescript(context: Context, arguments: tuple[Argument, ...]) -> Done:
    name, new = _strings(arguments, 2)
    try:
        context.store.rename(name, new)
    except ScriptError as error:
        context.notes.append(f"Failed to rename script `{name}' to `{new}': {error.public}")
        raise
    return Done(ok("Renamescript completed."))


COMMANDS: Mapping[str, Callable[[Context, tuple[Argument, ...]], Done]] = {
    "CAPABILITY": do_capability, "NOOP": do_noop, "LOGOUT": do_logout, "LISTSCRIPTS": do_listscripts,
    "HAVESPACE": do_havespace, "PUTSCRIPT": do_putscript, "CHECKSCRIPT": do_checkscript, "GETSCRIPT": do_getscript,
    "SETACTIVE": do_setactive, "DELETESCRIPT": do_deletescript, "RENAMESCRIPT": do_renamescript,
}
