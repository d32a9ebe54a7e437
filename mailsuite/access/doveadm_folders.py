"""doveadm mailbox list, status, create, delete, rename, subscribe, unsubscribe, path, update: names are UTF-8 here."""

import re
from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_fields import shown
from mailsuite.access.doveadm_messages import selectable
from mailsuite.access.doveadm_query import matcher
from mailsuite.access.doveadm_run import EX_DATAERR, EX_USAGE, Failed, Run
from mailsuite.store.api import IdentityChange, Mailbox, MailError, NotPossible, Refused, Status
from mailsuite.store.names import to_mutf7


def matching(run: Run, patterns: list[str], *, parents: bool = False) -> list[str]:
    """Names (as stored) of the mailboxes that fit; a single name without wildcards stands for itself.

    parents: those that hold no mail too.
    """
    if len(patterns) == 1 and not re.search("[*%]", patterns[0]):
        return [to_mutf7(patterns[0])]
    tests = [matcher(pattern, run.store.separator) for pattern in patterns]
    return [name for name in selectable(run.store, parents=parents) if any(test(name, "") for test in tests)]


def list_(run: Run) -> None:
    run.header("mailbox", hidden=("mailbox",))
    if "s" in run.options:
        tests = [matcher(pattern, run.store.separator) for pattern in run.arguments or ["*"]]
        names = [name for name in run.store.subscriptions() if any(test(name, "") for test in tests)]
    else:
        names = matching(run, run.arguments or ["*"], parents=True)
    encoded = "7" in run.options and run.options.get("8") is None
    for name in names:
        run.row([name if encoded else shown(name)])


STATUS_FIELDS: Mapping[str, Callable[[Status], int | str | None]] = {
    "messages": lambda status: status.messages,
    "recent": lambda status: status.recent,
    "uidnext": lambda status: status.uid_next,
    "uidvalidity": lambda status: status.uid_validity,
    "unseen": lambda status: status.unseen,
    "highestmodseq": lambda status: status.highest_modseq,
    "vsize": lambda status: status.size,
    "guid": lambda status: status.guid,
    "firstsaved": lambda status: "never",
}
_SUMMED = ("messages", "recent", "unseen", "vsize")


def status(run: Run) -> None:
    wanted = run.arguments[0].split()
    total = "t" in run.options
    for name in wanted:
        if name not in STATUS_FIELDS and name != "all":
            raise Failed(f"Unknown status field: {name}", EX_USAGE)
        if total and name not in (*_SUMMED, "all"):
            raise Failed(f"Status field {name} can't be used with -t", EX_USAGE)
    if not wanted:
        raise Failed("No status fields", EX_USAGE)
    fields = [name for name in STATUS_FIELDS
              if (name in wanted or "all" in wanted) and (not total or name in _SUMMED)]
    run.header(*([] if total else ["mailbox"]), *fields, hidden=("mailbox",))
    sums = dict.fromkeys(fields, 0)
    for name in matching(run, run.arguments[1:]):
        try:
            mailbox = run.store.open(name)
            found = mailbox.status(size="vsize" in fields)
            values = [_first_saved(mailbox) if field == "firstsaved" else STATUS_FIELDS[field](found)
                      for field in fields]
        except MailError as error:
            run.error(f"Mailbox {shown(name)}: Failed to lookup mailbox status", error)
            continue
        if total:
            sums = {field: sums[field] + int(value or 0) for field, value in zip(fields, values, strict=True)}
        else:
            run.row([shown(name), *map(str, values)])
    if total:
        run.row(map(str, sums.values()))


def _first_saved(mailbox: Mailbox) -> str:
    """When the first message came into the mailbox, as seconds since the epoch."""
    view = mailbox.open_view(read_only=True, claim_recent=False)
    try:
        saved = mailbox.saved_date(view.uids[0]) if view.uids else None
    finally:
        view.close()
    return "never" if saved is None else str(saved)


