"""passdb and userdb { driver = ldap } with a real slapd; expectations are what Dovecot 2.3.19 answered to the same."""

import base64
import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from certs.authority import ensure_certificates
from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.sasl.ldap_fields import Attributes
from mailsuite.sasl.request import AuthRequest
from tests.sasl.asking import Ask, answers, service
from tests.support.databases import LDAP_ADMIN, LDAP_BASE, OpenLdap, needs
from tests.support.suite import free_port, open_folder

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("sasl-ldap")]
P = f"ou=p,{LDAP_BASE}"
HASH = "{SSHA}" + base64.b64encode(hashlib.sha1(b"onesalt").digest() + b"salt").decode()


def person(uid: str, **values: str | list[str]) -> str:
    lines = [f"dn: uid={uid},{P}", "objectClass: inetOrgPerson", "objectClass: posixAccount", f"uid: {uid}",
             f"cn: {uid}", f"sn: {uid}", "uidNumber: 1001", "gidNumber: 1002", f"homeDirectory: /h/{uid}"]
    for name, found in values.items():
        lines += [f"{name}: {value}" for value in ([found] if isinstance(found, str) else found)]
    return "\n".join(lines) + "\n\n"


LDIF = (f"dn: {P}\nobjectClass: organizationalUnit\nou: p\n\n"
        + person("alice", userPassword=HASH, mail=["a@a.test", "a2@a.test"], displayName="Alice A", description="mail",
                 manager=f"uid=bob,{P}")
        + person("bob", userPassword="two", mail="b@a.test", displayName="Bob", roomNumber="7")
        + person("none") + person("d1", employeeNumber="9", userPassword="x")
        + person("d2", employeeNumber="9", userPassword="x") + person("st)ar", userPassword="q"))
SECTIONS = """
passdb {
  driver = ldap
  args = DIR/ldap.conf
}
userdb {
  driver = prefetch
}
userdb {
  driver = ldap
  args = DIR/ldap.conf
}
"""
HOME = "home=/h/%s uid=1001 gid=1002"
LOOKUPS: list[tuple[Ask, str]] = [
    (("pass", "nosuch"), "NOTFOUND"), (("user", "alice"), "alice " + HOME % "alice"), (("user", "nosuch"), "NOTFOUND"),
    (("user", "*"), "NOTFOUND"), (("list",), "alice bob none d1 d2 st)ar")]
LOGINS: list[tuple[Ask, str]] = [
    (("auth", "alice", "one"), "OK user=alice | " + HOME % "alice"), (("auth", "alice", "no"), "FAIL user=alice"),
    (("auth", "alice", ""), "FAIL user=alice"), (("auth", "bob", "two"), "OK user=bob | " + HOME % "bob"),
    (("auth", "none", ""), "FAIL user=none"), (("auth", "none", "x"), "FAIL user=none"),
    (("auth", "nosuch", "x"), "FAIL user=nosuch"), (("auth", "*", "x"), "FAIL user=*"),
    (("auth", "al*", "one"), "FAIL user=al*"), (("auth", "st)ar", "q"), "OK user=st)ar | " + HOME % "st)ar")]
UPPER: tuple[Ask, str] = (("auth", "ALICE", "one"), "OK original_user=ALICE user=alice | " + HOME % "alice")
TEMPLATES = r"""
user_filter = (uid=%u)
user_attrs = =home=/x/%{ldap:uid}/%n, uidNumber=uid, =gid=%{ldap:gidNumber}, mail, mail=first=<%$>, \
  roomNumber=room=r%$, displayName=name=pre, =stat=ic, =empty, !telephoneNumber, =dflt=%{ldap:roomNumber:zero}, \
  =ptr=%{ldap_ptr:description}, =user=%{ldap:displayName}, =after=%u, gidNumber=%n_f=v
iterate_attrs = =user=%{ldap:uid}@x, mail=m
iterate_filter = (displayName=Alice A)
"""
POINTERS = """
user_attrs = =user=%{ldap:uid}, @boss=%{ldap:manager}, =home=%{ldap:homeDirectory@boss}, \\
  =room=%{ldap:roomNumber@boss:none}, =uid=%{ldap:uidNumber}
"""
SPECIAL = """
pass_attrs = uid=user, userPassword=password, homeDirectory=userdb_home, =userdb_uid=%{ldap:uidNumber}, \\
  roomNumber=userdb_room=z%$, displayName=nologin, =reason=%{ldap:displayName}
"""


