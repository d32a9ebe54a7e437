"""Getting in: greeting, STARTTLS, CAPABILITY, and the best way to log in that both sides know.

Source: RFC 3501 section 6.2, RFC 4959 (SASL-IR), RFC 7628 (OAUTHBEARER), Google's XOAUTH2. A password never goes over
an unencrypted connection to a server that says LOGINDISABLED; whether it may else is the administrator's imapc_ssl.
"""

from base64 import b64encode
from collections.abc import Callable

from mailsuite.base.errors import ConfigError, PeerError, PermanentError
from mailsuite.imapc.account import Account, lacking
from mailsuite.imapc.wire_client import Continue, Lost, Tagged, Untagged, Wire

Command = Callable[..., Tagged]


class LoginFailed(PermanentError):
    """The server does not want this user with this password."""


def _said(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def greeting(wire: Wire) -> bool:
    """Read it; True when the server has let us in already (PREAUTH)."""
    response = wire.read()
    if isinstance(response, Untagged) and response.name == b"BYE":
        raise Lost(f"{wire.account.host} refuses: {_said(response.text)}")
    if not isinstance(response, Untagged) or response.name not in (b"OK", b"PREAUTH"):
        raise PeerError(f"{wire.account.host} does not speak IMAP")
    return response.name == b"PREAUTH"


def _responses(account: Account) -> dict[str, bytes]:
    """The initial response of each mechanism that we know."""
    authcid = account.master_user or account.user
    authzid = account.user if account.master_user else ""
    plain = "\0".join((authzid, authcid, account.password)).encode()
    bearer = f"auth=Bearer {account.password}"
    return {
        "PLAIN": plain,
        "XOAUTH2": f"user={account.user}\1{bearer}\1\1".encode(),
        "OAUTHBEARER": f"n,a={account.user},\1host={account.host}\1port={account.port}\1{bearer}\1\1".encode(),
    }


def choose(account: Account, capabilities: frozenset[str]) -> str:
    """A mechanism, or "LOGIN" for the command. Raises LoginFailed when no way is left."""
    offered = {word.removeprefix("AUTH=") for word in capabilities if word.startswith("AUTH=")}
    known = _responses(account)
    for mechanism in account.mechanisms:
        if mechanism in known and mechanism in offered:
            return mechanism
        if mechanism in ("LOGIN", "PLAINTEXT") and "LOGINDISABLED" not in capabilities:
            return "LOGIN"
    if account.mechanisms:
        raise LoginFailed(f"{account.host} has none of the mechanisms {' '.join(account.mechanisms)}")
    if "PLAIN" in offered and ("LOGINDISABLED" not in capabilities or account.master_user):
        return "PLAIN"
    if "LOGINDISABLED" in capabilities:
        raise LoginFailed(f"{account.host} takes no password on an unencrypted connection: set imapc_ssl")
    if account.master_user:
        raise LoginFailed(f"{account.host} has no AUTH=PLAIN, which imapc_master_user needs")
    return "LOGIN"


def log_in(wire: Wire, command: Command, capabilities: frozenset[str], quote: Callable[[bytes], list[bytes]]) -> Tagged:
    """Raises LoginFailed, ConfigError, Lost; a server that is busy is Lost, too: another try may help."""
    account = wire.account
    if missing := lacking(account):
        raise ConfigError(f"missing {missing}")
    mechanism = choose(account, capabilities)
    if mechanism == "LOGIN":
        done = command(b"LOGIN ", *quote(account.user.encode()), b" ", *quote(account.password.encode()), check=False)
    else:
        initial = b64encode(_responses(account)[mechanism])
        direct = "SASL-IR" in capabilities
        answers = [] if direct else [initial]

        def answer(challenge: Continue) -> bytes:
            return answers.pop() if answers else b""     # an error's details are answered with an empty line

        line = f"AUTHENTICATE {mechanism}".encode() + (b" " + initial if direct else b"")
        done = command(line, check=False, answer=answer)
    if done.status == b"OK":
        return done
    if done.code in (b"UNAVAILABLE", b"INUSE", b"LIMIT"):
        raise Lost(f"{account.host} refuses for now: {_said(done.text)}")
    raise LoginFailed(f"Authentication failed on {account.host} for {account.user}: {_said(done.text)}")
