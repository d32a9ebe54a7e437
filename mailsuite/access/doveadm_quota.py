"""doveadm quota get and recalc."""

from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_run import EX_NOTFOUND, Run

TITLES = ("Quota name", "Type", "Value", "Limit", "%")
_KEYS = ("root", "type", "value", "limit", "percent")


def get(run: Run) -> None:
    run.header(*TITLES, right=TITLES[2:], keys=_KEYS)
    if run.store.quota is None:
        run.complain("Quota not enabled", EX_NOTFOUND)
        return
    for root in run.store.quota.state():
        resources = {resource.name: resource for resource in root.resources}
        for name in ("STORAGE", "MESSAGE"):
            used, limit = (resources[name].used, resources[name].limit) if name in resources else (0, None)
            run.row((root.name, name, str(used), "-" if limit is None else str(limit),
                     str(used * 100 // limit) if limit else "0"))


def recalc(run: Run) -> None:
    if run.store.quota is None:
        run.complain("Quota not enabled", EX_NOTFOUND)
        return
    run.store.quota.recalculate()


COMMANDS: Mapping[str, Callable[[Run], None]] = {"quota get": get, "quota recalc": recalc}