class Site:
    """The directory; write: the configuration beside it."""

    def __init__(self, folder: Path, server: OpenLdap) -> None:
        self.folder, self.server = folder, server

    def write(self, conf: str = "", *, reach: str = "") -> None:
        reach = reach or f"uris = {self.server.url}\ndn = {LDAP_ADMIN}\ndnpass = \"se(c*ret\"\n"
        (self.folder / "ldap.conf").write_text(f"{reach}base = {P}\ndefault_pass_scheme = PLAIN\n{conf}")

    def answers(self, *asks: Ask) -> list[str]:
        return answers(service(self.folder, SECTIONS), asks)


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


@needs("ldap")
@pytest.mark.parametrize(("conf", "cases"), [
    pytest.param("", [*LOGINS, UPPER, *LOOKUPS, (("cram", "bob", "two"), "OK user=bob | " + HOME % "bob"),
                      (("cram", "alice", "one"), "FAIL user=alice"), (("pass", "none"), "FAIL"),
                      (("pass", "alice"), "user=alice")], id="password compared here"),
    pytest.param("auth_bind = yes\n", [*LOGINS, UPPER, *LOOKUPS, (("cram", "bob", "two"), "FAIL user=bob"),
                                       (("pass", "none"), "user=none")], id="bind after a search"),
    pytest.param(f"auth_bind = yes\nauth_bind_userdn = uid=%u,{P}\n", [
        *LOGINS, *LOOKUPS, (("cram", "bob", "two"), "FAIL user=bob"), (("pass", "none"), "user=none"),
        (("auth", f"alice,{P}", "one"), f"FAIL user=alice,{P}")], id="bind at once"),
    pytest.param(f"auth_bind = yes\nauth_bind_userdn = foo=%u,{P}\n", [
        (("auth", "alice", "one"), "FAIL user=alice code=temp_fail")], id="no name of an entry"),
    pytest.param(TEMPLATES, [
        (("user", "alice"), "Alice A home=/x/alice/alice uid=1001 gid=1002 mail=a@a.test first=<a@a.test> "
         "name=preAlice A stat=ic empty dflt=zero ptr=a@a.test after=Alice A Alice A_f=v1002"),
        (("user", "bob"), "Bob home=/x/bob/bob uid=1001 gid=1002 mail=b@a.test first=<b@a.test> room=r7 name=preBob "
         "stat=ic empty dflt=7 ptr after=Bob Bob_f=v1002"), (("list",), "alice@x")], id="templates"),
    pytest.param(POINTERS, [(("user", "alice"), "alice home=/h/bob room=7 uid=1001"),
                            (("user", "bob"), "bob home room=none uid=1001")], id="pointers"),
    pytest.param(SPECIAL, [
        (("auth", "bob", "two"), "OK nologin reason=Bob user=bob | home=/h/bob uid=1001 room=z7"),
        (("auth", "none", "x"), "FAIL user=none")], id="prefetch and extra fields"),
    pytest.param("pass_filter = (employeeNumber=9)\nuser_filter = (employeeNumber=9)\n", [
        (("auth", "x", "x"), "FAIL user=x code=temp_fail"), (("user", "x"), "FAIL")], id="two entries"),
    pytest.param("scope = base\n", [LOGINS[6]], id="scope"),
    pytest.param("base = ou=nosuch,dc=nosuch\n", [LOGINS[6], (("user", "alice"), "NOTFOUND")], id="no such base"),
    pytest.param("dnpass = wrong\n", [(("auth", "alice", "one"), "FAIL user=alice code=temp_fail"),
                                      (("user", "alice"), "FAIL"), (("list",), "fail")], id="a wrong password of ours"),
])
def test_as_dovecot_answers(site: Site, conf: str, cases: list[tuple[Ask, str]]) -> None:
    site.write(conf)
    found = site.answers(*(ask for ask, _ in cases))
    assert found == [want for _, want in cases]


