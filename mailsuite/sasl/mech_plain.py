"""PLAIN (RFC 4616), LOGIN (an old habit of mail clients), EXTERNAL (RFC 4422 appendix A), ANONYMOUS (RFC 4505)."""

from mailsuite.base.secret import Secret
from mailsuite.sasl.mech import Claim, End, Exchange, Facts, MechError, Name, Proved, Say, answer, text


def plain(facts: Facts) -> Exchange:
    """authzid NUL authcid NUL password."""
    parts = answer((yield Say(b"", initial=True))).split(b"\0")
    if len(parts) != 3:
        raise MechError("invalid input")
    authzid, user, password = parts
    return Claim(text(user), Secret(password), "" if authzid == user else text(authzid))


def login(facts: Facts) -> Exchange:
    """Name and password, asked for one by one; the name may come as initial response."""
    user = text(answer((yield Say(b"Username:", initial=True))).split(b"\0")[0])
    yield Name(user)
    password = answer((yield Say(b"Password:")))
    return Claim(user, Secret(password.split(b"\0")[0]))


def external(facts: Facts) -> Exchange:
    """The TLS layer knows who it is; the answer may name it again."""
    named = text(answer((yield Say(b"", initial=True))))
    if not facts.certificate_user:
        raise MechError("username not known")
    return _external_end(named, facts.certificate_user)


def _external_end(named: str, certified: str) -> End:
    if named and named != certified:
        raise MechError("authorization ID doesn't match certificate's", user=certified)
    return Proved(certified)


def anonymous(facts: Facts) -> Exchange:
    """Anyone, as auth_anonymous_username; the answer is a trace for the log."""
    trace = text(answer((yield Say(b"", initial=True))))
    return Proved(facts.anonymous_user, anonymous=True, trace=trace)
