"""doveadm quota get and recalc: what a user's quota roots hold."""

from collections.abc import Callable, Mapping

from mailsuite.access.doveadm_run import EX_TEMPFAIL, Run, reason
from mailsuite.store.api import MailError

RIGHT = ("Value", "Limit", "%")


def get(run: Run) -> None:
    """A line for each resource of each root; "-" where there is no limit."""
    run.header("Quota name", "Type", *RIGHT, right=RIGHT)
    if run.store.quota is None:
        return
    try:
        roots = run.store.quota.state()
    except MailError as error:
        run.complain(f"Failed to get quota: {reason(error)}", EX_TEMPFAIL)
        return
    for root in roots:
        for one in root.resources:
            limit, percent = ("-", 0) if one.limit is None else (str(one.limit), one.used * 100 // one.limit)
            run.row([root.name, one.name, str(one.used), limit, str(percent)])


def recalc(run: Run) -> None:
    """Count anew."""
    if run.store.quota is not None:
        try:
            run.store.quota.recalculate()
        except MailError as error:
            run.complain(f"Recalculating quota failed: {reason(error)}", EX_TEMPFAIL)


COMMANDS: Mapping[str, Callable[[Run], None]] = {"quota get": get, "quota recalc": recalc}
