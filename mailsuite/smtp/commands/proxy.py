"""XCLIENT and XFORWARD: an authorised client speaks for another (XCLIENT_README and XFORWARD_README of Postfix).

XCLIENT makes the session another client's, for tests and for front ends: access rules see that client. XFORWARD only
tells, for the log and for content filters, where a message came from.
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from mailsuite.base.errors import PeerError
from mailsuite.smtp import questions
from mailsuite.smtp.facts import Client, Facts, Forwarded, NameStatus
from mailsuite.smtp.outcome import Done, Outcome, Pending, refused
from mailsuite.smtp.syntax import Word, is_hostname, neuter_helo, printable, read_xtext
from mailsuite.smtp.welcome import banner

if TYPE_CHECKING:
    from mailsuite.smtp.session import ServerSession

XCLIENT_NAMES = ("NAME", "ADDR", "PROTO", "HELO", "REVERSE_NAME", "PORT", "LOGIN", "DESTADDR", "DESTPORT")
XFORWARD_NAMES = ("NAME", "ADDR", "PROTO", "HELO", "SOURCE", "PORT", "IDENT")
_NOT_KNOWN, _NOT_NOW = "[UNAVAILABLE]", "[TEMPUNAVAIL]"
_VALUE_LIMIT = 255
_OK = Done("250 2.0.0 Ok")


def _attributes(words: list[Word], names: tuple[str, ...], verb: str, ipv6: bool) -> dict[str, str]:
    """Checked attribute=value pairs. Raises PeerError with the reply."""
    if len(words) < 2:
        raise PeerError(f"501 5.5.4 Syntax: {verb} attribute=value...")
    found: dict[str, str] = {}
    for word in words[1:]:
        name, sign, value = word.text.partition("=")
        if not sign:
            raise PeerError("501 5.5.4 Error: attribute=value expected")
        if len(value) > _VALUE_LIMIT:
            raise PeerError("501 5.5.4 Error: attribute value too long")
        name = name.upper()
        if name not in names:
            raise PeerError(f"501 5.5.4 Bad {verb} attribute name: {printable(name)}")
        try:
            text = printable(read_xtext(value))
        except PeerError as error:
            raise PeerError(f"501 5.5.4 Bad attribute value syntax: {printable(value)}") from error
        wrong = not _CHECKS[name](text) or (name.endswith("ADDR") and ":" in text and not ipv6)
        if wrong and text.upper() not in (_NOT_KNOWN, _NOT_NOW):
            raise PeerError(f"501 5.5.4 Bad {name} syntax: {text}")
        found[name] = text.upper() if text.upper() in (_NOT_KNOWN, _NOT_NOW) else text
    return found


def _is_name(text: str) -> bool:
    return is_hostname(text)


def _is_address(text: str) -> bool:
    return plain_address(text) != ""


def plain_address(text: str) -> str:
    """"192.0.2.1" or "IPv6:2001:db8::1" without its tag; "" for anything else."""
    try:
        if text[:5].lower() == "ipv6:":
            return str(ipaddress.IPv6Address(text[5:]))
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return ""


def _is_port(text: str) -> bool:
    return text.isdigit() and text.isascii() and len(text) <= 10


def _anything(text: str) -> bool:
    return bool(text)


_CHECKS: Mapping[str, Callable[[str], bool]] = {
    "NAME": _is_name, "REVERSE_NAME": _is_name, "ADDR": _is_address, "DESTADDR": _is_address, "PORT": _is_port,
    "DESTPORT": _is_port, "HELO": _anything, "LOGIN": _anything, "IDENT": _anything,
    "PROTO": lambda text: text.upper() in ("SMTP", "ESMTP"),
    "SOURCE": lambda text: text.upper() in ("LOCAL", "REMOTE"),
}


def _known(text: str) -> str:
    return "" if text in (_NOT_KNOWN, _NOT_NOW) else text


# --- XCLIENT ----------------------------------------------------------------------------------------------------

def do_xclient(session: "ServerSession", words: list[Word]) -> Outcome:
    facts = session.facts
    if facts.sender is not None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: MAIL transaction in progress")
    if not session.may_xclient:
        session.trouble.add("protocol")
        return refused("550 5.7.0 Error: insufficient authorization")
    try:
        said = _attributes(words, XCLIENT_NAMES, "XCLIENT", session.config.ipv6)
    except PeerError as error:
        session.trouble.add("protocol")
        return refused(error.public)

    def judged(answer: object) -> Outcome:
        session.offer = None
        # The dialogue begins anew: neither an error nor a success.
        outcome = banner(session, answer)
        return Done(outcome.reply, ok=False, blameless=not isinstance(answer, questions.Refusal))

    return Pending(questions.BecomeClient(tuple(said.items())), judged)


def apply_xclient(facts: Facts, said: Mapping[str, str]) -> None:
    """Make the session another client's."""
    client = facts.client
    for name, value in said.items():
        known = _known(value)
        match name:
            case "NAME":
                client.name, client.name_status = known or "unknown", _status(value)
            case "REVERSE_NAME":
                client.reverse_name, client.reverse_status = known or "unknown", _status(value)
            case "ADDR":
                client.address = plain_address(known) if known else "unknown"
            case "PORT":
                client.port = int(known) if known else 0
            case "DESTADDR":
                client.server_address = plain_address(known) if known else ""
            case "DESTPORT":
                client.server_port = int(known) if known else 0
            case "HELO":
                facts.helo = neuter_helo(known) if known else None
            case "PROTO":
                facts.protocol = known.upper() or "SMTP"
            case "LOGIN":
                facts.sasl_username, facts.sasl_method = known, "XCLIENT" if known else ""


def _status(value: str) -> NameStatus:
    return {_NOT_KNOWN: NameStatus.PERMANENT, _NOT_NOW: NameStatus.TEMPORARY}.get(value, NameStatus.OK)


# --- XFORWARD ---------------------------------------------------------------------------------------------------

def do_xforward(session: "ServerSession", words: list[Word]) -> Outcome:
    facts = session.facts
    if facts.sender is not None:
        session.trouble.add("protocol")
        return refused("503 5.5.1 Error: MAIL transaction in progress")
    if not session.may_xforward:
        session.trouble.add("protocol")
        return refused("550 5.7.0 Error: insufficient authorization")
    try:
        said = _attributes(words, XFORWARD_NAMES, "XFORWARD", session.config.ipv6)
    except PeerError as error:
        session.trouble.add("protocol")
        return refused(error.public)
    facts.forwarded = _forwarded(facts.forwarded or Forwarded(Client(address="")), said)
    return _OK


def _forwarded(before: Forwarded, said: Mapping[str, str]) -> Forwarded:
    for name, value in said.items():
        known = _known(value)
        match name:
            case "NAME":
                before.client.name = known or "unknown"
            case "ADDR":
                before.client.address = plain_address(known) if known else ""
            case "PORT":
                before.client.port = int(known) if known else 0
            case "HELO":
                before.helo = neuter_helo(known) if known else ""
            case "PROTO":
                before.protocol = known.upper()
            case "IDENT":
                before.ident = known
            case "SOURCE":
                before.local = known.upper() == "LOCAL" if known else None
    return before
