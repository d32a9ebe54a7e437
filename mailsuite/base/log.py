"""One line per event, in Postfix's and Dovecot's grammars, to a file or to syslog.

    log = logging.getLogger("mailsuite.smtpd")      the last part of the name is the program's name in the line
    setup_postfix(settings...)  /  setup_dovecot(...)  are called once in each process, before it drops privileges

Postfix:  "Nov 21 04:00:05 host postfix/smtpd[123]: warning: text"
Dovecot:  "Nov 21 04:00:05 imap-login: Info: text"   (a file)   "... dovecot: imap-login: text"   (syslog)

Loggers below "mailsuite.dovecot." belong to the access side (mailsuite.dovecot.imap-login); all others to the mail
side. Severity says who acts: info nobody, warning the administrator some day, error the administrator now. Control
characters and line ends in a text become "?": one event is one line, whatever a peer sent.
A file is opened for appending; lines of up to PIPE_BUF octets of several processes do not mix.
"""

import contextlib
import logging
import os
import re
import select
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket

_WORDS = {logging.WARNING: "warning: ", logging.ERROR: "error: ", logging.CRITICAL: "fatal: "}
_DOVECOT_WORDS = {logging.DEBUG: "Debug", logging.INFO: "Info", logging.WARNING: "Warning",
                  logging.ERROR: "Error", logging.CRITICAL: "Fatal"}
_SYSLOG_LEVEL = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
_CONTROL = re.compile(r"[\x00-\x1f\x7f\udc80-\udcff]")     # the last ones stand for octets that are no UTF-8
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_LIBRARIES = ("cleanup", "bounce", "trivial-rewrite")
ACCESS = "mailsuite.dovecot"
_pid = os.getpid()


def _note_pid() -> None:
    """In a child: a system call for each line less."""
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_note_pid)
_top = logging.getLogger("mailsuite")
_side = logging.getLogger(ACCESS)
_files: "dict[logging.Logger, FileTarget]" = {}     # where all lines of a side go, if that is a file


class _QuickLogger(logging.Logger):
    """Where a service has nothing but its log file, a line goes there without a LogRecord: a third of the cost.

    Whoever adds a handler or a filter to this logger or to its side's top (a test) gets records as ever.
    """

    def info(self, msg: object, *args: object, **kwargs: Any) -> None:
        """As Logger.info."""
        top = self.parent
        target = _files.get(top) if top is not None else None
        if (target is not None and top is not None and type(msg) is str and top.handlers == [target]
                and not (self.handlers or self.filters or self.disabled) and self.manager.disable < logging.INFO
                and (self.level or top.level) <= logging.INFO       # without isEnabledFor: a call less for each line
                and (not kwargs or _is_prefix(kwargs))):
            try:
                text = msg % args if args else msg
            except (TypeError, ValueError):
                pass                        # logging tells of it
            else:
                target.line(self.name, logging.INFO, text, kwargs["extra"]["prefix"] if kwargs else "")
                return
        super().info(msg, *args, **kwargs)


def _is_prefix(kwargs: dict[str, Any]) -> bool:
    """Whether a line is given nothing but extra={"prefix": ...}."""
    extra = kwargs.get("extra")
    return len(kwargs) == 1 and extra is not None and len(extra) == 1 and "prefix" in extra


def _quick(name: str) -> logging.Logger:
    manager = _top.manager
    before, manager.loggerClass = manager.loggerClass, _QuickLogger
    try:
        return manager.getLogger(name)
    finally:
        manager.loggerClass = before


def logger(program: str) -> logging.Logger:
    """The logger of a Postfix-side program, e.g. logger("smtpd")."""
    return _quick(f"mailsuite.{program}")


def access_logger(program: str) -> logging.Logger:
    """The logger of a Dovecot-side program, e.g. access_logger("imap-login")."""
    return _quick(f"{ACCESS}.{program}")


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def _lines(record: logging.LogRecord) -> list[str]:
    """A traceback is the one event of several lines; each is logged with the full prefix."""
    text = _text(record)
    if record.exc_info:
        return [_CONTROL.sub("?", line) for line in text.split("\n")]
    return [_CONTROL.sub("?", text)]


def _octet_marks(char: "re.Match[str]") -> str:
    return "?" * len(char[0].encode("utf-8", "surrogateescape"))


