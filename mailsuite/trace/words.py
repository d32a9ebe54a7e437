"""A line of the log in plain words.

    event = event_of(1795256655.0, "smtp", "to=<a@b.test>, relay=..., status=sent (250 2.0.0 Ok: queued as 5A...)")

Grammar: what Postfix's programs write, and ours. A line that none of the rules knows becomes an event of its own text,
so that nothing is kept back.
"""

import re
from collections.abc import Callable

from mailsuite.trace.model import Event

_DELIVERY = re.compile(
    r"to=<(?P<to>.*?)>, (?:orig_to=<(?P<original>.*?)>, )?relay=(?P<relay>.*?), (?:conn_use=\d+, )?"
    r"delay=(?P<delay>[\d.]+), delays=(?P<delays>[\d./]+), dsn=(?P<dsn>[\d.]+), status=(?P<status>\w[\w-]*) ?"
    r"(?:\((?P<reason>.*)\))?$", re.DOTALL)
_QUEUED = re.compile(r"from=<(?P<sender>.*)>, size=(?P<size>\d+), nrcpt=(?P<count>\d+) \(queue (?P<queue>\w+)\)")
_EXPIRED = re.compile(r"from=<.*>, status=(?P<how>expired|force-expired), returned to sender")
_NOTICE = re.compile(r"(?P<what>(?:sender|postmaster|owner) .*notification): (?P<id>[0-9A-Za-z]{6,20})$")
_NEW_ID = re.compile(r"\b(?P<how>queued|forwarded) as (?P<id>[0-9A-Za-z]{6,20})\b")
_CLIENT = re.compile(r"client=(?P<client>\S+?)(?:, |$)")
_LOGIN = re.compile(r"sasl_username=(?P<user>[^,\s]+)")
_ORIGIN = re.compile(r"orig_queue_id=(?P<id>\w+)")
_PICKUP = re.compile(r"uid=(?P<uid>\d+) from=<(?P<sender>.*)>(?: orig_id=(?P<id>\w+))?$")
_ACTION = re.compile(r"(?P<what>(?:milter-)?(?:reject|hold|discard|redirect|filter|warning|replace|prepend|bcc|info|"
                     r"strip|permit|warn|defer|pass|dunno|reject_warning)): (?P<rest>.*)", re.DOTALL)
_POSTSUPER = {"removed": ("deleted", "deleted by the administrator"),
              "requeued": ("requeued", "requeued by the administrator: it is taken in anew under another id"),
              "placed on hold": ("held", "placed on hold by the administrator"),
              "released from hold": ("released", "released from hold by the administrator"),
              "expired": ("expired", "marked by the administrator to be returned to its sender")}
_ACTIONS = {"reject": ("refused", "refused"), "hold": ("held", "placed on hold"),
            "discard": ("discarded", "thrown away"),
            "redirect": ("redirected", "redirected"), "filter": ("filtered", "sent to a content filter"),
            "warning": ("warning", "warning"), "warn": ("warning", "a check warned"),
            "defer": ("refused", "refused for now")}
_SELF = ("local", "virtual", "lmtp", "pipe", "error", "retry", "discard")


def event_of(at: float, program: str, text: str) -> Event:
    """Any line with a queue id, or NOQUEUE."""
    for rule in _RULES:
        event = rule(at, program, text)
        if event is not None:
            return event
    return Event(at, program, "note", text)


def _delivery(at: float, program: str, text: str) -> Event | None:
    match = _DELIVERY.match(text)
    if match is None:
        return None
    status, relay, reason = match["status"], match["relay"], match["reason"] or ""
    after = f" after {_duration(float(match['delay']))}"
    link = _NEW_ID.search(reason)
    forwarded = link is not None and link["how"] == "forwarded"
    if status == "sent" and forwarded:
        told = f"forwarded by {program}{after}"
    elif status == "sent":
        told = f"delivered by {program}{after}" if relay in ("none", *_SELF) or program in _SELF else (
            f"handed to {relay}{after}")
    elif status == "deferred":
        told = f"not delivered yet{after}"
    elif status in ("bounced", "expired"):
        told = f"failed for good{after}"
    else:
        told = f"{status}{after}"
    return Event(at, program, status, told, match["to"], match["original"] or "", relay, match["dsn"], reason,
                 match["delay"], match["delays"], link["id"] if link else "",
                 ("forwarded" if forwarded else "passed on") if link else "")