def _each(run: Run, verb: str, change: Callable[[str], None]) -> None:
    """change(name as stored) for each argument; what fails is complained of, the others go on."""
    for name in run.arguments:
        try:
            change(to_mutf7(name))
        except MailError as error:
            run.error(f"Can't {verb} mailbox {name}", error, end="." if isinstance(error, Refused) else "")


_GUID = re.compile(r"[0-9a-fA-F]{32}")


def create(run: Run) -> None:
    guid = run.options.get("g", [""])[-1].lower()

    def make(name: str) -> None:
        run.store.create(name)
        if guid:
            run.store.open(name.removesuffix(run.store.separator)).update(IdentityChange(guid=guid))
        if "s" in run.options:
            run.store.subscribe(name, True)

    _each(run, "create", make)


def delete(run: Run) -> None:
    if "r" in run.options:
        below = {name: None for argument in run.arguments for name in reversed(selectable(run.store))
                 if name.startswith(to_mutf7(argument) + run.store.separator)}
        run.arguments = [*map(shown, sorted(below, reverse=True)), *run.arguments]

    def remove(name: str) -> None:
        if "e" in run.options and run.store.exists(name) and run.store.open(name).status().messages:
            raise NotEmpty
        run.store.delete(name)
        if "s" in run.options:
            run.store.subscribe(name, False)

    _each(run, "delete", remove)


class NotEmpty(NotPossible):
    """-e: only an empty mailbox is deleted."""

    def __init__(self) -> None:
        super().__init__("Mailbox isn't empty")


def rename(run: Run) -> None:
    old, new = run.arguments
    try:
        run.store.rename(to_mutf7(old), to_mutf7(new))
        if "s" in run.options:
            run.store.subscribe(to_mutf7(old), False)
            run.store.subscribe(to_mutf7(new), True)
    except MailError as error:
        sentence = "to itself" in error.public or "isn't supported" in error.public
        run.error(f"Can't rename mailbox {old} to {new}", error, end="." if sentence else "")


def _subscription(on: bool) -> Callable[[Run], None]:
    def change(run: Run) -> None:
        for name in run.arguments:
            try:
                run.store.subscribe(to_mutf7(name), on, missing=True)
            except MailError as error:          # the words stand as Dovecot has them
                run.error(f"Can't {name} mailbox {'subscribe to' if on else 'unsubscribe from'}", error)

    return change


def path(run: Run) -> None:
    kinds = {"": "mailbox", "dir": "mailbox", "mailbox": "mailbox", "alt-dir": "", "alt-mailbox": "",
             "control": "control", "index": "index", "index-private": "", "index-cache": "index", "list-index": "index"}
    kind = kinds[run.options.get("t", [""])[-1]]
    run.header("path", hidden=("path",))
    try:
        where = run.store.path(to_mutf7(run.arguments[0]), kind) if kind else ""
    except MailError as error:
        run.error(f"Failed to lookup mailbox path {run.arguments[0]}", error)
        return
    if where:
        run.row([where])


def update(run: Run) -> None:
    numbers = {option: int(values[-1]) for option, values in run.options.items()
               if option.startswith("min-") or option == "uid-validity"}
    least_recent = numbers.get("min-first-recent-uid")
    if least_recent is not None and least_recent > numbers.get("min-next-uid", 0):
        raise Failed("min_first_recent_uid > min_next_uid", EX_DATAERR)
    guid = run.options.get("mailbox-guid", [""])[-1].lower()
    change = IdentityChange(numbers.get("uid-validity"), guid or None, numbers.get("min-next-uid"),
                            numbers.get("min-highest-modseq"), least_recent)
    for name in run.arguments:
        try:
            run.store.open(to_mutf7(name)).update(change)
        except MailError as error:
            run.error(f"Cannot update {name}", error)


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "mailbox list": list_,
    "mailbox status": status,
    "mailbox create": create,
    "mailbox delete": delete,
    "mailbox rename": rename,
    "mailbox subscribe": _subscription(True),
    "mailbox unsubscribe": _subscription(False),
    "mailbox path": path,
    "mailbox update": update,
}
