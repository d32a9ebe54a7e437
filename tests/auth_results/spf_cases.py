"""Zones, questions and results for SPF, written down from RFC 7208; the section is in each scenario's title.

A case: id, client address, sender, result; HELO is "mx.test" unless the sender is "<>" followed by a HELO name.
"""

from typing import NamedTuple


class Case(NamedTuple):
    name: str
    client: str
    sender: str
    want: str
    explanation: str | None = None


class Scenario(NamedTuple):
    title: str
    zone: dict[str, list[str]]
    cases: list[Case]


def _rows(text: str) -> list[Case]:
    """Lines "name client sender result", an explanation behind "|"."""
    cases = []
    for line in text.strip().splitlines():
        said, bar, explanation = line.partition("|")
        cases.append(Case(*said.split(), explanation.strip() if bar else None))
    return cases


APPENDIX_A = {          # RFC 7208 appendix A
    "example.com": ["MX 10 mail-a.example.com.", "MX 20 mail-b.example.com.", "A 192.0.2.10", "A 192.0.2.11"],
    "amy.example.com": ["A 192.0.2.65"], "bob.example.com": ["A 192.0.2.66"],
    "mail-a.example.com": ["A 192.0.2.129"], "mail-b.example.com": ["A 192.0.2.130"],
    "example.org": ["MX 10 mail-c.example.org."], "mail-c.example.org": ["A 192.0.2.140"],
    "10.2.0.192.in-addr.arpa": ["PTR example.com."], "11.2.0.192.in-addr.arpa": ["PTR example.com."],
    "65.2.0.192.in-addr.arpa": ["PTR amy.example.com."], "66.2.0.192.in-addr.arpa": ["PTR bob.example.com."],
    "129.2.0.192.in-addr.arpa": ["PTR mail-a.example.com."], "130.2.0.192.in-addr.arpa": ["PTR mail-b.example.com."],
    "140.2.0.192.in-addr.arpa": ["PTR mail-c.example.org."], "4.0.0.10.in-addr.arpa": ["PTR bob.example.com."],
    "2.0.0.127.bl.test": ["A 127.0.0.2"],
}