def _queued(at: float, program: str, text: str) -> Event | None:
    match = _QUEUED.match(text)
    if match is None:
        return None
    count = int(match["count"])
    return Event(at, program, "queued", f"taken up for delivery: from <{match['sender']}>, {match['size']} octets, "
                                        f"{count} recipient{'' if count == 1 else 's'}")


def _expired(at: float, program: str, text: str) -> Event | None:
    match = _EXPIRED.match(text)
    if match is None:
        return None
    why = "it waited too long" if match["how"] == "expired" else "the administrator wanted it"
    return Event(at, program, "expired", f"given up, returned to its sender: {why}")


def _notice(at: float, program: str, text: str) -> Event | None:
    match = _NOTICE.match(text)
    if match is None:
        return None
    whom, _, what = match["what"].partition(" ")
    told = {"non-delivery notification": "notice of failure", "delay notification": "notice of delay",
            "delivery status notification": "notice of delivery"}.get(what, what)
    return Event(at, program, "notice", f"{told} to the {whom}", link=match["id"], how=told)


def _accepted(at: float, program: str, text: str) -> Event | None:
    if (match := _PICKUP.match(text)) is not None:
        if match["id"]:
            told = f"taken in anew, it was {match['id']}"
            return Event(at, program, "accepted", told, link=match["id"], how="before")
        return Event(at, program, "accepted", f"submitted on this machine by uid {match['uid']}, from "
                                              f"<{match['sender']}>")
    match = _CLIENT.match(text)
    if match is None:
        return None
    told = f"accepted from {match['client']}"
    if (login := _LOGIN.search(text)) is not None:
        told += f", logged in as {login['user']}"
    origin = _ORIGIN.search(text)
    if origin is None:
        return Event(at, program, "accepted", told)
    return Event(at, program, "accepted", f"{told}, which had it as {origin['id']}", link=origin["id"], how="before")


def _message_id(at: float, program: str, text: str) -> Event | None:
    if not text.startswith(("message-id=", "resent-message-id=")):
        return None
    return Event(at, program, "message-id", f"Message-ID {text.partition('=')[2]}")


def _end(at: float, program: str, text: str) -> Event | None:
    if program == "postsuper" and text in _POSTSUPER:
        return Event(at, program, *_POSTSUPER[text])
    return Event(at, program, "removed", "finished: it has left the queue") if text == "removed" else None


def _action(at: float, program: str, text: str) -> Event | None:
    match = _ACTION.match(text)
    if match is None:
        return None
    milter = match["what"].startswith("milter-")
    what = match["what"].removeprefix("milter-")
    kind, told = _ACTIONS.get(what, ("check", f"a check said {what}"))
    return Event(at, program, kind, f"{told}{' by a milter' if milter else ''}: {match['rest']}")


_RULES: tuple[Callable[[float, str, str], Event | None], ...] = (
    _delivery, _queued, _message_id, _accepted, _end, _expired, _notice, _action)


def sender_and_size(text: str) -> tuple[str, int] | None:
    """What qmgr's line tells of the message."""
    match = _QUEUED.match(text)
    return (match["sender"], int(match["size"])) if match else None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def where_time_went(delays: str) -> str:
    """delays=a/b/c/d in words: the parts of a second and more; "" for none."""
    names = ("before the queue manager had it", "in the queue", "to connect", "to transmit")
    try:
        parts = [float(part) for part in delays.split("/")]
    except ValueError:
        return ""
    return ", ".join(f"{_duration(part)} {name}" for part, name in zip(parts, names, strict=False) if part >= 1)