@needs("ldap")
def test_tls_and_servers_that_are_away(site: Site) -> None:
    admin, authority = f"dn = {LDAP_ADMIN}\ndnpass = se(c*ret\n", f"{site.folder}/certs/{site.server.tls[0].name}"
    good, bad = [LOGINS[0][1]], ["FAIL user=alice code=temp_fail"]
    tls = f"uris = ldaps://127.0.0.1:{site.server.tls_port}\n{admin}"
    for reach, want in [
            (f"hosts = 127.0.0.1:{site.server.port}\n{admin}tls = yes\ntls_ca_cert_file = {authority}\n", good),
            (tls + f"tls_ca_cert_file = {authority}\ntls_require_cert = demand\n", good),
            (tls, bad),
            (f"hosts = 127.0.0.1:{free_port()} 127.0.0.1:{site.server.port}\n{admin}", good),
            (f"hosts = 127.0.0.1:{free_port()}\n{admin}", bad)]:
        site.write(reach=reach)
        assert site.answers(LOGINS[0][0]) == want, reach


@pytest.mark.parametrize(("conf", "why"), [
    ("uris = ldap://x\n", "No base given"), ("base = dc=x\n", "No uris or hosts set"),
    ("uris = http://x\nbase = dc=x\n", "not an LDAP URL"),
    ("hosts = x\nbase = x\nscope = all\n", "Unknown scope option"),
    ("hosts = x\nbase = x\nderef = maybe\n", "Unknown deref option"),
    ("hosts = x\nbase = x\nsasl_bind = yes\nsasl_mech = gssapi\n", "sasl_mech"),
    ("hosts = x\nbase = x\ntls_require_cert = x\n", "tls_require_cert"),
    ("hosts = x\nbase = x\npass_filter = (uid=%u\n", "pass_filter"),
    ("hosts = x\nbase = x\nuser_attrs = uid=\n", "Invalid attrs entry"), ("hosts = x\nauth_bind\n", "Expecting '='"),
    ("hosts = x\nbase = x\nauth_bind = perhaps\n", "Invalid boolean"),
])
def test_broken_configurations(tmp_path: Path, conf: str, why: str) -> None:
    (tmp_path / "ldap.conf").write_text(conf)
    with pytest.raises(ConfigErrors, match=why):
        service(tmp_path, SECTIONS)


@pytest.mark.parametrize(("text", "want"), [
    ("a=b", (("b", "1"),)), ("a", (("a", "1"),)), (" a=b ,, c=d", (("b", "1"), ("d", None))), ("=x=y", (("x", "y"),)),
    ("=x=%{ldap:a}-%{ldap:c:d,e}", (("x", "1-d,e"),)), ("=x=%{ldap_multi:m:;}", (("x", "p;q"),)),
    ("m=gid", (("gid", "p,q"),)),
    ("=x=%{ldap_multi:nosuch:;:none}", (("x", "none"),)), ("=x=%{ldap_dn}", (("x", "cn=a"),)), ("!a", ()),
    ("c=x=%u", (("x", None),)), ("a=x=%Lu%%", (("x", "al%"),)), ("=x=%{ldap_ptr:p}", (("x", "1"),)),
])
def test_attributes(text: str, want: tuple[tuple[str, str | None], ...]) -> None:
    values = {"a": ["1"], "m": ["p", "q"], "p": ["A"], "": ["cn=a"]}
    assert Attributes(text).fields(values, AuthRequest("imap", user="AL"), multiple=True) == want


def test_an_attribute_without_a_field_is_refused() -> None:
    with pytest.raises(ConfigError):
        Attributes("a==b")
