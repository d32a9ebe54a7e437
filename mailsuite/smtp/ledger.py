"""What a session keeps book of: commands and errors, the transcript for the postmaster, the lines that end it."""

from logging import Logger

from mailsuite.address.syntax import quote_local
from mailsuite.base.dialogue import NameUse, TlsInfo
from mailsuite.base.log import logger
from mailsuite.smtp.commands import COUNTED, JUNK, Entry
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.syntax import printable

log = logger("smtpd")
HISTORY_LIMIT = 1000            # lines of a transcript that are kept for the postmaster
TRANSCRIPTS_LIMIT = 10          # transcripts of one session that wait to be sent
_ESCAPES = {13: "\\r", 10: "\\n", 9: "\\t", 92: "\\\\"}


class Ledger:
    """errors and junk: as the limits count them. trouble: kinds of problems, in the words of notify_classes.

    reason: why the session ended early, e.g. "lost connection". transcripts: what the postmaster is to be told of
    already, of a session that goes on (smtpd_history_flush_threshold).
    """

    def __init__(self, config: SessionConfig, facts: Facts) -> None:
        self._config, self._facts = config, facts
        self.errors = self.junk = 0
        self.trouble: set[str] = set()
        self._history: list[str | bytes] | None = [] if config.keep_history else None     # lines, replies
        self._lines = 0                 # in it
        self.reason = ""
        self.transcripts: list[tuple[frozenset[str], list[str]]] = []
        self._counts: dict[str, list[int]] = {}

    def heard(self, line: str) -> None:
        """A command, for the transcript."""
        if self._history is not None and self._lines < HISTORY_LIMIT:
            self._history.append(line)
            self._lines += 1

    def said(self, reply: bytes) -> None:
        """A reply, for the transcript."""
        if self._history is not None and self._lines < HISTORY_LIMIT:
            self._history.append(reply)
            self._lines += reply.count(b"\n")

    @property
    def history(self) -> list[str]:
        """The transcript; nearly no session needs it."""
        lines: list[str] = []
        for said in self._history or ():
            if isinstance(said, str):
                lines.append(" In:  " + said)
            else:
                lines += [" Out: " + line for line in said.decode("utf-8", "replace").split("\r\n")[:-1]]
        return lines

    def turn_page(self) -> None:
        """A transaction begins anew; of what was before, only trouble is worth keeping."""
        if self._history is None or self._lines <= self._config.history_flush:
            return
        if self.trouble and len(self.transcripts) < TRANSCRIPTS_LIMIT:
            self.transcripts.append((frozenset(self.trouble), self.history))
        self.trouble.clear()
        self._history.clear()
        self._lines = 0

    def count(self, entry: Entry | None, ok: bool, *, blameless: bool = False) -> None:
        """A command is over. entry None: it was none."""
        if not ok and not blameless:
            self.errors += 1
        if entry is None:
            return
        count = self._counts.setdefault(entry.name, [0, 0])
        count[1] += 1
        if ok:
            count[0] += 1
        if entry.name in JUNK:
            self.count_junk()

    def count_junk(self) -> None:
        if self.junk > self._config.junk_limit:
            self.errors += 1
        self.junk += 1

    def forgive(self) -> None:
        """A message was accepted: earlier slips are forgotten."""
        self.errors = self.junk = 0
        self.trouble.clear()

    def close(self, reason: str, unfinished: Entry | None) -> None:
        """The session's last lines. unfinished: the command that was under way."""
        host = self._facts.client.host
        self.reason = reason.partition(" after ")[0]
        if reason:
            log.info("%s from %s", reason, host)
        if unfinished is not None:
            self._counts.setdefault(unfinished.name, [0, 0])[1] += 1
        parts = [f"{name}={_count_text(*self._counts[name])}" for name in COUNTED if name in self._counts]
        fine = total = 0
        for one, all_of_it in self._counts.values():
            fine, total = fine + one, total + all_of_it
        log.info("disconnect from %s %s", host, " ".join([*parts, f"commands={_count_text(fine, total)}"]))


def _count_text(ok: int, total: int) -> str:
    return str(ok) if ok == total and ok else f"{ok}/{total}"


def log_connect(facts: Facts) -> None:
    """The line that opens a session's story."""
    log.info("connect from %s", facts.client.host)


def log_tls(facts: Facts, tls: TlsInfo) -> None:
    """What a handshake agreed on."""
    trust = "Anonymous" if not tls.peer_certificate else "Trusted" if tls.peer_verified else "Untrusted"
    log_server_name(facts.client.host, tls)
    name = f" to {tls.server_name}" if tls.name_use is NameUse.MATCHED else ""
    log.info("%s TLS connection established from %s%s: %s with cipher %s (%d/%d bits)", trust, facts.client.host, name,
             tls.protocol, tls.cipher, tls.cipher_bits, tls.cipher_algorithm_bits)


def log_server_name(host: str, tls: TlsInfo, log: Logger = log) -> None:
    """A name that a client asked for, and for which tls_server_sni_maps has nothing. host: the client."""
    if tls.name_use is NameUse.UNMATCHED:
        log.info("TLS SNI %s from %s not matched, using default chain", printable(tls.server_name), host)
    elif tls.name_use is NameUse.INVALID:
        log.warning("TLS SNI from %s is invalid: %s", host, printable(tls.server_name))


def log_decision(facts: Facts, what: str, text: str) -> None:
    """"NOQUEUE: reject: RCPT from host: text; from=<> to=<> proto= helo=<>"."""
    parts = []
    if facts.sender is not None:
        parts.append(f"from=<{quote_local(facts.sender)}>")
    if facts.recipient is not None:
        parts.append(f"to=<{quote_local(facts.recipient)}>")
    parts.append(f"proto={facts.protocol}")
    if facts.helo is not None:
        parts.append(f"helo=<{facts.helo}>")
    log.info("%s: %s: %s from %s: %s; %s", facts.queue_id or "NOQUEUE", what, facts.where, facts.client.host,
             text.replace("\n", " "), " ".join(parts))


def log_pipelining(facts: Facts, name: str, rest: bytes) -> None:
    """Somebody does not wait for our replies where he must: RFC 2920 section 3.1; spam programs do that."""
    log.info("improper command pipelining after %s from %s: %s", name, facts.client.host, escape(rest))


def log_bare_lf(facts: Facts, where: str) -> None:
    """A line that ends in LF alone, refused (smtpd_forbid_bare_newline = reject)."""
    parts = [f"from=<{facts.sender}>"] if facts.sender is not None else []
    if facts.first_recipient and facts.recipients == 1:
        parts.append(f"to=<{facts.first_recipient}>")
    parts.append(f"proto={facts.protocol}")
    if facts.helo is not None:
        parts.append(f"helo=<{facts.helo}>")
    log.info("%s: reject: %s from %s: bare <LF> received; %s", facts.queue_id or "NOQUEUE", where, facts.client.host,
             " ".join(parts))


def log_stranger(facts: Facts, line: str) -> None:
    """What came is not SMTP at all."""
    log.warning("non-SMTP command from %s: %s", facts.client.host, escape(line.encode("utf-8", "replace")))


def escape(octets: bytes) -> str:
    """The first 100, for the log: control characters and what is not ASCII as backslash escapes."""
    return "".join(_ESCAPES.get(octet) or (chr(octet) if 32 <= octet < 127 else f"\\{octet:03o}")
                   for octet in octets[:100])