class _Stamp:
    """"Nov 21 04:00:05", made once a second."""

    def __init__(self) -> None:
        self.second, self.text = -1, ""

    def at(self, now: float) -> str:
        second = int(now)
        if second != self.second:
            self.second, self.text = second, time.strftime("%b %e %H:%M:%S", time.localtime(second))
        return self.text


class PostfixFormat:
    """Lines of the mail side. syslog_name: e.g. "postfix" or "postfix/submission". main_name: main.cf's, for lines of
    what is a process of its own in Postfix and a library here: a service's own syslog_name is not theirs.
    utf8: smtputf8_enable; without it each octet that is not ASCII becomes "?"."""

    def __init__(self, syslog_name: str, main_name: str = "", *, utf8: bool = True) -> None:
        self.syslog_name, self._utf8 = syslog_name, utf8
        self._names = dict.fromkeys(_LIBRARIES, main_name) if main_name else {}
        self._stamp, self.host = _Stamp(), os.uname().nodename.split(".")[0]
        self._heads: dict[tuple[str, int], str] = {}

    def tag(self, record: logging.LogRecord) -> str:
        program = record.name.rpartition(".")[2]
        return f"{self._names.get(program, self.syslog_name)}/{program}[{os.getpid()}]"

    def line(self, name: str, level: int, text: str, now: float, prefix: str = "") -> str:
        """One line of a file, as file_lines makes it."""
        if not text.isprintable():
            text = _CONTROL.sub("?", text)
        if not self._utf8 and not text.isascii():
            text = _NOT_ASCII.sub(_octet_marks, text)
        stamp = self._stamp
        said = stamp.text if int(now) == stamp.second else stamp.at(now)
        head = self._heads.get((name, _pid))
        if head is None:
            head = f" {self.host} {self.syslog_name}/{name.rpartition('.')[2]}[{_pid}]: "
            self._heads[name, _pid] = head
        return f"{said}{head}{_WORDS.get(level, '')}{text}\n"

    def lines(self, record: logging.LogRecord) -> list[str]:
        word = _WORDS.get(record.levelno, "")
        lines = _lines(record)
        if not self._utf8:
            lines = [_NOT_ASCII.sub(_octet_marks, line) for line in lines]
        return [word + line for line in lines]

    def file_lines(self, record: logging.LogRecord) -> list[str]:
        head = f"{self._stamp.at(record.created)} {self.host} {self.tag(record)}: "
        return [head + line for line in self.lines(record)]


class DovecotFormat:
    """Lines of the access side."""

    def __init__(self) -> None:
        self._stamp = _Stamp()

    def tag(self, record: logging.LogRecord) -> str:
        return "dovecot"

    @staticmethod
    def program(record: logging.LogRecord) -> str:
        """extra={"prefix": "imap(alice)<12><id>"} names the session."""
        return getattr(record, "prefix", "") or record.name.rpartition(".")[2]

    def lines(self, record: logging.LogRecord) -> list[str]:
        program = self.program(record)
        word = "" if record.levelno == logging.INFO else _DOVECOT_WORDS.get(record.levelno, "Info") + ": "
        return [f"{program}: {word}{line}" for line in _lines(record)]

    def line(self, name: str, level: int, text: str, now: float, prefix: str = "") -> str:
        """One line of a file, as file_lines makes it."""
        if not text.isprintable():
            text = _CONTROL.sub("?", text)
        program = prefix or name.rpartition(".")[2]
        stamp = self._stamp
        said = stamp.text if int(now) == stamp.second else stamp.at(now)
        return f"{said} {program}: {_DOVECOT_WORDS.get(level, 'Info')}: {text}\n"

    def file_lines(self, record: logging.LogRecord) -> list[str]:
        program = self.program(record)
        head = f"{self._stamp.at(record.created)} {program}: {_DOVECOT_WORDS.get(record.levelno, 'Info')}: "
        return [head + line for line in _lines(record)]


class _Together:
    """Lines of this process that are written at the end of a `with lines_together()`."""

    def __init__(self) -> None:
        self.depth = 0
        self._thread = 0
        self._fd = -1
        self._lines: list[bytes] = []
        self._size = 0

    def __enter__(self) -> None:
        if not self.depth:
            self._thread = threading.get_ident()
        self.depth += 1

    def __exit__(self, *raised: object) -> None:
        self.depth -= 1
        if not self.depth:
            self.flush()

    @property
    def ours(self) -> bool:
        return self._thread == threading.get_ident()

    def leave_parent(self) -> None:
        """In a child."""
        self.depth, self._lines, self._size = 0, [], 0

    def add(self, fd: int, line: bytes) -> None:
        if self._size + len(line) > select.PIPE_BUF or fd != self._fd:
            self.flush()
        self._fd = fd
        self._lines.append(line)
        self._size += len(line)

    def flush(self) -> None:
        if self._lines:
            lines, self._lines, self._size = self._lines, [], 0
            with contextlib.suppress(OSError):
                os.write(self._fd, b"".join(lines))


