"""Log lines: one event is one line, in the two grammars."""

import logging
import os
import re

import pytest

from mailsuite.base import log


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "mail.log"
    fd = log.open_log_file(str(path))
    saved = [(lg, list(lg.handlers)) for lg in (logging.getLogger(), logging.getLogger("mailsuite"))]
    log.setup(log.FileTarget(log.PostfixFormat("postfix"), fd), log.FileTarget(log.DovecotFormat(), fd))
    yield lambda: path.read_text().splitlines()
    os.close(fd)
    for lg, handlers in saved:
        lg.handlers[:] = handlers


@pytest.mark.parametrize(("emit", "want"), [
    pytest.param(lambda: log.logger("smtpd").info("connect from %s", "x[1.2.3.4]"),
                 r"\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ postfix/smtpd\[\d+\]: connect from x\[1\.2\.3\.4\]", id="info"),
    pytest.param(lambda: log.logger("qmgr").warning("slow"), r".* postfix/qmgr\[\d+\]: warning: slow", id="warning"),
    pytest.param(lambda: log.logger("smtpd").info("a\r\nb\0c"), r".*: a\?\?b\?c", id="a peer cannot forge a line"),
    pytest.param(lambda: log.access_logger("imap-login").info("Login: user=<a>"),
                 r"\w{3} [ \d]\d \d\d:\d\d:\d\d imap-login: Info: Login: user=<a>", id="access side"),
])
def test_grammar(lines, emit, want: str) -> None:
    emit()
    assert len(lines()) == 1 and re.fullmatch(want, lines()[0])


@pytest.mark.parametrize(("utf8", "want"), [(True, "from=<ü?@x>"), (False, "from=<???@x>")])
def test_octets_beyond_ascii(utf8: bool, want: str) -> None:
    """smtputf8_enable = no: "?" for each octet. What is no UTF-8 never stands in the log."""
    form = log.PostfixFormat("postfix", utf8=utf8)
    said = "from=<ü\udcff@x>"
    record = logging.LogRecord("mailsuite.smtpd", logging.INFO, "", 0, said, None, None)
    assert form.lines(record) == [want]
    assert form.line("mailsuite.smtpd", logging.INFO, said, 0.0).endswith(f": {want}\n")


def test_a_traceback_has_the_prefix_on_every_line(lines) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        log.logger("smtpd").exception("unforeseen")
    assert len(lines()) > 3 and all("postfix/smtpd[" in line for line in lines())


def test_who_listens_gets_records(lines) -> None:
    """The way without records is for services that have nothing but their log file."""
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record.getMessage())

    logger = log.logger("smtpd")
    listener = Listener()
    for where in (logger, logging.getLogger("mailsuite")):
        where.addHandler(listener)
        logger.info("seen by %s", where.name)
        where.removeHandler(listener)
    logger.info("unseen")
    logger.setLevel(logging.WARNING)
    logger.info("too low")
    logger.setLevel(logging.NOTSET)
    assert heard == ["seen by mailsuite.smtpd", "seen by mailsuite"]
    assert [line.partition("]: ")[2] for line in lines()] == [*heard, "unseen"]


def test_both_ways_make_the_same_line(lines, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = log.logger("smtpd")
    top = logging.getLogger("mailsuite")
    top.handlers[:] = [handler for handler in top.handlers if isinstance(handler, log.FileTarget)]     # pytest's go
    with monkeypatch.context() as without_records:
        without_records.setattr(logger, "makeRecord", None)
        logger.info("at once")
    texts = ["plain", "100% of it", "ü\udcff", "a\tb\x7fc", ""]
    for text in texts:
        logger.info(text)
        logger.handle(logging.LogRecord(logger.name, logging.INFO, "", 0, text, None, None))
    first, *said = [line.partition("]: ")[2] for line in lines()]
    assert first == "at once"
    assert said[::2] == said[1::2]
    assert len(said) == len(texts) * 2


@pytest.mark.parametrize("extra", [None, {"prefix": "imap(alice)<12><id>"}, {"prefix": "x", "other": "1"}])
def test_both_ways_make_the_same_line_of_the_access_side(lines, extra) -> None:
    logger = log.access_logger("imap")
    top = logging.getLogger("mailsuite.dovecot")
    top.handlers[:] = [handler for handler in top.handlers if isinstance(handler, log.FileTarget)]     # pytest's go
    texts = ["Disconnected: 100% of it", "ü\udcff", "a\tb\x7fc", ""]
    for text in texts:
        logger.info(text, extra=extra)
        logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, text, (), None, extra=extra))
    said = [line[len("Nov 21 04:00:05 "):] for line in lines()]
    assert said[::2] == said[1::2]
    assert len(said) == len(texts) * 2 and said[0].startswith(f"{extra['prefix'] if extra else 'imap'}: Info: ")
