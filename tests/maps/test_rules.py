"""regexp, pcre and cidr tables: what rules say, in which order, and what is said of bad lines."""

import asyncio
import logging
from random import Random

import pytest

from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource
from mailsuite.maps.maps import open_maps
from mailsuite.maps.opening import open_table
from mailsuite.maps.perl import compile_slow
from mailsuite.maps.posix import to_re2
from mailsuite.maps.table import TableError

SOURCE = MapSource(Settings.of({}), "smtpd")

REGEXP = r"""
/^(a+)(b*)c$/      one $1 two ${2} three $$
/CaSe/i            flag i makes it case sensitive
!/@/               no at sign
/^x(.*)@d\.test$/  ex:$1
if /^y/
/^y1@/             y one
!/^y2@/            not y two
endif
if !/\.test$/
/^z@/              z outside
endif
/^long@/
   continued value
~^tilde/@~         other delimiter
/^dollar@/         cost $$5
/^(p)\1@/          back $1
"""


@pytest.fixture
def write(tmp_path):  # type: ignore[no-untyped-def]
    def put(text: str) -> str:
        (tmp_path / "t").write_text(text)
        return f"{tmp_path}/t"
    return put


@pytest.mark.parametrize(("key", "want"), [
    ("aabc", "one aa two b three $"), ("aac", "one aa two  three $"), ("case", "no at sign"),
    ("CaSe@", "flag i makes it case sensitive"), ("x1@d.test", "ex:1"), ("Y1@q", "y one"), ("y3@q", "not y two"),
    ("y2@q", None), ("z@a.com", "z outside"), ("z@a.test", None), ("long@", "continued value"),
    ("tilde/@", "other delimiter"), ("dollar@", "cost $5"), ("", "no at sign"), ("pp@", "back p"), ("p@", None),
])
def test_regexp(key: str, want: str | None, write) -> None:  # type: ignore[no-untyped-def]
    assert open_table("regexp:" + write(REGEXP), SOURCE).lookup(key) == want


@pytest.mark.parametrize(("rules", "key", "want"), [
    (r"/(a)(b)?/ 1:$1 2:$2 $(1)", "a", "1:a 2: a"),
    (r"/(?<=x)y/ look", "xy", "look"),
    (r"/(?!.*@ours)./ foreign", "a@ours", "foreign"),
    (r"/^(?!.*@ours)./ foreign", "a@ours", None),
    (r"/^z.*?y/U z", "zby", "z"),
    (r"/a.b/ dot", "a\nb", "dot"),
    (r"/a.b/s dot", "a\nb", None),
    (r"/^(?!(a)b)(?=a(.))(.*)/ 2:$2 3:$3", "axe", "2:x 3:axe"),
    (r"/^(?!(a)b)(?=a(.))(.*)/ 2:$2 3:$3", "abe", None),
    (r"/^(?!a)x|y/ branch", "zy", "branch"),
    (r"/^(?![a)]b)./ class", "ac", "class"),
    (r"/AA/A anchored", "xaa", None),
    (r"/a b/x extended", "ab", "extended"),
    (r"/^(.*?)-(.*)$/ $1", "a-b-c", "a"),
    (r"/((?:é)+)/ <$1>", "xéé", "<éé>"),
    (r"/^..$/ octets", "é", "octets"),
    (r"/a\Kb\h\Z/ escapes", "ab ", "escapes"),
    (r"#a# comment", "a", None),
    ("/(\udcff)/ raw", "a\udcffb", "raw"),
])
def test_pcre(rules: str, key: str, want: str | None) -> None:
    assert open_table("pcre:{{" + rules + "}}", SOURCE).lookup(key) == want


def test_look_ahead_is_linear() -> None:
    table = open_table("pcre:{{/^(?!.*@ours)(a+)+$/ REJECT}}", SOURCE)
    assert table.lookup("a" * 5000 + "!") is None


BACKTRACKING = [(r"^(a+)\1$", "aa", ["aa", "a"]), (r"(?<=x)(y)|(z)", "xy", ["y", "y", None]), (r"a(?!b)", "ab", None)]


