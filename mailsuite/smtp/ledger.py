"""What a session keeps book of: commands and errors, the transcript for the postmaster, the lines that end it."""

from mailsuite.base.log import logger
from mailsuite.smtp.commands import COUNTED, JUNK, Entry
from mailsuite.smtp.config import SessionConfig
from mailsuite.smtp.facts import Facts
from mailsuite.smtp.syntax import printable

log = logger("smtpd")
HISTORY_LIMIT = 1000            # lines of a transcript that are kept for the postmaster
TRANSCRIPTS_LIMIT = 10          # transcripts of one session that wait to be sent


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

    def log_dialogue(self) -> None:
        """This client's commands and our replies go to the log (debug_peer_list); passwords and content do not."""
        heard, said, host = self.heard, self.said, self._facts.client.host

        def log_heard(line: str) -> None:
            verb, _, rest = line.partition(" ")
            secret = verb.upper() == "AUTH" and " " in rest.strip()
            log.info("< %s: %s", host, printable(f"{verb} {rest.split()[0]} <hidden>" if secret else line))
            heard(line)

        def log_said(reply: bytes) -> None:
            for line in reply.decode("utf-8", "replace").splitlines():
                log.info("> %s: %s", host, line)
            said(reply)

        self.heard, self.said = log_heard, log_said     # type: ignore[method-assign]  # nobody else pays for it

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
        text, fine, total = "", 0, 0
        for name in COUNTED:
            if (count := self._counts.get(name)) is not None:
                ok, said = count
                fine, total = fine + ok, total + said
                text += f"{name}={ok} " if ok == said else f"{name}={ok}/{said} "
        log.info("disconnect from %s %scommands=%s", host, text,
                 str(fine) if fine == total and fine else f"{fine}/{total}")
