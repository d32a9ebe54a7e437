"""Whatever stands in a file, it is read or refused; nothing else happens."""

from contextlib import suppress
from random import Random

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config import dovecot_syntax
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.expansion import expand, references
from mailsuite.config.maincf import edit_text, parse_main_cf
from mailsuite.config.mastercf_syntax import format_line, parse_master_cf
from mailsuite.config.variables import expand_variables, user_variables

PIECES = ["$", "{", "}", "(", ")", "?", ":", "=", "==", "<level", " ", "\n", "\t", "#", '"', "'", "\\", "a", "b", "9",
          "service", "plugin", "passdb", "protocol imap {\n", "remote 10.0.0.0/8 {\n", "!include_try x", "-o", "inet",
          "n", "-", "smtpd", "%", "%u", "%{if;", ";", "%{user}", "%2.", "N", "H", "X", "<", "mail_plugins", "ssl", ",",
          "\u00e9", "\udcff", "\x00", "\x0c", "\u2028", "\r"]


def noise(seed: int) -> str:
    random = Random(seed)
    return "".join(random.choice(PIECES) for _ in range(random.randrange(60)))


@pytest.mark.parametrize("seed", range(300))
def test_noise(seed: int) -> None:
    text = noise(seed)
    with suppress(ConfigError):
        references(text)
    with suppress(ConfigError):
        expand(text, {"a": "b"}.get)
    with suppress(ConfigError):
        expand_variables(text, user_variables("a@b"))
    entries = parse_main_cf(text, "main.cf").entries
    for line in parse_master_cf(text, "master.cf").lines:
        format_line(line, fold=True)
    assert edit_text(text + "\n", {})[0] == text + "\n"
    changed = parse_main_cf(edit_text(text + "\n", {"new_name": "1"})[0], "main.cf").entries
    assert [entry.name for entry in changed] == [*(entry.name for entry in entries), "new_name"]
    dovecot_syntax.parse(text, "/c/d.conf", lambda path: "")
    with suppress(ConfigError):
        conf = DovecotSettings.of(text)
        for service in conf.for_protocol("imap").for_connection(remote_ip="10.1.1.1").sections("service"):
            service.sections("unix_listener")
