"""Dovecot's %-variables."""

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.config.variables import _expand, expand_common, expand_variables, of_user, user_names, user_variables

VALUES = user_variables("Al.Ice@Box.test", service="imap", home="/home/al", remote_ip="192.0.2.9", pid=7, uid=5000,
                        extra={"uidvalidity": "255", "x": "It's", "userdb:quota": "10M"})


@pytest.mark.parametrize(("text", "want"), [
    ("%u %n %d %s %h %r %p %i", "Al.Ice@Box.test Al.Ice Box.test imap /home/al 192.0.2.9 7 5000"),
    ("%{user} %{username} %{domain} %{auth_user}", "Al.Ice@Box.test Al.Ice Box.test Al.Ice@Box.test"),
    ("%Ln %Ud %Rn %LRn", "al.ice BOX.TEST ecI.lA eci.la"),
    ("%1u %2.2u %-2.2u %-3u|%02Rn", "A .I st Al.|ecI.lA"),
    ("%L{domain} %.3{domain}", "box.test Box"),
    ("%08X{uidvalidity} %8X{uidvalidity}", "000000ff ff"),
    ("%Ex %Dd", "It\\'s Box,dc=test"),
    ("100%% %", "100% "),
    ("%M{service}", "b2a4d1002579716e40261daba3be0fc7"),
    ("%{md5:service}", "b2a4d1002579716e40261daba3be0fc7"),
    ("%{sha1;truncate=12:service}", "00c3"),
    ("%{sha256;format=base64:service}", "wAmYX7QkTxOz11RQz8wJYYWOHVR91oeMlqGWhEkoQ68="),
    ("%{if;%s;eq;imap;yes;no} %{if;%p;>;10;big;small}", "yes small"),
    ("%{if;%d;ne;;%d;%{user}} %{if;%u;*;*@Box.*;in;out}", "Box.test in"),
    ("%{userdb:quota} %{userdb:nosuch:5M} %{userdb:nosuch}|", "10M 5M |"),
    ("%{env:NOSUCH_VARIABLE:default}", "default"),
    ("%Z %{nosuch}", "UNSUPPORTED_VARIABLE_Z UNSUPPORTED_VARIABLE_nosuch"),
])
def test_expand(text: str, want: str) -> None:
    assert expand_variables(text, VALUES) == want


@pytest.mark.parametrize("text", ["", "%", "%%", "a%%b%u", "%u", "x%{domain}y", "%{hostname}", "%{nosuch}%q|",
                                  "%s%%%{session}", "%u%", "100%%", "%Lu", "x%U{domain}%Ln", "%Lx%LUu", "%L", "%LL",
                                  "%n", "a/%d/%n %u%%", "%{uidvalidity}%%%n%%%%"])
def test_texts_of_whole_values_are_expanded_as_all_others(text: str) -> None:
    want = _expand(text, VALUES, 0)
    assert expand_variables(text, VALUES) == want
    assert expand_common(text, user_names(VALUES["user"]), lambda: VALUES) == want
    value = of_user(text)
    assert value is None or value(VALUES["user"]) == want


@pytest.mark.parametrize(("text", "made_of_the_user"), [
    ("%u", True), ("%Lu", True), ("/mail/%d/%n", True), ("%Ud%%", True), ("/mail", True), ("%s", False),
    ("%{orig_user}", False), ("%1u", False)])
def test_which_texts_want_the_users_name_only(text: str, made_of_the_user: bool) -> None:
    assert (of_user(text) is not None) == made_of_the_user


def test_values_are_not_expanded_again() -> None:
    assert expand_variables("%u", {"user": "%h%{home"}) == "%h%{home"


def test_short_and_long_names_find_each_other() -> None:
    assert expand_variables("%{user}%s", {"u": "a", "service": "b"}) == "ab"


def test_the_new_hash_takes_modulus_and_digits() -> None:
    spread = {expand_variables("%2.256Nu", {"user": f"user{number}"}) for number in range(300)}
    assert {len(text) for text in spread} == {2}
    assert len(spread) > 100


@pytest.mark.parametrize("text", ["%{user", "%{if;a;eq}", "%{if;a;like;b;c;d}", "%{if;a;>;b;c;d}", "%{if;a;~;(;c;d}",
                                  "%{sha1;truncate=x:user}", "%{sha1;format=x:user}"])
def test_bad_texts(text: str) -> None:
    with pytest.raises(ConfigError):
        expand_variables(text, VALUES)


def test_nesting_has_a_limit() -> None:
    text = "%{if;a;eq;a;" * 50 + "x" + ";y}" * 50
    with pytest.raises(ConfigError, match="nested"):
        expand_variables(text, VALUES)
