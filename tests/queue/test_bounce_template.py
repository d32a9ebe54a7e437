"""bounce_template_file: what bounce(5) says, and what Postfix 3.7's postconf -b, -t and bounce(8) said to each file."""

import dataclasses
import os
from pathlib import Path

import pytest

from mailsuite.queue.bounce_template import TemplateBook, TemplateError, fill_in, load
from mailsuite.queue.bounce_text import BUILT_IN, FAILURE, OBSOLETE_SENDER, Template
from tests.queue.support import settings_for


def read(folder: Path, text: str) -> tuple[dict[str, Template], list[str]]:
    """The templates of a file with this text, and the warnings (without the file's name)."""
    path = folder / "bounce.cf"
    path.write_text(text)
    said: list[str] = []
    templates = load(str(path), said.append)
    return templates, [line.replace(str(path), "FILE") for line in said]


def template(text: str, name: str = "failure") -> str:
    return f"{name}_template = <<EOF\n{text}EOF\n"


@pytest.mark.parametrize(("text", "warnings"), [
    pytest.param("wrong_template = <<X\nSubject: b\n\nx\nX\n",
                 ["FILE, line 6: unknown template name: wrong_template -- ignoring this template"], id="unknown name"),
    pytest.param(template("Subject: s\nX-Foo: y\n\ntext\n"),
                 ['FILE: unknown "X-Foo" header label in failure template -- ignoring this template'],
                 id="unknown header"),
    pytest.param(template("Subject:\n\ntext\n"),
                 ['FILE: empty "Subject" header value in failure template -- ignoring this template'],
                 id="empty value"),
    pytest.param(template("Subject: ö\n\ntext\n"),
                 ['FILE: non-ASCII "Subject" header value in failure template -- ignoring this template'],
                 id="header not ASCII"),
    pytest.param(template("Postmaster-Subject: x\n\ntext\n", "success"),
                 ['FILE: inapplicable "Postmaster-Subject" header label in success template -- ignoring this template'],
                 id="success has no copies"),
    pytest.param(template("Subject: x\n"),
                 ["FILE: missing message text in failure template -- ignoring this template"], id="no text"),
    pytest.param(template("Charset: us-ascii\n\nä\n"),
                 ["FILE: 8-bit message text in failure template", "please specify a charset value other than us-ascii",
                  "-- ignoring this template for now"], id="text is not in the charset"),
])
def test_an_error_leaves_one_template_as_built_in(tmp_path: Path, text: str, warnings: list[str]) -> None:
    templates, said = read(tmp_path, text + template("Subject: fine\n\nother\n", "delay"))
    assert said == warnings
    assert all(templates[name] is BUILT_IN[name] for name in ("failure", "success", "verify"))
    assert templates["delay"].subject == "fine"