@pytest.mark.parametrize(("pattern", "key", "want"), BACKTRACKING)
def test_backtracking_patterns(pattern: str, key: str, want: list[str | None] | None) -> None:
    slow = compile_slow(pattern, {"i", "s"})
    expected = None if want is None else [one if one is None else one.encode() for one in want]
    assert slow.groups(key.encode()) == expected and slow.group_count == pattern.count("(") - pattern.count("(?")


@pytest.mark.parametrize("rule", [r"/(?<=x)a/ x", r"/(a)\1/ x", r"/a(?!b)c/ x"])
@pytest.mark.parametrize("kind", ["pcre", "regexp"])
def test_without_the_library_a_table_cannot_be_asked(kind: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "regexp" and "(?" in rule:
        rule = r"/(x)y\1/ z"
    monkeypatch.setattr("mailsuite.maps.pcre2._library", lambda: None)
    with pytest.raises(TableError, match="needs the PCRE2 library"):
        open_table(f"{kind}:{{{{{rule}}}}}", SOURCE)


HOSTILE = [(r"/^(x+x+)+(?<!q)[yz]$/ REJECT", "x" * 400), (r"/^(?:(x+)+)(?<!q)\1$/ REJECT", "x" * 60 + "!"),
           (r"/(.*)*\1z(?=q)/ REJECT", "ab" * 3000), (r"/^(a|a?)+(?<=b)$/ REJECT", "a" * 200),
           (r"/(?R)?x(?=y)|(?1)(z)/ REJECT", "x" * 5000)]


@pytest.mark.parametrize(("rule", "key"), HOSTILE)
def test_endless_backtracking_has_a_limit(rule: str, key: str, caplog: pytest.LogCaptureFixture) -> None:
    """The test would not end without it."""
    with caplog.at_level(logging.WARNING, "mailsuite.smtpd"):
        assert open_table("pcre:{{" + rule + "}}", SOURCE).lookup(key) is None
    assert all(message.endswith(("limit exceeded", "subject position")) for message in caplog.messages)


@pytest.mark.parametrize("rule", [r"/^(a*)*\1b$/ REJECT", r"/((a*)*)*\2c/ REJECT"])
def test_back_references_of_regexp_have_the_same_limit(rule: str) -> None:
    assert open_table("regexp:{{" + rule + "}}", SOURCE).lookup("a" * 3000 + "!") is None


def test_many_slow_patterns_together_have_a_limit() -> None:
    rules = ", ".join("{" + r"/^(x+x+)+(?<!q)[yz]$/ REJECT" + "}" for _ in range(500))
    with pytest.raises(TableError, match="too long"):
        open_table("pcre:{" + rules + "}", SOURCE).lookup("x" * 400)


def test_posix_is_leftmost_longest() -> None:
    assert open_table("regexp:{{/(a|ab)c?/ <$1>}}", SOURCE).lookup("abd") == "<ab>"


@pytest.mark.parametrize(("pattern", "extended", "want"), [
    ("a.b", True, "a.b"), (r"a)b", True, r"a\)b"), (r"\(a\)\{2\}", False, "(a){2}"), ("a{2}", False, r"a\{2\}"),
    ("*a", False, r"\*a"), (r"[\w]", True, r"[\\w]"), ("[]a]", True, r"[\]a]"), ("[^]a]", True, r"[^\]a]"),
    (r"\<w\>", True, r"\bw\b"), ("a$b", False, r"a\$b"), ("[[:alpha:]_]", True, "[[:alpha:]_]"),
])
def test_posix_to_re2(pattern: str, extended: bool, want: str) -> None:
    assert to_re2(pattern, extended=extended) == want


BAD = r"""/unclosed
/(/   paren
/ok/  fine
nodelim value
/x(y)/ uses $2
endif
if /a/
/flag/Q value
/a/ $name
!/b/ $1
"""


def test_bad_lines_are_told_and_skipped(write, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    path = write(BAD)
    with caplog.at_level(logging.WARNING, "mailsuite.smtpd"):
        table = open_table("regexp:" + path, SOURCE)
    assert table.lookup("ok") == "fine"
    said = [record.getMessage().removeprefix(f"regexp map {path}, line ") for record in caplog.records]
    assert said == [
        '1: no closing regexp delimiter "/": skipping this rule', "2: Unmatched ( or \\(",
        "4: ignoring unrecognized request", '5: out of range replacement index "2": skipping this rule',
        "6: ignoring ENDIF without matching IF", '8: unknown regexp option "Q": skipping this rule',
        '9: non-numeric replacement index "name"', "9: bad replacement syntax: skipping this rule",
        "10: $number found in negative match replacement text: skipping this rule", "7: IF has no matching ENDIF"]


CIDR = """
192.0.2.5           five
192.0.2.0/25        lower
!10.0.0.0/8         not ten
if 10.1.0.0/16
10.1.2.0/24         ten one two
!10.1.3.0/24        not three
endif
10.0.0.0/8          ten
2001:db8::/32       six
[2001:db9::1]       bracket
::/0                any six
"""


@pytest.mark.parametrize(("key", "want"), [
    ("192.0.2.5", "five"), ("192.0.2.6", "lower"), ("192.0.2.200", "not ten"), ("10.1.2.3", "ten one two"),
    ("10.1.3.3", "ten"), ("10.1.4.4", "not three"), ("10.9.9.9", "ten"), ("2001:db8::9", "six"),
    ("2001:db9::1", "bracket"), ("fe80::1", "any six"), ("host.test", None), ("192.0.2.0/25", None), ("", None),
])
def test_cidr(key: str, want: str | None, write) -> None:  # type: ignore[no-untyped-def]
    assert open_table("cidr:" + write(CIDR), SOURCE).lookup(key) == want


@pytest.mark.parametrize(("rule", "said"), [
    ("192.0.2.5/24 x", 'non-null host address bits in "192.0.2.5/24", perhaps you should use "192.0.2.0/24" instead: '
                       "skipping this rule"),
    ("300.1.1.1 x", 'bad address pattern: "300.1.1.1": skipping this rule'),
    ("192.0.2.0/33 x", 'bad mask length in "192.0.2.0/33": skipping this rule'),
    ("192.0.2.0/24", "no lookup result: skipping this rule"),
])
def test_bad_cidr(rule: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mailsuite.smtpd"):
        assert open_table("cidr:{{" + rule + "}}", SOURCE).lookup("192.0.2.5") is None
    assert caplog.messages == [f"cidr map {{{{{rule}}}}}, line 1: {said}"]


@pytest.mark.parametrize("seed", range(30))
def test_noise_in_tables_and_keys(seed: int) -> None:
    noise = Random(seed)
    alphabet = "/!$()[]{}ab1.*+?\\^|: \tif\n@"
    for kind in ("regexp", "pcre", "cidr"):
        rules = "".join("{" + "".join(noise.choices(alphabet, k=12)).replace("{", "").replace("}", "") + "} "
                        for _ in range(8))
        table = open_table(kind + ":{" + rules + "}", SOURCE)
        for _ in range(5):
            table.lookup("".join(noise.choices(alphabet, k=9)))


def test_what_chooses_hosts_may_not_substitute(caplog: pytest.LogCaptureFixture) -> None:
    """transport_maps and the sender's relayhost and transport: $1 comes from a stranger. Others have it."""
    settings = Settings.of({"transport_maps": "pcre:{{/^(a)@/ smtp:[$1]}, {/^b@/ smtp:[b]}}".replace("$", "$$")})
    source = MapSource(settings, "trivial-rewrite")
    spec = settings.text("transport_maps")
    chosen, other = open_maps(spec, source.without_substitution()), open_maps(spec, source)
    assert [asyncio.run(chosen.find(key)) for key in ("a@x", "b@x")] == [None, "smtp:[b]"]
    assert asyncio.run(other.find("a@x")) == "smtp:[a]"
    assert "regular expression substitution is not allowed: skipping this rule" in caplog.text
