"""What a session before its login asks its handler, and what it is answered.

    Authenticate, Proceed -> AuthStep (sasl.auth_client)        Cancel -> None
    LogIn -> HandedOver | Refused        PassOn -> HandedOver | NotPassedOn
"""

from enum import Enum

from msgspec import Struct

from mailsuite.sasl.auth_client import Success


class Authenticate(Struct, frozen=True):
    """Begin; initial in base64 as the client sent it."""

    mechanism: str
    initial: bytes | None


class Proceed(Struct, frozen=True):
    request_id: int
    response: bytes


class Cancel(Struct, frozen=True):
    """The client gave up on that request; answered with None."""

    request_id: int


class LogIn(Struct, frozen=True):
    """Hand the connection over. The handler reads `octets` from the session once it reads no more from the client."""

    success: Success
    mechanism: str


class PassOn(Struct, frozen=True):
    """The database wants the login to go on to another server."""

    success: Success


class NotPassedOn(Struct, frozen=True):
    """Why there is no other server for it: the name of a proxy_dialogue.Kind. reply: what that server said."""

    kind: str
    reply: str = ""


class HandedOver(Struct, frozen=True):
    """It belongs to process pid now; nothing more may be said here."""

    pid: int


class Why(Enum):
    """Why the access service did not take a connection."""

    NOT_FOUND = "notfound"           # the user is in no user database
    LIMIT = "limit"                  # mail_max_userip_connections
    INITIALIZATION = "init"          # uid or gid not allowed, and the like
    FAILED = "failed"                # it is away, or something unforeseen


class Refused(Struct, frozen=True):
    why: Why
    text: str = ""
