"""Parsers of parameter values, and what declare refuses."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from mailsuite.base.errors import Bug, ConfigError
from mailsuite.config import postfix_defaults, registry
from mailsuite.config.registry import (
    Param,
    absolute_path,
    boolean,
    declare,
    enum,
    integer,
    number,
    octal,
    seconds,
    split_items,
    string,
    words,
)


@pytest.mark.parametrize(("parse", "text", "want"), [
    pytest.param(seconds(), "90", 90, id="no unit means seconds"),
    pytest.param(seconds(unit="d"), "5", 432000, id="no unit means the parameter's"),
    pytest.param(seconds(), "2h", 7200, id="hours"),
    pytest.param(seconds(), " 1 W ", 604800, id="weeks, blanks"),
    pytest.param(seconds(), "-1s", None, id="negative time"),
    pytest.param(seconds(), "5 parsecs", None, id="no unit of time"),
    pytest.param(seconds(least=1), "0s", None, id="too short"),
    pytest.param(integer(), "007", 7, id="number"),
    pytest.param(integer(), "-1", None, id="negative number"),
    pytest.param(integer(least=-5), "-1", -1, id="negative number allowed"),
    pytest.param(integer(), "", None, id="no number"),
    pytest.param(integer(), "1k", None, id="main.cf has no size units"),
    pytest.param(integer(), "1" * 40, None, id="too large"),
    pytest.param(integer(), "\u0663", None, id="foreign digit"),
    pytest.param(number(), "0.5", 0.5, id="fraction"),
    pytest.param(number(), "x", None, id="no fraction"),
    pytest.param(boolean(), "Yes", True, id="yes in any case"),
    pytest.param(boolean(), "no", False, id="no"),
    pytest.param(boolean(), "true", None, id="true is no boolean"),
    pytest.param(enum("may", "encrypt"), "MAY", "may", id="choice"),
    pytest.param(enum("may", "encrypt"), "must", None, id="no choice"),
    pytest.param(string(least=1), "", None, id="must not be empty"),
    pytest.param(string(most=2), "abc", None, id="too long"),
    pytest.param(words(), "a, b\n c", ("a", "b", "c"), id="list"),
    pytest.param(words(), "a, inline:{x=1, y=2} b", ("a", "inline:{x=1, y=2}", "b"), id="list with braces"),
    pytest.param(words(allowed={"fcntl", "dotlock"}), "FCNTL, dotlock", ("fcntl", "dotlock"), id="closed list"),
    pytest.param(words(allowed={"fcntl", "dotlock"}), "flock", None, id="not in the closed list"),
    pytest.param(octal(), "0600", 0o600, id="permissions"),
    pytest.param(octal(), "0800", None, id="not octal"),
    pytest.param(absolute_path(), "x/y", None, id="relative path"),
    pytest.param(absolute_path(empty=True), "", "", id="no path"),
])
def test_parser(parse: Callable[[str], object], text: str, want: object) -> None:
    with nullcontext() if want is not None else pytest.raises(ConfigError):
        assert parse(text) == want


def test_items_of_an_unclosed_brace() -> None:
    with pytest.raises(ConfigError, match="missing"):
        split_items("a, {b")


def test_declare_refuses_a_name_twice_and_a_bad_default() -> None:
    declare(Param("test_registry_once", "5", integer(), "For this test."))
    with pytest.raises(Bug, match="twice"):
        declare(Param("test_registry_once", "5", integer(), "For this test."))
    with pytest.raises(Bug, match="default"):
        declare(Param("test_registry_bad", "x", integer(), "For this test."))
    del registry._DECLARED["test_registry_once"]


# Declared with another text on purpose: what the default says for an ordinary, not overloaded, present-day system.
SIMPLIFIED = {"smtpd_timeout", "smtpd_hard_error_limit", "smtpd_junk_command_limit", "smtputf8_enable"}


def test_declared_defaults_are_postfix_defaults() -> None:
    registry.import_all()
    wrong = {name: (param.default, postfix_defaults.DEFAULTS[name]) for name, param in registry.declared().items()
             if name in postfix_defaults.DEFAULTS and param.default != postfix_defaults.DEFAULTS[name]
             and name not in SIMPLIFIED}
    assert not wrong


def test_every_declared_parameter_has_a_manual() -> None:
    registry.import_all()
    assert [name for name, param in registry.declared().items() if len(param.doc) < 10] == []
