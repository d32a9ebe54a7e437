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


def test_a_traceback_has_the_prefix_on_every_line(lines) -> None:
    try:
        raise ValueError("x")
    except ValueError:
        log.logger("smtpd").exception("unforeseen")
    assert len(lines()) > 3 and all("postfix/smtpd[" in line for line in lines())
