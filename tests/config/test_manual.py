"""The manual is true: what nothing reads is marked, what is read is not, and the pages are what `make docs` writes."""

from pathlib import Path

import pytest

from mailsuite.config import registry
from mailsuite.config.dovecot_defaults import ROOT
from mailsuite.config.manual import render, write
from mailsuite.config.manual.entries import entry, every_name, nearest
from mailsuite.config.manual.reads import reads
from mailsuite.config.manual.tables import LINES, read_table
from mailsuite.config.manual.unobeyed import unobeyed, why_unobeyed
from mailsuite.config.mastercf import read_master_cf
from mailsuite.config.postfix_defaults import COMPUTED, DEFAULTS
from mailsuite.config.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def read() -> set[str]:
    registry.import_all()
    return set(reads({*DEFAULTS, *COMPUTED, *registry.declared()}))


def test_tables_agree_with_what_the_source_reads(read: set[str]) -> None:
    found = [path.name for path, _ in write.stale(read)]
    assert not found, "these tables say what the source says by now: run `make docs` and commit"


def test_everything_is_read_or_marked_and_has_a_meaning(read: set[str]) -> None:
    problems = list(write.complaints(read, set(reads(set(ROOT)))))
    assert not problems, "\n".join(problems)


def test_pages_are_up_to_date() -> None:
    found = [path.name for path, _ in write.stale_pages()]
    assert not found, "run `make docs` and commit what it writes"


def test_every_linked_parameter_has_its_heading() -> None:
    page = render.parameters_page()
    headings = {line[4:].lower() for line in page.splitlines() if line.startswith("### ")}
    assert headings == {name.lower() for name in every_name()}
    assert "parameters.md#biff" in (DOCS / "differences.md").read_text()


@pytest.mark.parametrize("name", ["use_srv_lookup", "smtp_tls_enable_rpk", "smtpd_hide_client_session",
                                  "requiretls_enable", "smtpd_reject_filter_maps", "postscreen_greet_wait"])
def test_names_of_later_versions_are_known(name: str) -> None:
    found = entry(name)
    assert found is not None and found.since and found.meaning


def test_entry_of_a_transport() -> None:
    found = entry("relay_destination_recipient_limit")
    assert found is not None and found.default == "$default_destination_recipient_limit"
    assert "for the transport relay" in found.meaning
    assert entry("no_such_parameter") is None


def test_nearest() -> None:
    assert nearest("relayhots")[0] == "relayhost"
    assert nearest("qqqqqqqqqq") == []


@pytest.mark.parametrize("row", ["a", "a !nosuch: x", "a: x\na: y"])
def test_a_bad_table_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="bad line"):
        read_table(row)


def test_mending_takes_out_what_the_source_says_now() -> None:
    registry.import_all()
    text = ('"""x"""\n\nTEXT = r"""\nbiff !biff=no: Whether\n    users.\nqueue_run_delay: Twice told.\n'
            'dont_remove !queue: Other.\n"""\n')
    assert write.mended(text, {"biff"}) == (
        '"""x"""\n\nTEXT = r"""\nbiff: Whether\n    users.\ndont_remove !queue: Other.\n"""\n')


def test_something_that_is_not_obeyed_is_told_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "main.cf").write_text("myhostname = a.test\nqmqpd_timeout = 5s\nhtml_directory = no\nbiff = no\n")
    (tmp_path / "master.cf").write_text("smtp inet n - n - - smtpd\n  -o qmqpd_error_delay=7s -o qmqpd_timeout=300s\n")
    settings = Settings.load(str(tmp_path))
    found = [text.replace(str(tmp_path), "") for text in settings.warnings]
    reason = "known, but not obeyed (no QMQP); see docs/differences.md"
    assert found == [f"/main.cf, line 2: qmqpd_timeout: {reason}",
                     f"/master.cf, line 1: smtp/inet: -o qmqpd_error_delay: {reason}"]


@pytest.mark.parametrize(("name", "value", "told"), [
    pytest.param("biff", "yes", False, id="the default"),
    pytest.param("biff", "no", False, id="what we do anyway"),
    pytest.param("biff", "x", True, id="something else"),
    pytest.param("qmqpd_timeout", "$biff", True, id="a reference to something else"),
    pytest.param("address_verify_service_name_of_mine", "x", False, id="no parameter"),
    pytest.param("queue_run_delay", "1s", False, id="obeyed"),
    pytest.param("html_directory", "/x", False, id="nothing depends on it"),
])
def test_what_is_told(name: str, value: str, told: bool) -> None:
    settings = Settings.of({name: value})
    assert bool(why_unobeyed(settings, name, value)) is told


def test_no_services_no_overrides(tmp_path: Path) -> None:
    (tmp_path / "master.cf").write_text("")
    assert unobeyed(Settings.of({}), read_master_cf(str(tmp_path / "master.cf"))) == []


def test_marks_are_of_known_names() -> None:
    assert [name for name in LINES if entry(name) is None] == []
