"""main.cf's macro language."""

import pytest

from mailsuite.config.expansion import ExpansionError, compatibility_level, expand, references

VALUES = {"set": "value", "empty": "", "n9": "9", "level": "3.6"}


@pytest.mark.parametrize(("text", "want"), [
    pytest.param("plain", "plain", id="no macro"),
    pytest.param("$set ${set} $(set)", "value value value", id="three forms"),
    pytest.param("$set-$set.x", "value-value.x", id="name ends at a sign"),
    pytest.param("$none|", "|", id="undefined is empty"),
    pytest.param("$$literal $$ x", "$literal $ x", id="dollars"),
    pytest.param("${set?yes}${empty?yes}", "yes", id="if set"),
    pytest.param("${set:no}${empty:no}", "no", id="if not set"),
    pytest.param("${none:fallback}", "fallback", id="if undefined"),
    pytest.param("${set? b : c }", " b : c ", id="without braces all is text"),
    pytest.param("${set?{yes}:{no}} ${empty?{yes}:{no}}", "yes no", id="both branches"),
    pytest.param("${ set ? {yes} : {no} }|", "yes|", id="blanks around"),
    pytest.param("${set?{ a }}|", " a |", id="blanks inside braces stay"),
    pytest.param("${set?yes:{no}}", "yes:{no}", id="an unbraced branch takes the rest"),
    pytest.param("${set?{yes}:no}${empty?{yes}:no}", "yesno", id="unbraced second branch"),
    pytest.param("${set?{a ${empty:{b}} c}}", "a b c", id="nesting"),
    pytest.param("${set?a{b}c}", "a{b}c", id="braces inside a branch"),
    pytest.param("${{$set} == {value} ? {equal} : {different}}", "equal", id="texts equal"),
    pytest.param("${{a} != {b} ? {y} : {n}}", "y", id="texts differ"),
    pytest.param("${{10} > {9} ? {y} : {n}}", "y", id="numbers compare as numbers"),
    pytest.param("${{09} == {$n9} ? {y} : {n}}", "y", id="leading zero"),
    pytest.param("${{9 } == {9} ? {y} : {n}}", "n", id="a blank behind makes it a text"),
    pytest.param("${{x10} > {x9} ? {y} : {n}}", "n", id="texts compare as texts"),
    pytest.param("${{a} == {a}}${{a} == {b}}", "true", id="no branch"),
    pytest.param("${{a} == {b} : {no}}", "no", id="only the other branch"),
    pytest.param("${{$level} <level {3.10} ? {old} : {new}}", "old", id="levels are not fractions"),
    pytest.param("${{3} ==level {3.0} ? {y} : {n}}", "y", id="levels fill up"),
    pytest.param("${?x}", "", id="empty name"),
])
def test_expand(text: str, want: str) -> None:
    assert expand(text, VALUES.get) == want


@pytest.mark.parametrize(("text", "why"), [
    ("a $ b", 'empty macro name: "a $ b"'),
    ("a ${} b", 'empty macro name: "a ${} b"'),
    ("${set", 'truncated macro reference: "${set"'),
    ("$(set", 'truncated macro reference: "$(set"'),
    ("${set x}", 'attribute name syntax error at: "...set>>> x"'),
    ("${s-t}", 'attribute name syntax error at: "...s>>>-t"'),
    ("${set?{yes}x}", '":" expected at: "...yes}>>>x"'),
    ("${set:{yes} x}", 'unexpected input at: "...yes}>>>x"'),
    ("${{a} = {b}}", '"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>= {b}"'),
    ("${{a} <foo {b} : {no}}", 'bad operator suffix at: "...<>>>foo"'),
    ("${{a} == b}", '"{expression}" expected at: "...{a} ==>>> b"'),
    ("${{a} == {b} x}", '"?" or ":" expected at: "...}>>>x"'),
    ("${{3.} <level {3} ? {y}}", 'malformed compatibility level syntax: "3."'),
    ("${set?" * 200 + "x" + "}" * 200, None),
])
def test_errors_in_postfix_words(text: str, why: str | None) -> None:
    with pytest.raises(ExpansionError) as caught:
        expand(text, VALUES.get)
    assert why is None or caught.value.public == why


def test_found_text_is_not_looked_at_again() -> None:
    assert expand("$peer", {"peer": "$secret ${"}.get) == "$secret ${"


def test_references_see_both_branches() -> None:
    assert references("$a ${b?{$c}:{$d}} ${{$e} == {$f} ? {$g} : {$h}} $$i") == list("abcdefgh")


@pytest.mark.parametrize(("text", "want"), [
    ("3", (3, 0, 0)), ("3.6", (3, 6, 0)), ("3.6.11", (3, 6, 11)), ("9999", (9999, 0, 0)), ("+3.06.1023", (3, 6, 1023))])
def test_compatibility_level(text: str, want: tuple[int, int, int]) -> None:
    assert compatibility_level(text) == want


@pytest.mark.parametrize("text", ["", "-1", "3.", ".3", "3 6", "3.6.1.1", "3.1024", "3.6.1024", "99999999999999"])
def test_no_compatibility_level(text: str) -> None:
    with pytest.raises(ExpansionError, match="malformed compatibility level syntax"):
        compatibility_level(text)