def _appendix(record: str, more: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    return {**APPENDIX_A, "example.com": [*APPENDIX_A["example.com"], f"TXT {record}"], **(more or {})}


SCENARIOS = [
    Scenario("A.1 all", _appendix("v=spf1 +all"), _rows("any 203.0.113.9 x@example.com pass")),
    Scenario("A.1 a", _appendix("v=spf1 a -all"), _rows("""
        own-host 192.0.2.10 x@example.com pass
        second-host 192.0.2.11 x@example.com pass
        other-host 192.0.2.65 x@example.com fail""")),
    Scenario("A.1 a of another domain", _appendix("v=spf1 a:example.org -all"), _rows("""
        it-has-no-address 192.0.2.140 x@example.com fail""")),
    Scenario("A.1 mx", _appendix("v=spf1 mx -all"), _rows("""
        first-mx 192.0.2.129 x@example.com pass
        second-mx 192.0.2.130 x@example.com pass
        no-mx 192.0.2.10 x@example.com fail""")),
    Scenario("A.1 mx of another domain", _appendix("v=spf1 mx:example.org -all"), _rows("""
        its-mx 192.0.2.140 x@example.com pass
        own-mx 192.0.2.129 x@example.com fail""")),
    Scenario("A.1 two mx", _appendix("v=spf1 mx mx:example.org -all"), _rows("""
        own 192.0.2.130 x@example.com pass
        theirs 192.0.2.140 x@example.com pass
        nobodys 192.0.2.66 x@example.com fail""")),
    Scenario("A.1 mx with lengths", _appendix("v=spf1 mx/30 mx:example.org/30 -all"), _rows("""
        network-begin 192.0.2.128 x@example.com pass
        network-end 192.0.2.131 x@example.com pass
        behind 192.0.2.132 x@example.com fail
        other-network 192.0.2.143 x@example.com pass""")),
    Scenario("A.1 ptr", _appendix("v=spf1 ptr -all"), _rows("""
        name-is-the-domain 192.0.2.10 x@example.com pass
        name-below-the-domain 192.0.2.65 x@example.com pass
        name-elsewhere 192.0.2.140 x@example.com fail
        name-does-not-lead-back 10.0.0.4 x@example.com fail
        no-name 203.0.113.1 x@example.com fail""")),
    Scenario("A.1 ip4", _appendix("v=spf1 ip4:192.0.2.128/28 -all"), _rows("""
        outside 192.0.2.65 x@example.com fail
        inside 192.0.2.129 x@example.com pass
        ipv6-client 2001:db8::1 x@example.com fail
        ipv4-in-ipv6 ::ffff:192.0.2.129 x@example.com pass""")),
    Scenario("A.2 several domains", {
        **APPENDIX_A, "example.org": ["TXT v=spf1 include:example.com include:example.net -all"],
        "example.com": ["TXT v=spf1 ip4:192.0.2.10 -all"], "example.net": ["TXT v=spf1 ip4:192.0.2.20 -all"],
        "la.example.org": ["TXT v=spf1 redirect=example.org"]}, _rows("""
        first-include 192.0.2.10 x@example.org pass
        second-include 192.0.2.20 x@example.org pass
        neither 192.0.2.30 x@example.org fail
        redirected 192.0.2.20 x@la.example.org pass
        redirected-fail 192.0.2.30 x@la.example.org fail""")),
    Scenario("A.3 DNSBL style", _appendix(
        "v=spf1 include:%{d}.users.test -all",
        {"example.com.users.test": ["TXT v=spf1 exists:%{l}.%{d} -all"], "mary.example.com.users.test": ["A 127.0.0.2"]}),
        _rows("""
        listed-user 203.0.113.1 mary@example.com pass
        unknown-user 203.0.113.1 fred@example.com fail""")),
    Scenario("2.4 null sender stands for HELO", {"helo.test": ["TXT v=spf1 ip4:192.0.2.1 -all"],
                                                  "l.helo.test": ["TXT v=spf1 exists:%{l}.who.test -all"],
                                                  "postmaster.who.test": ["A 127.0.0.2"]}, _rows("""
        helo-pass 192.0.2.1 <>helo.test pass
        helo-fail 192.0.2.2 <>helo.test fail
        helo-has-none 192.0.2.2 <>other.test none
        helo-literal 192.0.2.2 <>[192.0.2.2] none
        local-part-is-postmaster 192.0.2.2 <>l.helo.test pass
        empty-local-part 192.0.2.2 @l.helo.test pass""")),
    Scenario("4.3 initial processing", {"a.test": ["TXT v=spf1 -all"], "test": ["TXT v=spf1 -all"],
                                        ("b" * 63) + ".test": ["TXT v=spf1 -all"], "xn--bcher-kva.test": ["TXT v=spf1 -all"]},
             _rows(f"""
        longest-label 192.0.2.1 x@{'b' * 63}.test fail
        label-too-long 192.0.2.1 x@{'b' * 64}.test none
        empty-label 192.0.2.1 x@a..test none
        one-label 192.0.2.1 x@test none
        literal 192.0.2.1 x@[192.0.2.1] none
        last-dot 192.0.2.1 x@a.test. fail
        u-label 192.0.2.1 x@bücher.test fail
        upper-case 192.0.2.1 x@A.TEST fail""")),
    Scenario("4.4 record lookup", {"slow.test": ["TIMEOUT"], "none.test": ["A 192.0.2.1"],
                                   "alias.test": ["CNAME a.test."], "a.test": ["TXT v=spf1 -all"]}, _rows("""
        server-failure 192.0.2.1 x@slow.test temperror
        no-such-domain 192.0.2.1 x@missing.test none
        no-txt 192.0.2.1 x@none.test none
        alias 192.0.2.1 x@alias.test fail""")),
    Scenario("4.5 selecting records", {
        "two.test": ["TXT v=spf1 -all", "TXT v=spf1 +all"], "other.test": ["TXT something else", "TXT v=spf1 -all"],
        "version.test": ["TXT v=spf10 -all"], "version2.test": ["TXT v=spf2.0/mfrom -all"], "empty.test": ["TXT v=spf1"],
        "blank.test": ["TXT v=spf1 "], "case.test": ["TXT V=SPF1 -ALL"], "parts.test": ["TXT v=spf1 ip4:192.0|.2.1 -all"],
        "front.test": ["TXT  v=spf1 -all"], "tab.test": ["TXT v=spf1\t-all"]}, _rows("""
        several-records 192.0.2.1 x@two.test permerror
        other-texts-do-not-count 192.0.2.1 x@other.test fail
        version-10 192.0.2.1 x@version.test none
        version-2 192.0.2.1 x@version2.test none
        empty-record 192.0.2.1 x@empty.test neutral
        blank-record 192.0.2.1 x@blank.test neutral
        any-case 192.0.2.1 x@case.test fail
        strings-are-joined 192.0.2.1 x@parts.test pass
        blank-in-front 192.0.2.1 x@front.test none
        tab-is-no-blank 192.0.2.1 x@tab.test none""")),
    Scenario("4.6 syntax errors anywhere", {
        f"{name}.test": [f"TXT v=spf1 +all {text}"] for name, text in {
            "unknown": "foo", "unknown-arg": "foo:bar.test", "all-arg": "-all:x.test", "all-length": "all/8",
            "plus-modifier": "+redirect=x.test", "twice": "redirect=x.test redirect=y.test",
            "exp-twice": "exp=x.test exp=y.test", "empty-include": "include:", "include-alone": "include",
            "include-length": "include:x.test/24", "exists-alone": "exists", "exists-length": "exists:x.test/24",
            "a-empty": "a:", "a-top-label": "a:museum", "a-number-label": "a:1.2.3.4", "a-length": "a/33",
            "a-length-6": "a//129", "a-length-zero": "a/032", "a-length-order": "a//64/24", "a-slash": "a/",
            "mx-empty": "mx:", "ptr-empty": "ptr:", "ptr-length": "ptr/24", "ip4-alone": "ip4",
            "ip4-short": "ip4:1.2.3", "ip4-big": "ip4:1.2.3.256", "ip4-length": "ip4:1.2.3.4/33",
            "ip4-length-0": "ip4:1.2.3.4/032", "ip4-length-none": "ip4:1.2.3.4/", "ip4-port": "ip4:1.2.3.4:25",
            "ip6-short": "ip6:1:2:3", "ip6-length": "ip6:2001:db8::1/129", "ip6-double": "ip6:2001:db8::1//64",
            "ip6-v4": "ip6:192.0.2.1", "macro-letter": "a:%{x}.test", "macro-zero": "a:%{d0}.test",
            "macro-open": "a:%{d.test", "macro-percent": "a:%x.test", "macro-c": "exists:%{c}.test",
            "macro-t": "exists:%{t}.test", "macro-order": "exists:%{dr2}.test", "modifier-macro": "foo=%{x}",
            "redirect-empty": "redirect=", "exp-empty": "exp=", "equals": "=x", "qualifier": "*all",
            "two-qualifiers": "--all", "eight-bit": "ä"}.items()},
        [Case(name, "192.0.2.1", f"x@{name}.test", "permerror") for name in ["unknown", "unknown-arg", "all-arg", "all-length", "plus-modifier", "twice", "exp-twice", "empty-include", "include-alone", "include-length", "exists-alone", "exists-length", "a-empty", "a-top-label", "a-number-label", "a-length", "a-length-6", "a-length-zero", "a-length-order", "a-slash", "mx-empty", "ptr-empty", "ptr-length", "ip4-alone", "ip4-short", "ip4-big", "ip4-length", "ip4-length-0", "ip4-length-none", "ip4-port", "ip6-short", "ip6-length", "ip6-double", "ip6-v4", "macro-letter", "macro-zero", "macro-open", "macro-percent", "macro-c", "macro-t", "macro-order", "modifier-macro", "redirect-empty", "exp-empty", "equals", "qualifier", "two-qualifiers", "eight-bit"]]),
    Scenario("4.6.1, 12 what is no error", {
        "modifier.test": ["TXT v=spf1 foo=bar.%{d} x-1.y=z -all"],
        "blanks.test": ["TXT v=spf1   ip4:192.0.2.1     -all   "], "case.test": ["TXT v=spf1 IP4:192.0.2.1 A:A.TEST -aLL"],
        "a.test": ["A 192.0.2.5"], "colon.test": ["TXT v=spf1 a:foo:bar/baz.a.test -all"],
        "foo:bar/baz.a.test": ["A 192.0.2.6"], "dot.test": ["TXT v=spf1 a:a.test. -all"],
        "percent.test": ["TXT v=spf1 exists:%%%_%-.a.test -all"], "front.test": ["TXT v=spf1 redirect=a.test -all"]}, _rows("""
        unknown-modifiers 192.0.2.1 x@modifier.test fail
        many-blanks 192.0.2.1 x@blanks.test pass
        mechanism-case 192.0.2.1 x@case.test pass
        domain-case 192.0.2.5 x@case.test pass
        odd-characters 192.0.2.6 x@colon.test pass
        last-dot 192.0.2.5 x@dot.test pass
        escapes 192.0.2.5 x@percent.test fail
        redirect-with-all 192.0.2.5 x@front.test fail""")),
    Scenario("4.6.2 qualifiers", {f"{name}.test": [f"TXT v=spf1 {sign}ip4:192.0.2.1 {sign}all"] for name, sign in
                                  {"none": "", "plus": "+", "minus": "-", "tilde": "~", "mark": "?"}.items()}, _rows("""
        no-sign 192.0.2.1 x@none.test pass
        plus 192.0.2.1 x@plus.test pass
        minus 192.0.2.1 x@minus.test fail
        tilde 192.0.2.1 x@tilde.test softfail
        question-mark 192.0.2.1 x@mark.test neutral
        minus-all 192.0.2.9 x@minus.test fail
        tilde-all 192.0.2.9 x@tilde.test softfail""")),
    Scenario("4.6.4 limits", {
        "loop.test": ["TXT v=spf1 include:loop.test -all"], "ring.test": ["TXT v=spf1 redirect=ring.test"],
        "ten.test": ["TXT v=spf1 " + "a:a.test " * 10 + "-all"], "eleven.test": ["TXT v=spf1 " + "a:a.test " * 11 + "-all"],
        "early.test": ["TXT v=spf1 ip4:192.0.2.1 " + "a:a.test " * 11 + "-all"], "a.test": ["A 192.0.2.200"],
        "nested.test": ["TXT v=spf1 include:six.test include:six.test -all"],
        "six.test": ["TXT v=spf1 " + "a:a.test " * 5 + "?all"],
        "mx10.test": [*(f"MX 10 h{n}.test." for n in range(10)), "TXT v=spf1 mx -all"],
        "mx11.test": [*(f"MX 10 h{n}.test." for n in range(11)), "TXT v=spf1 mx -all"],
        **{f"h{n}.test": [f"A 192.0.2.{100 + n}"] for n in range(11)},
        "void2.test": ["TXT v=spf1 a:v1.test a:v2.test a:a.test -all"],
        "void3.test": ["TXT v=spf1 a:v1.test a:v2.test a:v3.test a:a.test -all"],
        "voidmx.test": ["TXT v=spf1 mx:v1.test exists:v2.test a:a.test -all"],
        "voidmx3.test": ["TXT v=spf1 mx:v1.test exists:v2.test a:v3.test -all"],
        "free.test": ["TXT v=spf1 " + "ip4:198.51.100.1 ip6:2001:db8::1 " * 20 + "all"],
        "ptr11.test": ["TXT v=spf1 ptr -all"], "5.2.0.192.in-addr.arpa": [*(f"PTR n{n:02}.else.test." for n in range(10)),
                                                                         "PTR z.ptr11.test."],
        "z.ptr11.test": ["A 192.0.2.5"]}, _rows("""
        include-of-itself 192.0.2.1 x@loop.test permerror
        redirect-to-itself 192.0.2.1 x@ring.test permerror
        ten-terms 192.0.2.1 x@ten.test fail
        ten-terms-match 192.0.2.200 x@ten.test pass
        eleven-terms 192.0.2.1 x@eleven.test permerror
        what-comes-before-the-limit-counts 192.0.2.1 x@early.test pass
        terms-of-includes-count 192.0.2.1 x@nested.test permerror
        ten-mx 192.0.2.109 x@mx10.test pass
        eleven-mx 192.0.2.109 x@mx11.test permerror
        two-voids 192.0.2.200 x@void2.test pass
        three-voids 192.0.2.200 x@void3.test permerror
        voids-of-mx-and-exists 192.0.2.200 x@voidmx.test pass
        three-voids-of-kinds 192.0.2.200 x@voidmx3.test permerror
        addresses-are-free 192.0.2.1 x@free.test pass
        eleventh-ptr-name-is-not-looked-at 192.0.2.5 x@ptr11.test fail""")),
    Scenario("4.7 default result", {"a.test": ["TXT v=spf1 ip4:192.0.2.1"]}, _rows("""
        nothing-matches 192.0.2.2 x@a.test neutral""")),
    Scenario("5.2 include", {
        **{f"{name}.test": [f"TXT v=spf1 include:{name}.inner.test ip4:192.0.2.9 ?all"] for name in
           ("pass", "fail", "softfail", "neutral", "temperror", "permerror", "none", "long")},
        "pass.inner.test": ["TXT v=spf1 all"], "fail.inner.test": ["TXT v=spf1 -all"],
        "softfail.inner.test": ["TXT v=spf1 ~all"], "neutral.inner.test": ["TXT v=spf1 ?all"],
        "temperror.inner.test": ["TIMEOUT"], "permerror.inner.test": ["TXT v=spf1 x"],
        "minus.test": ["TXT v=spf1 -include:pass.inner.test all"],
        "exp.test": ["TXT v=spf1 include:expinner.test -all"], "expinner.test": ["TXT v=spf1 exp=text.test -all"],
        "text.test": ["TXT not this one"]}, _rows("""
        pass-matches 192.0.2.1 x@pass.test pass
        fail-does-not 192.0.2.1 x@fail.test neutral
        goes-on-behind 192.0.2.9 x@fail.test pass
        softfail-does-not 192.0.2.1 x@softfail.test neutral
        neutral-does-not 192.0.2.1 x@neutral.test neutral
        temperror 192.0.2.1 x@temperror.test temperror
        permerror 192.0.2.1 x@permerror.test permerror
        none 192.0.2.1 x@none.test permerror
        own-qualifier 192.0.2.1 x@minus.test fail
        no-explanation-of-the-included 192.0.2.1 x@exp.test fail |""")),
    Scenario("5.3 a", {
        "a.test": ["A 192.0.2.1", "AAAA 2001:db8::1", "TXT v=spf1 a -all"], "b.test": ["TXT v=spf1 a:a.test/24 -all"],
        "c.test": ["TXT v=spf1 a:a.test//64 -all"], "d.test": ["TXT v=spf1 a:a.test/24//64 -all"],
        "zero.test": ["TXT v=spf1 a:a.test/0 -all"], "zero6.test": ["TXT v=spf1 a:a.test//0 -all"],
        "slow.test": ["TXT v=spf1 a:gone.test -all"], "gone.test": ["TIMEOUT"], "missing.test": ["TXT v=spf1 a:no.test -all"],
        "six.test": ["TXT v=spf1 a:only6.test -all"], "only6.test": ["AAAA 2001:db8::5"],
        "labels.test": ["TXT v=spf1 a:x..a.test -all"]}, _rows("""
        ipv4 192.0.2.1 x@a.test pass
        ipv6 2001:db8::1 x@a.test pass
        wrong-ipv6 2001:db8::2 x@a.test fail
        network 192.0.2.77 x@b.test pass
        length-of-ipv4-only 2001:db8::2 x@b.test fail
        network6 2001:db8::77 x@c.test pass
        length-of-ipv6-only 192.0.2.77 x@c.test fail
        both-4 192.0.2.77 x@d.test pass
        both-6 2001:db8::77 x@d.test pass
        everything 203.0.113.1 x@zero.test pass
        nothing-of-ipv6 2001:db9::1 x@zero.test fail
        everything6 2001:db9::1 x@zero6.test pass
        nothing-of-ipv4 203.0.113.1 x@zero6.test fail
        server-failure 192.0.2.1 x@slow.test temperror
        no-such-name 192.0.2.1 x@missing.test fail
        other-family 192.0.2.1 x@six.test fail
        empty-label-in-target 192.0.2.1 x@labels.test fail""")),
    Scenario("5.4 mx", {
        "m.test": ["MX 10 a.test.", "MX 20 b.test.", "A 192.0.2.9", "TXT v=spf1 mx -all"], "a.test": ["A 192.0.2.1"],
        "b.test": ["A 192.0.2.2", "AAAA 2001:db8::2"], "implicit.test": ["A 192.0.2.9", "TXT v=spf1 mx -all"],
        "null.test": ["MX 0 .", "TXT v=spf1 mx -all"], "half.test": ["MX 10 a.test.", "MX 20 gone.test.", "TXT v=spf1 mx -all"],
        "gone.test": ["TIMEOUT"], "slow.test": ["TIMEOUT", "TXT v=spf1 mx -all"],
        "len.test": ["TXT v=spf1 mx:m.test/24//64 -all"]}, _rows("""
        first 192.0.2.1 x@m.test pass
        second 192.0.2.2 x@m.test pass
        second-ipv6 2001:db8::2 x@m.test pass
        address-of-the-domain-is-no-mx 192.0.2.9 x@m.test fail
        no-implicit-mx 192.0.2.9 x@implicit.test fail
        null-mx 192.0.2.9 x@null.test fail
        a-match-needs-no-others 192.0.2.1 x@half.test pass
        without-a-match-failure-counts 192.0.2.3 x@half.test temperror
        mx-failure 192.0.2.1 x@slow.test temperror
        lengths 192.0.2.200 x@len.test pass
        lengths6 2001:db8::200 x@len.test pass""")),
    Scenario("5.5 ptr", {
        "p.test": ["TXT v=spf1 ptr -all"], "q.test": ["TXT v=spf1 ptr:p.test -all"],
        "1.2.0.192.in-addr.arpa": ["PTR mx.P.test."], "mx.p.test": ["A 192.0.2.1", "AAAA 2001:db8::1"],
        "2.2.0.192.in-addr.arpa": ["PTR notp.test."], "notp.test": ["A 192.0.2.2"],
        "3.2.0.192.in-addr.arpa": ["TIMEOUT"], "4.2.0.192.in-addr.arpa": ["PTR gone.p.test.", "PTR mx4.p.test."],
        "gone.p.test": ["TIMEOUT"], "mx4.p.test": ["A 192.0.2.4"],
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": ["PTR mx.p.test."]}, _rows("""
        below 192.0.2.1 x@p.test pass
        below-of-another 192.0.2.1 x@q.test pass
        ipv6 2001:db8::1 x@p.test pass
        same-end-is-not-below 192.0.2.2 x@p.test fail
        failing-ptr-is-no-match 192.0.2.3 x@p.test fail
        failing-name-is-skipped 192.0.2.4 x@p.test pass""")),
    Scenario("5.6 ip4, ip6", {
        "four.test": ["TXT v=spf1 ip4:192.0.2.1 ip4:198.51.100.77/24 -all"], "six.test": ["TXT v=spf1 ip6:2001:DB8::/32 -all"],
        "one6.test": ["TXT v=spf1 ip6:2001:db8::1 -all"], "all4.test": ["TXT v=spf1 ip4:1.2.3.4/0 -all"],
        "mapped.test": ["TXT v=spf1 ip6:::ffff:192.0.2.1 -all"]}, _rows("""
        exact 192.0.2.1 x@four.test pass
        host-bits-are-ignored 198.51.100.1 x@four.test pass
        outside 198.51.101.1 x@four.test fail
        ipv6-network 2001:db8:1::1 x@six.test pass
        ipv6-outside 2001:db9::1 x@six.test fail
        ipv6-exact 2001:db8::1 x@one6.test pass
        ipv6-next 2001:db8::2 x@one6.test fail
        length-0 203.0.113.1 x@all4.test pass
        length-0-is-ipv4 2001:db8::1 x@all4.test fail
        mapped-address-in-ip6-never-matches 192.0.2.1 x@mapped.test fail""")),
    Scenario("5.7 exists", {
        "e.test": ["TXT v=spf1 exists:%{i}.list.test -all"], "192.0.2.1.list.test": ["A 127.0.0.2"],
        "192.0.2.2.list.test": ["AAAA 2001:db8::1"], "192.0.2.3.list.test": ["TIMEOUT"],
        "fix.test": ["TXT v=spf1 exists:there.test -all"], "there.test": ["A 127.0.0.2"]}, _rows("""
        listed 192.0.2.1 x@e.test pass
        needs-an-a-record 192.0.2.2 x@e.test fail
        failure 192.0.2.3 x@e.test temperror
        absent 192.0.2.4 x@e.test fail
        a-record-for-ipv6-clients 2001:db8::9 x@fix.test pass""")),
    Scenario("6.1 redirect", {
        "r.test": ["TXT v=spf1 ip4:192.0.2.9 redirect=t.test"], "t.test": ["TXT v=spf1 ip4:192.0.2.1 exp=why.test -all"],
        "why.test": ["TXT of %{d} for %{o}"], "none.test": ["TXT v=spf1 redirect=missing.test"],
        "bad.test": ["TXT v=spf1 redirect=x..test"], "slow.test": ["TXT v=spf1 redirect=gone.test"], "gone.test": ["TIMEOUT"],
        "macro.test": ["TXT v=spf1 redirect=%{l}.test"]}, _rows("""
        own-first 192.0.2.9 x@r.test pass
        target 192.0.2.1 x@r.test pass
        explanation-of-the-target 192.0.2.2 x@r.test fail | of t.test for r.test
        target-without-record 192.0.2.2 x@none.test permerror
        target-no-domain 192.0.2.2 x@bad.test permerror
        target-failure 192.0.2.2 x@slow.test temperror
        macros 192.0.2.1 t@macro.test pass""")),
    Scenario("6.2 exp", {
        "e.test": ["TXT v=spf1 exp=text.%{d} -all"], "text.e.test": ["TXT %{i} is not one of %{d}'s; see http://%{d}/%{S}"],
        "missing.test": ["TXT v=spf1 exp=no.test -all"], "slow.test": ["TXT v=spf1 exp=gone.test -all"], "gone.test": ["TIMEOUT"],
        "two.test": ["TXT v=spf1 exp=twotext.test -all"], "twotext.test": ["TXT a", "TXT b"],
        "bad.test": ["TXT v=spf1 exp=badtext.test -all"], "badtext.test": ["TXT %{x}"],
        "eight.test": ["TXT v=spf1 exp=eighttext.test -all"], "eighttext.test": ["TXT grüße"],
        "soft.test": ["TXT v=spf1 exp=text.e.test ~all"], "only.test": ["TXT v=spf1 exp=chars.test -all"],
        "chars.test": ["TXT %{c} %{r} 100%% %_a%-b"], "parts.test": ["TXT v=spf1 exp=partstext.test -all"],
        "partstext.test": ["TXT one |two"]}, [
        Case("text", "192.0.2.7", "bob@e.test", "fail", "192.0.2.7 is not one of e.test's; see http://e.test/bob%40e.test"),
        Case("readable-ipv6", "2001:db8::7", "bob@only.test", "fail", "2001:db8::7 receiver.test 100%  a%20b")] + _rows("""
        no-text 192.0.2.7 x@missing.test fail |
        failure 192.0.2.7 x@slow.test fail |
        several-texts 192.0.2.7 x@two.test fail |
        bad-macro 192.0.2.7 x@bad.test fail |
        eight-bit 192.0.2.7 x@eight.test fail |
        softfail-has-none 192.0.2.7 x@soft.test softfail |
        strings-are-joined 192.0.2.7 x@parts.test fail | one two""")),
    Scenario("8 sending nothing", {"no.test": ["TXT v=spf1 -all"], "unsure.test": ["TXT v=spf1 ?all"]}, _rows("""
        never 192.0.2.1 x@no.test fail
        unsure 192.0.2.1 x@unsure.test neutral""")),
]

# RFC 7208 section 7.4: the sender strong-bad@email.example.com, from 192.0.2.3 or 2001:db8::cb01.
EXPANSIONS = {
    "%{s}": "strong-bad@email.example.com", "%{o}": "email.example.com", "%{d}": "email.example.com",
    "%{d4}": "email.example.com", "%{d3}": "email.example.com", "%{d2}": "example.com", "%{d1}": "com",
    "%{dr}": "com.example.email", "%{d2r}": "example.email", "%{l}": "strong-bad", "%{l-}": "strong.bad",
    "%{lr}": "strong-bad", "%{lr-}": "bad.strong", "%{l1r-}": "strong",
    "%{ir}.%{v}._spf.%{d2}": "3.2.0.192.in-addr._spf.example.com",
    "%{lr-}.lp._spf.%{d2}": "bad.strong.lp._spf.example.com",
    "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}": "bad.strong.lp.3.2.0.192.in-addr._spf.example.com",
    "%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}": "3.2.0.192.in-addr.strong.lp._spf.example.com",
    "%{d2}.trusted-domains.example.net": "example.com.trusted-domains.example.net",
}
EXPANSIONS_IPV6 = {
    "%{ir}.%{v}._spf.%{d2}": "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"}