_together = _Together()
os.register_at_fork(after_in_child=_together.leave_parent)


def lines_together() -> contextlib.AbstractContextManager[None]:
    """What is logged inside is written at its end, by one system call; for one thread, and a moment without waiting."""
    return _together


class FileTarget(logging.Handler):
    """Appends to a file that was opened before privileges were dropped; fd 2 for standard error."""

    def __init__(self, form: PostfixFormat | DovecotFormat, fd: int) -> None:
        super().__init__()
        self.form, self.fd = form, fd

    def emit(self, record: logging.LogRecord) -> None:
        self._write("\n".join(self.form.file_lines(record)) + "\n")

    def line(self, name: str, level: int, text: str, prefix: str = "") -> None:
        """One line without a record. prefix: as DovecotFormat.program has it."""
        line = self.form.line(name, level, text, time.time(), prefix)
        if _together.depth and _together.ours:
            _together.add(self.fd, line.encode("utf-8", "backslashreplace"))
            return
        try:
            os.write(self.fd, line.encode("utf-8", "backslashreplace"))
        except OSError:
            pass        # a full log disk must not stop the mail

    def _write(self, text: str) -> None:
        if _together.depth and _together.ours:
            _together.flush()
        try:
            os.write(self.fd, text.encode("utf-8", "backslashreplace"))
        except OSError:
            pass        # a full log disk must not stop the mail


class SyslogTarget(logging.Handler):
    """The machine's syslog socket, facility mail; reconnects after a restart of syslogd."""

    def __init__(self, form: PostfixFormat | DovecotFormat, path: str = "/dev/log", facility: int = 2) -> None:
        super().__init__()
        self.form, self.path, self.facility = form, path, facility
        self._socket: socket.socket | None = None
        import socket as module  # not for commands, which start often and log to a terminal

        self._make = module.socket
        self._kind = module.AF_UNIX, module.SOCK_DGRAM

    def emit(self, record: logging.LogRecord) -> None:
        priority = self.facility * 8 + _SYSLOG_LEVEL.get(record.levelno, 6)
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(record.created))
        for line in self.form.lines(record):
            self._send(f"<{priority}>{stamp} {self.form.tag(record)}: {line}".encode("utf-8", "backslashreplace"))

    def _send(self, datagram: bytes) -> None:
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._make(*self._kind)
                    self._socket.setblocking(False)
                    self._socket.connect(self.path)
                self._socket.send(datagram)
                return
            except BlockingIOError:
                return
            except OSError:
                if self._socket is not None:
                    self._socket.close()
                self._socket = None


def open_log_file(path: str, mode: int = 0o600) -> int:
    """A descriptor for FileTarget; mode: of a new file. Raises OSError."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, mode)


def setup(mail: logging.Handler, access: logging.Handler, level: int = logging.INFO) -> None:
    """Send the mail side's lines to one target and the access side's to the other, in this process."""
    root, side = _top, _side
    _files.clear()
    for top, target in ((root, mail), (side, access)):
        if type(target) is FileTarget:
            _files[top] = target
        for old in list(top.handlers):
            top.removeHandler(old)
        top.propagate = False
        top.setLevel(level)
    root.addHandler(mail)
    side.addHandler(access)
    # What libraries and asyncio say must not be lost.
    logging.getLogger().handlers[:] = [mail]
    logging.raiseExceptions = False
    # Facts of a record that no line of ours shows, and that cost as much as the line itself.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    # No line tells a function or a thread: without looking them up a line costs a third less.
    logging._srcfile = None


def say(line: str) -> None:
    """One line on standard error, if there is one: what cannot be told must not stop the work."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr)


def setup_stderr(program: str) -> None:
    """For commands: "postqueue: warning: text" on standard error."""

    class Command(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for line in _lines(record):
                say(f"{program}: {_WORDS.get(record.levelno, '')}{line}")

    target = Command()
    setup(target, target)
