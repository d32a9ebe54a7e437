"""ldap: tables against a real slapd, and side by side with Postfix's postmap."""

import asyncio
import datetime
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.opening import open_table
from tests.support.databases import LDAP_ADMIN, LDAP_BASE, OpenLdap, PostfixPostmap, needs, our_postmap
from tests.support.suite import free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("maps-ldap"), needs("ldap")]
P = f"ou=p,{LDAP_BASE}"


def entry(name: str, classes: str, **values: str | list[str]) -> str:
    """LDIF of one entry."""
    lines = [f"dn: {name},{P}", *(f"objectClass: {word}" for word in classes.split())]
    for attribute, found in values.items():
        lines += [f"{attribute}: {value}" for value in ([found] if isinstance(found, str) else found)]
    return "\n".join(lines) + "\n\n"


def person(uid: str, **values: str | list[str]) -> str:
    return entry(f"uid={uid}", "inetOrgPerson mailthing", cn=uid, sn=uid, uid=uid, **values)


def group(cn: str, members: list[str], **values: str | list[str]) -> str:
    return entry(f"cn={cn}", "groupOfNames mailthing", cn=cn, mail=f"{cn}@a.test",
                 member=[f"{member},{P}" for member in members], **values)


LDIF = (
    f"dn: {P}\nobjectClass: organizationalUnit\nou: p\n\n"
    + person("al", mail=["al@a.test", "al2@a.test"], maildrop=["al@drop.test", "al3@drop.test"], userPassword="x")
    + person("bo", mail="bo@a.test")
    + entry("cn=o(d)d\\, x", "inetOrgPerson mailthing", cn="o(d)d, x", sn="s", mail="o(d)*d\\x@a.test", maildrop="odd")
    + group("grp", ["uid=al", "uid=bo", "uid=gone"])
    + group("ugrp", ["cn=grp"], memberurl=[f"ldap:///{P}?{what}" for what in (
        "mail?sub?(uid=b*)", "maildrop?sub?(uid=a*)", "sn?sub?(uid=a*)")])
    + group("loop", ["cn=loop", "uid=bo"])
    + group("term", ["uid=bo"], maildrop="terminal@x"))
KEYS = ["al@a.test", "AL@a.test", "bo@a.test", "nope", "*", "al*", ")(mail=*", "o(d)*d\\x@a.test", "x" * 3000,
        "ü@a.test", "term@a.test"]
GROUPS = ["grp@a.test", "ugrp@a.test", "term@a.test", "al@a.test", "bo@a.test"]


