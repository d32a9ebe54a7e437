"""IMAP before login: CAPABILITY, ID, NOOP, STARTTLS, LOGIN, AUTHENTICATE, LOGOUT.

A session (base.dialogue.Session) of its own, so that parsing what strangers send never shares a process with mail.
Source: RFC 3501 sections 6.1 and 6.2, RFC 2971 (ID), RFC 4959 (SASL-IR), RFC 7888 (LITERAL+).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from mailsuite.access.login import (
    INITIALIZATION_FAILED,
    INTERNAL_FAILURE,
    LINE_LIMIT,
    NO_AUTHENTICATION,
    NO_MECHANISM,
    NO_PLAINTEXT,
    NOT_PROXIED,
    TEMPORARY_FAILURE,
    LoginSession,
)
from mailsuite.access.login_origin import CLIENT_ID_LIMIT, is_reserved
from mailsuite.access.login_story import stamped
from mailsuite.base.dialogue import Action, StartTls
from mailsuite.sasl.auth_client import Failure

BASE_CAPABILITY = "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE"
LITERAL_MINUS = 4096            # octets that a client may send without asking: RFC 7888 section 5
ID_LIMIT = 65536                # 30 fields of 30 + 1024 octets (RFC 2971 section 3.3), quoted in any way
_ID = re.compile(rb"[^ ]+ ID ", re.I)
_TAG = re.compile(rb"[^\x00-\x20\x7f-\xff(){%*\"\\+]+")
_LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}$")
_ATOM = re.compile(rb"[^ ]+")
_BAD_IN_ATOM = re.compile(rb"[\x00-\x1f\x7f\"(){]")
# Atoms and the spaces between them: no string, literal or list, nothing that an atom must not hold.
_ATOMS = re.compile(rb'[^\x00-\x1f\x7f-\xff"(){]*')
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')

_URL_SAFE = "$-_.+!*'(),&=~"     # RFC 5092, achar
TAG_MISSING = ("BAD First parameter in line is IMAP's command tag, not the command name. Add that before the command, "
               "like: a login user pass")
PLAINTEXT_ALERT = ("* BAD [ALERT] Plaintext authentication not allowed without SSL/TLS, but your client did it anyway. "
                   "If anyone was listening, the password was exposed.")


class ArgumentError(Exception):
    """What the parser says; the line is skipped."""


@dataclass
class _Arguments:
    """A command whose arguments are still coming (literals). values: None stands for a list."""

    command: str
    values: list[bytes | None] = field(default_factory=list)
    literal: int = 0                     # octets of the literal that is awaited, if one is
    octets: int = 0
    text: bytes = b""                    # of ID, whose list is looked at as a whole: literals as quoted strings

    def add_text(self, line: bytes) -> tuple[int, bool] | None:
        """Take a line as it is; (size, non-synchronizing) when a literal is announced at its end."""
        literal = _LITERAL.search(line)
        self.text += line[: literal.start()] if literal else line
        return (int(literal[1]), bool(literal[2])) if literal else None


def parse_arguments(line: bytes, into: list[bytes | None]) -> tuple[int, bool] | None:
    """Add the arguments in a line to `into`; (size, non-synchronizing) when it ends with a literal's announcement.

    Atoms, NIL included, and strings are octets; a parenthesised list is None. Raises ArgumentError.
    """
    position, end = 0, len(line)
    while position < end:
        if line[position] == 0x20:
            position += 1
            continue
        if line[position] == 0x22:
            quoted = _QUOTED.match(line, position)
            if quoted is None:
                raise ArgumentError("Missing '\"'")
            into.append(re.sub(rb"\\(.)", rb"\1", quoted[1]))
            position = quoted.end()
            if position < end and line[position] not in b" )":
                _refuse_atom(line[position:])
            continue
        if line[position] == 0x28:
            position = _skip_list(line, position)
            into.append(None)
            continue
        atom = _ATOM.match(line, position)
        assert atom is not None
        if literal := _LITERAL.fullmatch(atom[0]):
            return int(literal[1]), bool(literal[2])
        if atom[0].startswith(b"~{"):
            raise ArgumentError("literal8 not allowed here")
        _refuse_atom(atom[0])
        into.append(atom[0])
        position = atom.end()
    return None


def _refuse_atom(text: bytes) -> None:
    word = text.split(b" ")[0]
    if not word.isascii():
        raise ArgumentError("8bit data in atom")
    if _BAD_IN_ATOM.search(word):
        raise ArgumentError("Invalid characters in atom")


def _skip_list(line: bytes, position: int) -> int:
    """The position behind a parenthesised list; strings in it may hold parentheses."""
    depth = 0
    while position < len(line):
        octet = line[position]
        if octet == 0x22:
            quoted = _QUOTED.match(line, position)
            if quoted is None:
                raise ArgumentError("Missing '\"'")
            position = quoted.end()
            continue
        depth += (octet == 0x28) - (octet == 0x29)
        position += 1
        if depth == 0:
            return position
    raise ArgumentError("Missing ')'")


def flat_list(line: bytes) -> list[bytes | None] | None:
    """The strings of an ID command's list; None when it has lists in it or is no list."""
    match = re.fullmatch(rb" *\((.*)\) *", line, re.DOTALL)
    if match is None:
        return None
    values: list[bytes | None] = []
    if parse_arguments(match[1], values) is not None or None in values:
        return None
    return values