@pytest.mark.parametrize(("text", "error"), [
    ("this is junk\n", "FILE, line 2: missing '=' after attribute name: \"this is junk\""),
    ("= x\n", "FILE, line 2: missing attribute name: \"= x\""),
    ("failure_template = <<'EOF'\nx\n'EOF'\n", "FILE, line 2: malformed end marker after <<"),
    ("failure_template = <<\nx\n", "FILE, line 2: missing end marker after <<"),
])
def test_a_file_that_is_no_list_of_assignments(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(TemplateError) as caught:
        read(tmp_path, text)
    assert caught.value.public.replace(f"{tmp_path}/bounce.cf", "FILE") == error


def test_without_an_end_marker_the_text_counts(tmp_path: Path) -> None:
    templates, said = read(tmp_path, "failure_template = <<EOF\nSubject: s\n\ntext\n")
    assert said == ['FILE, line 5: missing "EOF" end marker']
    assert (templates["failure"].subject, templates["failure"].text) == ("s", "text\n")


def test_the_whole_syntax(tmp_path: Path) -> None:
    templates, said = read(tmp_path, (
        "# comment\n\n   \n  failure_template   =   <<   E-O.F  \nCHARSET: utf-8\nFrom : x@y.test (X)\n"
        "Subject:  two  \n\n\n\nHost $$5 \\$x\n  indented\nno: header\n\nEOF\nE-O.F\ndelay_template = one line\n"
        "verify_template = <<END\njust text\nSubject: not a header any more\nEND\n"))
    assert said == []
    failure, verify = templates["failure"], templates["verify"]
    assert (failure.charset, failure.sender, failure.subject) == ("utf-8", "x@y.test (X)", "two  ")
    assert failure.text == "Host $$5 \\$x\n  indented\nno: header\n\nEOF\n"
    assert templates["delay"].text == "one line\n"
    assert verify.text == "just text\nSubject: not a header any more\n"
    assert failure.postmaster_subject == FAILURE.postmaster_subject


@pytest.mark.parametrize(("text", "want"), [
    ("$myhostname ${mydomain}x $(mail_name)y $$z\n", "mx.test testx Postfixy $z\n"),
    ("$delay_warning_time_minutes $maximal_queue_lifetime_hours ${maximal_queue_lifetime_seconds}\n",
     "90 120 432000\n"),
    ("${mail_name?{yes}:{no}} ${nosuch:none}${nosuch?some} ${bounce_size_limit}\n", "yes none 50000\n"),
    ("no end", "no end"),
])
def test_names_are_filled_in(tmp_path: Path, text: str, want: str) -> None:
    settings = settings_for(tmp_path, delay_warning_time="90m", mydomain="test")
    said: list[str] = []
    assert fill_in(_with_text(text), settings, said.append) == want
    assert said == []


def _with_text(text: str) -> Template:
    return dataclasses.replace(FAILURE, text=text, origin="FILE")


@pytest.mark.parametrize(("text", "error"), [
    ("a $nosuch b\n", "FILE: undefined $name in failure template: a $nosuch b"),
    ("$myhostname_days\n", "FILE: undefined $name in failure template: $myhostname_days"),
    ("$maximal_queue_lifetime_years\n",
     'FILE: unrecognized suffix "years" in parameter "maximal_queue_lifetime_years"'),
    ("five $\n", "FILE: bad $name syntax in failure template: five $"),
])
def test_what_cannot_be_filled_in(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(TemplateError) as caught:
        fill_in(_with_text(text), settings_for(tmp_path), lambda _: None)
    assert caught.value.public == error


def test_a_time_that_vanishes_in_its_unit_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    fill_in(BUILT_IN["delay"], settings_for(tmp_path, delay_warning_time="1s"), said.append)
    assert said == [
        '[built-in]: zero result in delay template conversion of parameter "delay_warning_time_hours"',
        'please reduce time unit "hours" of "delay_warning_time_hours" in delay template',
        "for instructions see the bounce(5) manual"]
    said.clear()
    fill_in(BUILT_IN["delay"], settings_for(tmp_path), said.append)
    assert said == []


def test_internationalised_names_are_shown_to_people(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, myhostname="mx.xn--bcher-kva.test", smtputf8_enable="yes")
    assert fill_in(_with_text("$myhostname\n"), settings, lambda _: None) == "mx.bücher.test\n"
    plain = settings.with_overrides({"smtputf8_enable": "no"})
    assert fill_in(_with_text("$myhostname\n"), plain, lambda _: None) == "mx.xn--bcher-kva.test\n"


def test_a_book_falls_back_and_notices_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "bounce.cf"
    book = TemplateBook(settings_for(tmp_path, bounce_template_file=str(path)))
    assert book.filled("failure").subject == FAILURE.subject
    assert "No such file or directory -- using the built-in templates" in caplog.text
    path.write_text(template("Subject: mine\n\nat $myhostname\n"))
    assert (book.filled("failure").subject, book.filled("failure").text) == ("mine", "at mx.test\n")
    caplog.clear()
    path.write_text(template("Subject: mine\n\nat $nowhere at all\n"))
    os.utime(path, (1, 1))
    assert book.filled("failure").text.startswith("This is the mail system at host mx.test.")
    assert "failure template: at $nowhere at all -- using the built-in failure template" in caplog.text
    assert book.filled("delay").subject == BUILT_IN["delay"].subject


def test_the_old_form_of_from(tmp_path: Path) -> None:
    assert TemplateBook(settings_for(tmp_path, header_from_format="obsolete")).filled("delay").sender == OBSOLETE_SENDER
