"""doveadm pw: makes and checks stored passwords."""

import sys

from mailsuite.cli.doveadm import EX_TEMPFAIL, EX_USAGE, Doveadm, Exit
from mailsuite.cli.doveadm_auth import ask_password
from mailsuite.sasl import schemes

DEFAULT_SCHEME = "CRYPT"


def pw(doveadm: Doveadm, arguments: list[str]) -> int:
    """The command."""
    found, rest = doveadm.options(arguments, "prstu", "lV")
    if rest:
        raise Exit(EX_USAGE, f"Error: Extraneous arguments found: {' '.join(rest)}")
    if "l" in found:
        print(" ".join(schemes.SCHEMES) + " ")
        return 0
    user = found.get("u", [""])[-1]
    if "t" in found:
        _test(found["t"][-1], _password(found, twice=False), user)
        return 0
    scheme = found.get("s", [DEFAULT_SCHEME])[-1].upper()
    try:
        schemes.find(scheme)
    except schemes.SchemeError:
        raise Exit(EX_TEMPFAIL, f"Fatal: Unknown scheme: {scheme}") from None
    rounds = found.get("r", ["0"])[-1]
    if not rounds.isdecimal():
        raise Exit(EX_TEMPFAIL, f"Fatal: Invalid number of rounds: {rounds}")
    password = _password(found, twice=True)
    if scheme.partition(".")[0] == "DIGEST-MD5" and not user:
        raise Exit(EX_TEMPFAIL, "Fatal: digest_md5_generate(): username not given")
    try:
        stored = schemes.generate(scheme, password, user, int(rounds))
    except schemes.SchemeError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: {error.detail or error.public}") from error
    if "V" in found:
        _verify(scheme, stored, password, user)
        print(f"{{{scheme}}}{stored} (verified)")
    else:
        print(f"{{{scheme}}}{stored}")
    return 0


def _password(found: dict[str, list[str]], *, twice: bool) -> bytes:
    if "p" in found:
        text = found["p"][-1]
    else:
        text = ask_password("Enter new password: " if twice else "Enter password to verify: ")
        while twice and ask_password("Retype new password: ") != text:
            print("Error: Passwords don't match!", file=sys.stderr)
            text = ask_password("Enter new password: ")
    return text.encode("utf-8", "surrogateescape")


def _test(hashed: str, password: bytes, user: str) -> None:
    scheme, stored = schemes.split_scheme(hashed, "")
    if not scheme:
        raise Exit(EX_TEMPFAIL, "Fatal: Missing {scheme} prefix from hash")
    _verify(scheme, stored, password, user)
    print(f"{hashed} (verified)")


def _verify(scheme: str, stored: str, password: bytes, user: str) -> None:
    try:
        good = schemes.verify(scheme, stored, password, user)
    except schemes.SchemeError as error:
        reason = "Unknown scheme" if error.public == "unknown scheme" else error.detail
        raise Exit(EX_TEMPFAIL, f"Fatal: reverse decode check failed: {reason}") from error
    if not good:
        raise Exit(EX_TEMPFAIL, "Fatal: reverse password verification check failed: Password mismatch")