class ImapLogin(LoginSession):
    """The session."""

    tag = b"*"
    _id_seen = False
    _arguments: _Arguments | None = None

    # --- greeting and the end -----------------------------------------------------------------------------------

    def capability(self) -> str:
        kind = "capability", self.tls is None, self.is_secure, self.tls is not None and bool(self.tls.bindings)
        text = self.facts.worked_out.get(kind)
        if text is None:
            text = self.facts.worked_out[kind] = self._capability()
        return text

    def _capability(self) -> str:
        own = self.facts.capability
        if own and not own.startswith("+"):
            words = own.split()
        else:
            words = [*BASE_CAPABILITY.split(), *own[1:].split(), "LITERAL-" if self.facts.literal_minus else "LITERAL+"]
        if self.facts.tls_offered and self.tls is None:
            words.append("STARTTLS")
        if not self.plaintext_allowed():
            words.append("LOGINDISABLED")
        words += [f"AUTH={mech.name}" for mech in self.visible_mechanisms()]
        return " ".join(words)

    def opened(self) -> list[Action]:
        if self.greeted:
            return self._flush()
        self.send(f"* OK [CAPABILITY {self.capability()}] {self.facts.greeting}")
        return self._flush()

    def say_goodbye(self, text: str) -> None:
        self.send(f"* BYE {text}")

    def say_too_long(self) -> None:
        self.send("* BYE Input buffer full, aborting")
        self.close("Input buffer full")

    # --- commands -------------------------------------------------------------------------------------------------

    def line_limit(self) -> int:
        if self._arguments is not None:
            return ID_LIMIT if self._arguments.command == "ID" else LINE_LIMIT
        long = len(self._lines) > LINE_LIMIT and _ID.match(self._lines.start(LINE_LIMIT)) is not None
        return ID_LIMIT if long else LINE_LIMIT

    def take_literal(self) -> bool:
        waiting = self._arguments
        assert waiting is not None
        if len(self._lines) < waiting.literal:
            return False
        content = self._lines.take_octets(waiting.literal)
        waiting.values.append(content)
        waiting.text += b'"%b"' % re.sub(rb'([\\"])', rb"\\\1", content)
        self.literal_awaited = False
        return True

    def on_line(self, line: bytes) -> None:
        if self._arguments is not None:
            self._take_arguments(self._arguments, line)
            return
        tag, space, rest = line.partition(b" ")
        good_tag = _TAG.fullmatch(tag) is not None
        self.tag = tag if good_tag else b"*"
        name, _, arguments = rest.partition(b" ")
        command = COMMANDS.get(name.upper()) if space and good_tag else None
        if command is None and good_tag and tag.upper() == b"LOGIN" and name:
            self.tagged(TAG_MISSING)
            return
        if command is None:
            self.refuse()
            return
        command(self, arguments)

    def tagged(self, text: str) -> None:
        self.send(f"{self.tag.decode('ascii')} {text}")

    def refuse(self) -> None:
        """A bad command, in the one wording for all of them."""
        if self.count_bad():
            self.send("* BYE Too many invalid IMAP commands.")
            self.close("Too many invalid commands")
        else:
            self.tagged("BAD Error in IMAP command received by server.")

    def _begin_arguments(self, command: str, line: bytes) -> None:
        self._arguments = _Arguments(command)
        self._take_arguments(self._arguments, line)

    def _take_arguments(self, arguments: _Arguments, line: bytes) -> None:
        arguments.octets += len(line)
        try:
            if arguments.command == "ID":
                literal = arguments.add_text(line)
            else:
                literal = parse_arguments(line, arguments.values)
        except ArgumentError as error:
            self._arguments = None
            self.tagged(f"BAD {error}")
            return
        if literal is not None:
            size, at_once = literal
            arguments.octets += size
            if at_once and self.facts.literal_minus and size > LITERAL_MINUS:
                self.send("* BYE Non-synchronizing literal size too large")
                self.close("Non-synchronizing literal size too large")
                return
            if arguments.octets > (ID_LIMIT if arguments.command == "ID" else LINE_LIMIT):
                self.send("* BYE Literal size too large")
                self.close("Literal size too large")
                return
            arguments.literal, self.literal_awaited = size, True
            if not at_once:
                self.send("+ OK")
            return
        self._arguments = None
        if arguments.command == "ID":
            self._id(arguments.text)
        else:
            self._login(arguments.values)

    def _login(self, values: Sequence[bytes | None]) -> None:
        if len(values) != 2 or values[0] is None or values[1] is None:
            self.refuse()
            return
        user, password = values[0], values[1]
        if not self.plaintext_allowed():
            self.story.attempts += 1
            self.story.user = self.story.user or user.decode("utf-8", "surrogateescape")
            self.send(PLAINTEXT_ALERT)
            self.tagged(f"NO [PRIVACYREQUIRED] {NO_PLAINTEXT}")
            return
        self.ask_plain(user, password)

    def do_login(self, line: bytes) -> None:
        if _ATOMS.fullmatch(line) is not None:
            self._login(line.split())
        else:
            self._begin_arguments("LOGIN", line)

    def do_authenticate(self, line: bytes) -> None:
        name, space, initial = line.partition(b" ")
        if not name:
            self.refuse()
            return
        mech = self.find_mechanism(name.decode("ascii", "replace"))
        if self.facts.tls_required and not self.is_secure:
            self.tagged(f"NO [PRIVACYREQUIRED] {NO_AUTHENTICATION}")
        elif mech is None:
            self.story.tried_unknown = True
            self.story.mechanism = name.decode("ascii", "replace").upper()
            self.tagged(f"NO [ALERT] {NO_MECHANISM}")
        elif mech.plaintext and not self.plaintext_allowed():
            self.story.tried_plaintext, self.story.mechanism = True, mech.name
            self.tagged("NO [PRIVACYREQUIRED] Plaintext authentication disabled.")
        else:
            self.ask_auth(mech.name, initial if space else None)

    def do_capability(self, line: bytes) -> None:
        self.capability_asked = True
        self.send(f"* CAPABILITY {self.capability()}")
        self.tagged("OK Pre-login capabilities listed, post-login capabilities have more.")

    def do_starttls(self, line: bytes) -> None:
        if self.tls is not None:
            self.tagged("BAD TLS is already active.")
        elif not self.facts.tls_offered:
            self.tagged("BAD TLS support isn't enabled.")
        else:
            self.tagged("OK Begin TLS negotiation now.")
            self._stopped = self.story.tls_started = True
            self._out.append(StartTls())

    def do_id(self, line: bytes) -> None:
        self._begin_arguments("ID", line)

    def _id(self, line: bytes) -> None:
        try:
            values = [] if line.strip().upper() in (b"", b"NIL") else flat_list(line)
        except ArgumentError:
            values = None
        if values is None:
            self.tagged("BAD Invalid ID parameters")
            return
        self._take_id([(value or b"").decode("utf-8", "replace") for value in values])
        self.send(f"* ID {self.facts.id_send or 'NIL'}")
        self.tagged("OK ID completed.")

    def _take_id(self, texts: list[str]) -> None:
        """The first ID command counts: fields of a trusted proxy, what the log and the databases want to know."""
        facts, origin = self.facts, self.origin
        kept, logged = [], []
        wanted = facts.id_log.lower().split()
        for key, value in zip(texts[::2], texts[1::2], strict=False):
            if is_reserved(key):
                if facts.trusted and not self._id_seen:
                    origin.take_id(key, value)
            else:
                kept.append(f"{_quoted(key)} {_quoted(value)}")
            if wanted == ["*"] or key.lower() in wanted:
                logged.append(f"{key[:80]}={value[:80]}")
        if facts.retain_id:
            origin.client_id = ""
            for part in kept:
                if len(origin.client_id) + len(part) < CLIENT_ID_LIMIT:
                    origin.client_id = f"{origin.client_id} {part}".lstrip()
        if not self._id_seen and wanted and texts:
            self.note(f"ID sent: {', '.join(logged)}")
        self._id_seen = True

    def do_enable(self, line: bytes) -> None:
        self.send("* ENABLED")
        self.tagged("OK ENABLE ignored in non-authenticated state.")

    def do_noop(self, line: bytes) -> None:
        self.tagged("OK NOOP completed.")

    def do_logout(self, line: bytes) -> None:
        self.send("* BYE Logging out")
        self.tagged("OK Logout completed.")
        self.close("Aborted login by logging out")

    # --- what came of an authentication ---------------------------------------------------------------------------

    def say_failure(self, failure: Failure) -> None:
        if failure.temporary:
            self.tagged(f"NO [UNAVAILABLE] {stamped(TEMPORARY_FAILURE, self.facts)}")
        elif failure.code == "invalid_base64":
            self.tagged(f"BAD {failure.reason}")
        else:
            other = "ALERT" if failure.reason else "AUTHENTICATIONFAILED"
            code, text = IMAP_FAILURES.get(failure.code, (other, "Authentication failed."))
            own_code = code == "ALERT" and failure.reason.startswith("[")
            self.tagged(f"NO {failure.reason}" if own_code else f"NO [{code}] {failure.reason or text}")

    def say_referral(self, user: str, host: str, port: str, text: str) -> None:
        place = host if port in ("", "143") else f"{host}:{port}"
        url = f"imap://{quote(user, safe=_URL_SAFE)};AUTH={self._mechanism}@{place}/"
        self.tagged(f"NO [REFERRAL {url}] {text}")

    def say_unproxied(self, *, certain: bool) -> None:
        self.tagged(f"NO [{'SERVERBUG' if certain else 'UNAVAILABLE'}] {NOT_PROXIED}")

    def proxy_facts(self) -> tuple[str, bool]:
        return self.tag.decode("ascii"), self.capability_asked

    def say_login_disabled(self, reason: str) -> None:
        self.tagged(f"NO [CONTACTADMIN] {reason}")

    def say_limit(self, text: str) -> None:
        self.tagged(f"NO [LIMIT] {text}")

    def say_initialization_failed(self) -> None:
        self.tagged("OK Logged in, but initialization failed.")
        self.send(f"* BYE {INITIALIZATION_FAILED}")

    def say_internal_failure(self) -> None:
        self.tagged(f"NO [UNAVAILABLE] {stamped(INTERNAL_FAILURE, self.facts)}")

    def say_aborted(self) -> None:
        self.tagged("BAD Authentication aborted by client.")

    def say_bad_response(self) -> None:
        self.tagged("NO [ALERT] Invalid base64 in response")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


IMAP_FAILURES = {
    "authz_fail": ("AUTHORIZATIONFAILED", "Authorization failed"),
    "pass_expired": ("EXPIRED", "Password expired"),
}

COMMANDS: Mapping[bytes, Callable[[ImapLogin, bytes], None]] = {
    b"LOGIN": ImapLogin.do_login,
    b"AUTHENTICATE": ImapLogin.do_authenticate,
    b"CAPABILITY": ImapLogin.do_capability,
    b"STARTTLS": ImapLogin.do_starttls,
    b"ID": ImapLogin.do_id,
    b"ENABLE": ImapLogin.do_enable,
    b"NOOP": ImapLogin.do_noop,
    b"LOGOUT": ImapLogin.do_logout,
}
