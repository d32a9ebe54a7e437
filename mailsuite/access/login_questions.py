"""What a session before its login asks its handler, and what it is answered.

    Authenticate, Proceed -> AuthStep (sasl.auth_client)        Cancel -> None
    LogIn -> HandedOver | Refused        PassOn -> HandedOver | NotPassedOn
"""

from dataclasses import dataclass
from enum import Enum

from mailsuite.sasl.auth_client import Success


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Begin; initial in base64 as the client sent it."""

    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Proceed:
    request_id: int
    response: bytes


@dataclass(frozen=True, slots=True)
class Cancel:
    """The client gave up on that request; answered with None."""

    request_id: int


@dataclass(frozen=True, slots=True)
class LogIn:
    """Hand the connection over. The handler reads `octets` from the session once it reads no more from the client."""

    success: Success
    mechanism: str


@dataclass(frozen=True, slots=True)
class PassOn:
    """The database wants the login to go on to another server."""

    success: Success


@dataclass(frozen=True, slots=True)
class NotPassedOn:
    """Why there is no other server for it: the name of a proxy_dialogue.Kind. reply: what that server said."""

    kind: str
    reply: str = ""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """It belongs to process pid now; nothing more may be said here."""

    pid: int


class Why(Enum):
    """Why the access service did not take a connection."""

    NOT_FOUND = "notfound"           # the user is in no user database
    LIMIT = "limit"                  # mail_max_userip_connections
    INITIALIZATION = "init"          # uid or gid not allowed, and the like
    FAILED = "failed"                # it is away, or something unforeseen


@dataclass(frozen=True, slots=True)
class Refused:
    why: Why
    text: str = ""