class Site:
    """The directory, and both postmaps."""

    def __init__(self, folder: Path, server: OpenLdap) -> None:
        self.folder, self.server = folder, server
        self.postfix = PostfixPostmap(folder / "postfix")
        self.has_postfix = not PostfixPostmap.missing("ldap")
        self._count = 0

    def table(self, text: str) -> str:
        self._count += 1
        path = self.folder / f"t{self._count}.cf"
        path.write_text(text.replace("REACH\n", f"URL\nsearch_base = {LDAP_BASE}\n")
                        .replace("URL\n", f"server_host = {self.server.url}\n"))
        return f"ldap:{path}"

    def ours(self, *words: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        return our_postmap(self.postfix.folder, *words, stdin=stdin)

    def equal(self, *words: str, stdin: bytes = b"", complaints: bool = False) -> tuple[int, bytes, str]:
        """What ours says, which must be what Postfix says (where it is installed)."""
        mine = self.ours(*words, stdin=stdin)
        if self.has_postfix:
            theirs = self.postfix.run(*words, stdin=stdin)
            assert mine[:2] == theirs[:2], f"{mine} is not {theirs}"
            if complaints:
                assert mine[2].replace(" \n", "\n") == theirs[2].replace(" \n", "\n")
        return mine

    def maps(self, text: str):      # type: ignore[no-untyped-def]
        return open_maps(self.table(text), MapSource(Settings.of({}), "test"))


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as folder:
        made = ensure_certificates(folder / "certs", ["127.0.0.1"], datetime.datetime.now(datetime.UTC))
        for path in (folder / "certs").iterdir():
            path.chmod(0o644)
        (folder / "certs").chmod(0o755)
        server = OpenLdap(folder / "server", tls=(made.authority, made.chain, made.key))
        server.add(LDIF)
        with server:
            yield Site(folder, server)


F = "REACH\nquery_filter = mail=%s\nresult_attribute = maildrop\n"


@pytest.mark.parametrize(("text", "keys"), [
    pytest.param(F, KEYS, id="query"),
    pytest.param("REACH\nquery_filter = mail=%s\n", KEYS, id="default attribute"),
    pytest.param("REACH\nquery_filter = (mail=%s)\nresult_attribute = maildrop, mail\n", KEYS, id="two attributes"),
    pytest.param("REACH\nquery_filter = mail=%s\nresult_attribute = MAILDROP\n", KEYS, id="case of attributes"),
    pytest.param("REACH\nquery_filter = mail=%s\nresult_attribute = dn\n", KEYS, id="no attribute"),
    pytest.param(F + "result_format = smtp:[%d]:%u:%S\n", KEYS, id="result_format"),
    pytest.param(F + "result_filter = <%s>\n", KEYS, id="result_filter"),
    pytest.param(F + "domain = b.test, a.test\n", KEYS, id="domain"),
    pytest.param(F + "scope = one\n", KEYS, id="scope"),
    pytest.param(F + "dereference = 3\nversion = 3\nbind = no\n", KEYS, id="not bound"),
    pytest.param(f"{F}bind_dn = {LDAP_ADMIN}\nbind_pw = se(c*ret\n", KEYS, id="bound"),
    pytest.param(f"URL\nsearch_base = uid=%u,{P}\nscope = base\nquery_filter = (|(objectclass=*)(uid=%u))\n"
                 "result_attribute = mail\n",
                 ["al@a.test", "al", "gone", "a,b@c", "al, ou=x", " lead", "#x", "a+b", "a=b", "a\"b", "a\\b",
                  "a<b>c;d"], id="the key in the base"),
    pytest.param("REACH\nquery_filter = (|(mail~=%s)(cn:caseExactMatch:=x)(uid>=zz)(uid=a*x*y)(!(objectClass=*)))\n",
                 KEYS, id="comparisons"),
    pytest.param("REACH\nquery_filter = mail=%u*\nresult_attribute = mail\n", ["a@x", "b*", "b", "@x"],
                 id="substrings"),
    pytest.param(F + "special_result_attribute = member,memberurl\n", GROUPS, id="groups"),
    pytest.param("REACH\nquery_filter = mail=%s\nresult_attribute =\nspecial_result_attribute = member,memberurl\n"
                 "leaf_result_attribute = mail\nterminal_result_attribute = maildrop\n", GROUPS,
                 id="leaf and terminal"),
    pytest.param("REACH\nquery_filter = mail=%s\nresult_attribute = maildrop\nspecial_result_attribute = member\n"
                 "leaf_result_attribute = mail\n", GROUPS, id="leaf"),
])
def test_same_as_postfix(site: Site, text: str, keys: list[str]) -> None:
    status, _, _ = site.equal("-q", "-", site.table(text), stdin="\n".join(keys).encode() + b"\n")
    assert status in (0, 1)


@pytest.mark.parametrize(("text", "key"), [
    pytest.param(F + "expansion_limit = 1\n", "al@a.test", id="expansion_limit"),
    pytest.param("REACH\nquery_filter = (&(mail=*)(!(cn=%s)))\nsize_limit = 1\n", "x", id="size_limit"),
    pytest.param(F + "special_result_attribute = member\nrecursion_limit = 1\n", "grp@a.test", id="recursion_limit"),
    pytest.param(F + "special_result_attribute = member\n", "loop@a.test", id="a group in itself"),
    pytest.param(F + "recursion_limit = 0\n", "x", id="no recursion"),
    pytest.param("URL\nsearch_base = dc=nope\nquery_filter = mail=%s\n", "x", id="no such base"),
    pytest.param("URL\nsearch_base = rubbish\nquery_filter = mail=%s\n", "x", id="malformed base"),
    pytest.param("REACH\nquery_filter = (mail=%s\n", "x", id="malformed filter"),
    pytest.param("REACH\nquery_filter = mail=al@a.test\n", "x", id="fixed filter"),
    pytest.param(F + "scope = odd\n", "al@a.test", id="scope"),
    pytest.param(F + "version = 4\n", "al@a.test", id="version"),
    pytest.param(F + "version = 2\n", "al@a.test", id="version 2"),
    pytest.param(F + "dereference = 9\n", "al@a.test", id="dereference"),
    pytest.param(F + "bind = odd\n", "al@a.test", id="bind"),
    pytest.param(F + "cache = yes\ncache_size = 1\n", "al@a.test", id="cache"),
    pytest.param(f"{F}bind_dn = {LDAP_ADMIN}\nbind_pw = wrong\n", "al@a.test", id="wrong password"),
    pytest.param("REACH\nquery_filter = %x\n", "al@a.test", id="template"),
])
def test_same_complaints(site: Site, text: str, key: str) -> None:
    site.equal("-q", key, site.table(text), complaints=True)


def test_ways_to_reach_a_server(site: Site) -> None:
    port, closed = site.server.port, free_port()
    rest = f"search_base = {LDAP_BASE}\nquery_filter = mail=%s\n"
    local = "ldapi://" + str(site.server.socket).replace("/", "%2F")
    for host in (f"127.0.0.1:{port}", f"127.0.0.1\nserver_port = {port}", local,
                 f"ldap://127.0.0.1:{closed} ldap://127.0.0.1:{port}", f"127.0.0.1:{closed}, 127.0.0.1:{port}"):
        assert site.equal("-q", "al@a.test", site.table(f"server_host = {host}\n{rest}"))[1] == \
            b"al@drop.test,al3@drop.test\n"


@pytest.mark.parametrize("way", ["start_tls = yes\n", "LDAPS\n"])
def test_tls(site: Site, way: str) -> None:
    text = F.replace("REACH", f"server_host = ldaps://127.0.0.1:{site.server.tls_port}\nsearch_base = {LDAP_BASE}") \
        if way == "LDAPS\n" else F + way
    authority = site.server.tls[0] if site.server.tls else ""
    good = b"al@drop.test,al3@drop.test\n"
    assert site.ours("-q", "al@a.test", site.table(text))[1] == good
    trusting = site.table(f"{text}tls_require_cert = yes\ntls_ca_cert_file = {authority}\n")
    assert site.ours("-q", "al@a.test", trusting)[1] == good
    status, _, said = site.ours("-q", "al@a.test", site.table(text + "tls_require_cert = yes\n"))
    assert status == 1 and "dict_ldap_connect: Unable to" in said


def test_a_server_that_dies_and_comes_back(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    maps = site.maps(F + "retry_interval = 1\n")
    assert asyncio.run(maps.find("al@a.test")) == "al@drop.test,al3@drop.test"
    site.server.kill()
    site.server.start()
    assert asyncio.run(maps.find("al@a.test")) == "al@drop.test,al3@drop.test"
    site.server.kill()
    with caplog.at_level(logging.WARNING, "mailsuite"):
        for _ in range(3):
            with pytest.raises(TemporaryError):
                asyncio.run(maps.find("al@a.test"))
    assert "-1 (Can't contact LDAP server)" in caplog.text
    assert len([line for line in caplog.messages if line.startswith("dict_ldap")]) < 3
    site.server.start()

    def answers() -> bool:
        try:
            return asyncio.run(maps.find("al@a.test")) is not None
        except TemporaryError:
            return False
    wait_for(answers)


def test_a_server_that_says_nothing(site: Site) -> None:
    maps = site.maps(F + "timeout = 1\nretry_interval = 1\n")
    site.server.pause()
    try:
        with pytest.raises(TemporaryError):
            asyncio.run(maps.find("al@a.test"))
    finally:
        site.server.go_on()


def test_referrals(site: Site) -> None:
    """Left alone by default, followed when asked for."""
    with open_folder() as folder:
        other = OpenLdap(folder / "other", more=f"referral {site.server.url}\n")
        with other:
            text = f"server_host = {other.url}\nsearch_base = dc=elsewhere\nquery_filter = mail=%s\n"
            with pytest.raises(TemporaryError):
                asyncio.run(site.maps(text).find("al@a.test"))
            site.equal("-q", "al@a.test", site.table(text))


def test_sasl_external(site: Site) -> None:
    """Over a Unix socket the kernel says who we are."""
    where = "ldapi://" + str(site.server.socket).replace("/", "%2F")
    text = f"server_host = {where}\nsearch_base = {LDAP_BASE}\nquery_filter = mail=%s\nbind = sasl\n"
    assert site.ours("-q", "al@a.test", site.table(text + "sasl_mechs = EXTERNAL\n"))[1] == \
        b"al@drop.test,al3@drop.test\n"
    status, _, said = site.ours("-q", "al@a.test", site.table(text + "sasl_mechs = GSSAPI\n"))
    assert status == 1 and "-6 (Unknown authentication method)" in said


def test_hostile_keys_are_data(site: Site) -> None:
    text = f"URL\nsearch_base = cn=%u,{P}\nquery_filter = (|(!(description=%s))(cn=%s))\n"
    table = open_table(site.table(text), MapSource(Settings.of({}), "test"))
    for key in ("*", "(", ")", "\\", "\\2a", "a)(|(uid=*", "a\u0001b", "日本@例え.test", "x" * 2000, ",", "+", "=",
                "<>;\"", "#", " x", "x ", " "):
        try:
            assert table.ask_now(key) is None, key
        except TemporaryError as error:
            raise AssertionError(f"{key!r}: {error}") from error
