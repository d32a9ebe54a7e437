"""A running suite whose users are in PostgreSQL, OpenLDAP and SQLite: all its servers ask them, and wait for them."""

import imaplib
import poplib
import re
import smtplib
import sqlite3
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.databases import LDAP_BASE, OpenLdap, PostgreSql, needs
from tests.support.suite import DOMAIN, Suite, free_port, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("user-databases"), needs("pgsql"), needs("ldap")]
PERSON, ENTRY, ROW = f"petra@{DOMAIN}", f"lena@{DOMAIN}", f"sina@{DOMAIN}"
USERS = {PERSON: "pass of petra", ENTRY: "pass of lena", ROW: "pass of sina"}

TABLE = "CREATE TABLE users (name VARCHAR(80), password VARCHAR(200), uid VARCHAR(20), gid VARCHAR(20))"
SQL = """
driver = {driver}
connect = {connect}
default_pass_scheme = PLAIN
password_query = SELECT name AS user, password FROM users WHERE name = '%u'
user_query = SELECT uid, gid, '{top}/vmail/%d/%n' AS home FROM users WHERE name = '%u'
iterate_query = SELECT name AS user FROM users
"""
LDAP = """
uris = {url}
base = {base}
auth_bind = yes
auth_bind_userdn = uid=%n,{base}
pass_filter = (mail=%u)
user_filter = (mail=%u)
user_attrs = uidNumber=uid, gidNumber=gid, =home={top}/vmail/%d/%n
iterate_attrs = mail=user
iterate_filter = (objectClass=posixAccount)
"""
ENTRY_LDIF = """\
dn: uid={name},{base}
objectClass: inetOrgPerson
objectClass: posixAccount
uid: {name}
cn: {name}
sn: {name}
mail: {address}
uidNumber: {uid}
gidNumber: {gid}
homeDirectory: /nonexistent
userPassword: {password}
"""
SECTIONS = """
auth_failure_delay = 0
protocols = imap pop3 lmtp
passdb {{
  driver = sql
  args = {top}/pgsql.conf
}}
passdb {{
  driver = ldap
  args = {top}/ldap.conf
}}
passdb {{
  driver = sql
  args = {top}/sqlite.conf
}}
userdb {{
  driver = sql
  args = {top}/pgsql.conf
}}
userdb {{
  driver = ldap
  args = {top}/ldap.conf
}}
userdb {{
  driver = sql
  args = {top}/sqlite.conf
}}
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
"""


@dataclass
class Site:
    suite: Suite
    postgresql: PostgreSql
    lmtp: int

    def imap(self, user: str, password: str = "") -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.suite.ports["imap"])
        client.login(user, password or USERS[user])
        return client


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with open_folder() as folder, PostgreSql(folder / "pgsql") as postgresql, OpenLdap(folder / "ldap") as ldap:
        suite = Suite(folder)
        top, conf = suite.top, suite.top / "dovecot.conf"
        text = conf.read_text().replace("listen = 127.0.0.1, ::1", "listen = 127.0.0.1")
        owner = re.search(r"uid=(\d+) gid=(\d+)", text)
        assert owner is not None
        uid, gid = owner.groups()
        rows = f"INSERT INTO users VALUES ('%s', '%s', '{uid}', '{gid}')"
        postgresql.run(f"{TABLE}; {rows % (PERSON, USERS[PERSON])}; GRANT SELECT ON users TO mail;"
                       "ALTER ROLE mail PASSWORD 'secret';")
        with sqlite3.connect(top / "users.db") as made:
            made.execute(TABLE)
            made.execute(rows % (ROW, USERS[ROW]))
        ldap.modify(ENTRY_LDIF.format(name="lena", base=LDAP_BASE, address=ENTRY, uid=uid, gid=gid,
                                      password=USERS[ENTRY]))
        reach = f"host=127.0.0.1 port={postgresql.port} dbname=mail user=mail password=secret"
        for name, words in (("pgsql", SQL.format(driver="pgsql", connect=reach, top=top)),
                            ("sqlite", SQL.format(driver="sqlite", connect=top / "users.db", top=top)),
                            ("ldap", LDAP.format(url=ldap.url, base=LDAP_BASE, top=top))):
            (top / f"{name}.conf").write_text(words)
            (top / f"{name}.conf").chmod(0o600)
        lmtp = free_port()
        plain = re.sub(r"(?m)^(# For lines.*\n)?(passdb|userdb) \{\n(.*\n)*?\}\n", "", text)
        conf.write_text(plain + SECTIONS.format(top=top, lmtp=lmtp))
        suite.start()
        try:
            yield Site(suite, postgresql, lmtp)
        finally:
            suite.stop()


@pytest.mark.parametrize("user", USERS)
def test_every_server_knows_the_user(site: Site, user: str) -> None:
    with smtplib.LMTP("127.0.0.1", site.lmtp) as lmtp:
        assert lmtp.sendmail("x@far.test", [user], f"Subject: to {user}\r\n\r\ntext\r\n") == {}
    client = site.imap(user)
    assert client.select("INBOX") == ("OK", [b"1"])
    client.logout()
    pop = poplib.POP3("127.0.0.1", site.suite.ports["pop3"])
    pop.user(user)
    pop.pass_(USERS[user])
    assert pop.stat()[0] == 1
    pop.quit()
    with smtplib.SMTP("127.0.0.1", site.suite.ports["submission"]) as smtp:
        smtp.starttls(context=_unchecked(site))
        assert smtp.login(user, USERS[user])[0] == 235
    for password in ("wrong", USERS[user] + " "):
        with pytest.raises(imaplib.IMAP4.error, match="Authentication failed"):
            site.imap(user, password)


def _unchecked(site: Site) -> ssl.SSLContext:
    context = site.suite.tls()
    context.check_hostname = False
    return context


def test_who_is_in_none_of_them(site: Site) -> None:
    with smtplib.LMTP("127.0.0.1", site.lmtp) as lmtp, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        lmtp.sendmail("x@far.test", [f"nobody@{DOMAIN}", f"x' OR '1'='1@{DOMAIN}"], "Subject: x\r\n\r\nx\r\n")
    assert {code for code, _ in refused.value.recipients.values()} <= {550, 501}
    with pytest.raises(imaplib.IMAP4.error, match="Authentication failed"):
        site.imap(f"nobody@{DOMAIN}", "x")


def test_all_of_them_are_listed(site: Site) -> None:
    assert sorted(site.suite.program("doveadm", "user", "*").stdout.split()) == sorted(USERS)
    told = site.suite.program("doveadm", "user", PERSON).stdout
    assert f"home\t{site.suite.maildir(PERSON)}" in told


def test_while_one_is_away_nobody_is_turned_away_for_good(site: Site) -> None:
    site.postgresql.kill()
    try:
        with smtplib.LMTP("127.0.0.1", site.lmtp) as lmtp:
            lmtp.ehlo("client.test")
            lmtp.mail("x@far.test")
            assert lmtp.rcpt(PERSON)[0] == 451 and lmtp.rcpt(f"nobody@{DOMAIN}")[0] == 451
        with pytest.raises(imaplib.IMAP4.error, match="UNAVAILABLE|Temporary"):
            site.imap(PERSON)
    finally:
        site.postgresql.start()

    def comes_in() -> bool:
        try:
            site.imap(PERSON).logout()
        except imaplib.IMAP4.error:
            return False
        return True

    wait_for(comes_in, 60, "no login after the database came back")
