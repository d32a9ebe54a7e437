"""PLAIN (RFC 4616), LOGIN (an old habit of mail clients), EXTERNAL (RFC 4422 appendix A), ANONYMOUS (RFC 4505)."""

from mailsuite.base.secret import Secret
from mailsuite.sasl.mech import Claim, Exchange, Facts, MechError, Name, Proved, Say, answer, text


def plain(facts: Facts) -> Exchange:
    """authzid NUL authcid NUL password."""
    return plain_claim(answer((yield Say(b"", initial=True))))


def plain_claim(octets: bytes) -> Claim:
    """What a response of PLAIN says. Raises MechError."""
    parts = octets.split(b"\0")
    if len(parts) != 3:
        raise MechError("invalid input")
    authzid, user, password = parts
    return Claim(text(user), Secret(password), "" if authzid == user or not authzid else text(authzid))


def login(facts: Facts) -> Exchange:
    """Name and password, asked for one by one; the name may come as initial response, but not an empty one."""
    user = answer((yield Say(b"Username:", initial=True)))
    if b"\0" in user:
        raise MechError("invalid input")
    yield Name(text(user))
    password = answer((yield Say(b"Password:")))
    if b"\0" in password:
        raise MechError("invalid input", user=text(user))
    return Claim(text(user), Secret(password))


def external(facts: Facts) -> Exchange:
    """The TLS layer knows who it is; the answer may name as whom to act (RFC 4422 appendix A).

    No password is known: the user's password database has to say that none is needed (nopassword), as in Dovecot.
    """
    named = text(answer((yield Say(b"", initial=True))))
    if not facts.certificate_user:
        raise MechError("username not known")
    return Claim(facts.certificate_user, Secret(b""), "" if named == facts.certificate_user else named)


def anonymous(facts: Facts) -> Exchange:
    """Anyone, as auth_anonymous_username; the answer is a trace for the log."""
    trace = text(answer((yield Say(b"", initial=True))))
    return Proved(facts.anonymous_user, anonymous=True, trace=trace)
