"""doveadm mailbox list, status, create, delete, rename, subscribe, unsubscribe: names are UTF-8 here."""

import re
from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_run import EX_USAGE, Failed, Run
from mailsuite.store.api import MailError, Refused, Status
from mailsuite.store.names import from_mutf7, to_mutf7


def shown(name: str) -> str:
    """A mailbox's name in UTF-8."""
    return from_mutf7(name) or name


def matching(run: Run, patterns: list[str]) -> list[str]:
    """Names (as stored) of selectable mailboxes that fit one of the patterns ("*", and "%" within a level)."""
    separator = re.escape(run.store.separator)
    wild = {"*": ".*", "%": f"[^{separator}]*"}
    tests = [re.compile("".join(wild.get(char) or re.escape(char) for char in pattern), re.DOTALL)
             for pattern in patterns]
    names = [info.name for info in run.store.list_mailboxes() if info.selectable]
    return sorted((name for name in names
                  if any(test.fullmatch(shown(name)) for test in tests)), key=str.lower)


def list_(run: Run) -> None:
    run.header("mailbox")
    patterns = run.arguments or ["*"]
    if "s" in run.options:
        names = run.store.subscriptions()
        tests = set(matching(run, patterns))
        everything = not run.arguments
        for name in names:
            if everything or name in tests:
                run.row([shown(name)])
        return
    for name in matching(run, patterns):
        run.row([shown(name)])


STATUS_FIELDS: Mapping[str, Callable[[Status], int | str | None]] = {
    "messages": lambda status: status.messages,
    "recent": lambda status: status.recent,
    "uidnext": lambda status: status.uid_next,
    "uidvalidity": lambda status: status.uid_validity,
    "unseen": lambda status: status.unseen,
    "highestmodseq": lambda status: status.highest_modseq,
    "vsize": lambda status: status.size,
    "guid": lambda status: status.guid,
}
_SUMMED = ("messages", "recent", "unseen", "vsize")


def status(run: Run) -> None:
    wanted = run.arguments[0].split()
    for name in wanted:
        if name not in STATUS_FIELDS and name != "all":
            raise Failed(f"Unknown status field: {name}", EX_USAGE)
    total = "t" in run.options
    fields = [name for name in STATUS_FIELDS
              if (name in wanted or "all" in wanted) and (not total or name in _SUMMED)]
    run.header(*([] if total else ["mailbox"]), *fields)
    sums = dict.fromkeys(fields, 0)
    for name in _named(run, run.arguments[1:]):
        try:
            found = run.store.open(name).status(size="vsize" in fields)
        except MailError as error:
            run.error(f"Mailbox {shown(name)}: Failed to lookup mailbox status", error)
            continue
        values = [STATUS_FIELDS[field](found) for field in fields]
        if total:
            sums = {field: sums[field] + int(value or 0) for field, value in zip(fields, values, strict=True)}
        else:
            run.row([shown(name), *map(str, values)])
    if total:
        run.row(map(str, sums.values()))


def _named(run: Run, patterns: list[str]) -> list[str]:
    """What patterns stand for; a name without wildcards stands for itself."""
    names: list[str] = []
    for pattern in patterns:
        names += matching(run, [pattern]) if re.search("[*%]", pattern) else [to_mutf7(pattern)]
    return names


def create(run: Run) -> None:
    for name in run.arguments:
        try:
            run.store.create(to_mutf7(name))
            if "s" in run.options:
                run.store.subscribe(to_mutf7(name), True)
        except MailError as error:
            run.error(f"Can't create mailbox {name}", error)


def delete(run: Run) -> None:
    for name in run.arguments:
        try:
            run.store.delete(to_mutf7(name))
            if "s" in run.options:
                run.store.subscribe(to_mutf7(name), False)
        except MailError as error:
            run.error(f"Can't delete mailbox {name}", error, end="." if isinstance(error, Refused) else "")


def rename(run: Run) -> None:
    old, new = run.arguments
    try:
        run.store.rename(to_mutf7(old), to_mutf7(new))
        if "s" in run.options:
            run.store.subscribe(to_mutf7(old), False)
            run.store.subscribe(to_mutf7(new), True)
    except MailError as error:
        run.error(f"Can't rename mailbox {old} to {new}", error)


def subscribe(run: Run) -> None:
    for name in run.arguments:
        try:
            run.store.subscribe(to_mutf7(name), True)
        except MailError as error:
            run.error(f"Can't subscribe mailbox {name}", error)


def unsubscribe(run: Run) -> None:
    for name in run.arguments:
        try:
            run.store.subscribe(to_mutf7(name), False)
        except MailError as error:
            run.error(f"Can't unsubscribe mailbox {name}", error)


COMMANDS: Mapping[str, Callable[[Run], None]] = {
    "mailbox list": list_,
    "mailbox status": status,
    "mailbox create": create,
    "mailbox delete": delete,
    "mailbox rename": rename,
    "mailbox subscribe": subscribe,
    "mailbox unsubscribe": unsubscribe,
}
