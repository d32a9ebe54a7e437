"""A site whose users are in databases: mail flows, waits while the database is away, and flows again."""

import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import LDAP_BASE, MariaDb, OpenLdap, PostfixPostmap, PostgreSql, needs, our_postmap
from tests.support.suite import DOMAIN, Suite, open_folder, wait_for

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("database-site")]
ADDRESSES = {"sql-alias@" + DOMAIN: "anna@" + DOMAIN, "list@" + DOMAIN: f"anna@{DOMAIN},ben@{DOMAIN}",
             "@catch.test": "anna@" + DOMAIN}


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSql]:
    with open_folder() as folder, PostgreSql(folder / "server") as server:
        server.run("CREATE TABLE aliases(k TEXT PRIMARY KEY, v TEXT); CREATE TABLE boxes(k TEXT PRIMARY KEY, v TEXT);"
                   "GRANT SELECT ON aliases, boxes TO mail;"
                   f"INSERT INTO boxes VALUES ('dave@{DOMAIN}', '{DOMAIN}/dave/');"
                   + "".join(f"INSERT INTO aliases VALUES ('{key}', '{value}');" for key, value in ADDRESSES.items()))
        yield server


@pytest.fixture(scope="module")
def suite(database: PostgreSql) -> Iterator[Suite]:
    with open_folder() as folder:
        made = Suite(folder)
        reach = (f"hosts = 127.0.0.1:{database.port}\nuser = mail\npassword = se'cret\ndbname = mail\n"
                 "retry_interval = 1\ntimeout = 5\n")
        for name in ("aliases", "boxes"):
            path = made.top / f"{name}.cf"
            path.write_text(f"{reach}query = SELECT v FROM {name} WHERE k = '%s'\n")
            path.chmod(0o600)           # Postfix opens tables as root; who may read the password is root's affair
        before = made.program("postconf", "-h", "virtual_mailbox_maps").stdout.strip()
        made.postconf(f"virtual_alias_maps = pgsql:{made.top}/aliases.cf",
                      f"virtual_mailbox_maps = {before} proxy:pgsql:{made.top}/boxes.cf")
        made.start()
        try:
            yield made
        finally:
            made.stop()


def rcpt(suite: Suite, address: str) -> tuple[int, str]:
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=60) as client:
        client.ehlo("client.test")
        assert client.mail("<>")[0] == 250
        code, text = client.rcpt(address)
        return code, text.decode()


def send(suite: Suite, address: str, subject: str) -> None:
    with smtplib.SMTP("127.0.0.1", suite.ports["smtp"], timeout=60) as client:
        client.sendmail("", [address], f"Subject: {subject}\r\n\r\ntext\r\n")


@needs("pgsql")
def test_aliases_and_mailboxes(suite: Suite) -> None:
    send(suite, "sql-alias@" + DOMAIN, "to an alias")
    assert b"to an alias" in suite.wait_messages("anna@" + DOMAIN, 1)[0]
    send(suite, "dave@" + DOMAIN, "to a mailbox")
    assert b"to a mailbox" in suite.wait_messages("dave@" + DOMAIN, 1)[0]
    assert rcpt(suite, "nobody@" + DOMAIN)[0] == 550
    assert rcpt(suite, "o'x@" + DOMAIN)[0] == 550


@needs("pgsql")
def test_away_and_back(suite: Suite, database: PostgreSql) -> None:
    assert rcpt(suite, "sql-alias@" + DOMAIN)[0] == 250
    database.kill()
    code, text = rcpt(suite, "sql-alias@" + DOMAIN)
    assert (code, text.split(" ", 1)[0]) == (451, "4.3.0")
    assert rcpt(suite, "nobody@" + DOMAIN)[0] == 451        # not "unknown": nobody could be asked
    assert rcpt(suite, "nobody@" + DOMAIN)[0] == 451
    assert f"connect to pgsql server 127.0.0.1:{database.port}: " in suite.log()
    database.start()
    wait_for(lambda: rcpt(suite, "sql-alias@" + DOMAIN)[0] == 250, 30)
    wait_for(lambda: rcpt(suite, "nobody@" + DOMAIN)[0] == 550)     # proxymap asks again a second after it failed


@needs("pgsql")
def test_who_connects_is_not_root(suite: Suite, database: PostgreSql) -> None:
    """Also for virtual, whose parent is root."""
    before = len(suite.messages("dave@" + DOMAIN))
    send(suite, "dave@" + DOMAIN, "once more")
    suite.wait_messages("dave@" + DOMAIN, before + 1)
    found = subprocess.run(["ss", "-tnp", "state", "established", f"dport = :{database.port}"], capture_output=True,
                           text=True, check=True).stdout
    pids = {part.split(",")[0] for part in found.split("pid=")[1:]}
    assert pids
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids if Path(f"/proc/{pid}").exists()}
    if Path("/proc/self").stat().st_uid == 0:
        assert 0 not in owners


@needs("pgsql")
def test_reload_closes_old_connections(suite: Suite, database: PostgreSql) -> None:
    def connected() -> int:
        return int(database.run("SELECT count(*) FROM pg_stat_activity WHERE usename = 'mail'"))
    assert rcpt(suite, "sql-alias@" + DOMAIN)[0] == 250
    assert connected() > 0
    suite.postconf("virtual_alias_maps = static:anna@" + DOMAIN, "virtual_mailbox_maps = static:x/")
    suite.command("reload")
    wait_for(lambda: connected() == 0, 30)      # not by idle_interval, which is a minute


@needs("pgsql")
@needs("mysql")
@needs("ldap")
def test_the_course_first_files_then_databases(database: PostgreSql) -> None:
    """COURSE.md section 5: the same table as a file, in LDAP, MySQL and PostgreSQL, proved equal with postmap -q."""
    with open_folder() as folder:
        postfix = PostfixPostmap(folder / "postfix")
        lines = ADDRESSES | {"ceo@abc.test": "abc-domain/CEO", "ceo@xyz.test": "xyz-domain/CEO/",
                             "o'x@abc.test": "odd/", "a*b@abc.test": "star/", "b\\s@abc.test": "back/"}
        (folder / "vmailbox").write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
        assert our_postmap(postfix.folder, f"hash:{folder}/vmailbox") == (0, b"", "")
        quoted = [(key.replace("'", "''"), value) for key, value in lines.items()]
        insert = "".join(f"INSERT INTO vmailbox VALUES ('{key}', '{value}');\n" for key, value in quoted)
        create = "CREATE TABLE vmailbox(address VARCHAR(100), path VARCHAR(100));\n"
        database.run(create + insert + "GRANT SELECT ON vmailbox TO mail;")
        sql = ("user = mail\npassword = se'cret\ndbname = mail\n"
               "query = SELECT path FROM vmailbox WHERE address = '%s'\n")
        ldif = "".join(f"dn: cn={number},{LDAP_BASE}\nobjectClass: inetOrgPerson\nobjectClass: mailthing\n"
                       f"cn: {number}\nsn: x\nmail: {key}\nmaildrop: {value}\n\n"
                       for number, (key, value) in enumerate(lines.items()))
        directory = OpenLdap(folder / "ldap")
        directory.add(ldif)
        with MariaDb(folder / "mysql") as mysql, directory:
            mysql.run(create + insert.replace("\\", "\\\\"))
            tables = {
                "pgsql": f"hosts = 127.0.0.1:{database.port}\n{sql}",
                "mysql": f"hosts = 127.0.0.1:{mysql.port}\n{sql}",
                "ldap": f"server_host = {directory.url}\nsearch_base = {LDAP_BASE}\nquery_filter = mail=%s\n"
                        "result_attribute = maildrop\n"}
            for kind, text in tables.items():
                (folder / f"{kind}.cf").write_text(text)
            keys = [*lines, "nobody@abc.test", "CEO@ABC.TEST", "*", "abc.test", "ceo"]
            asked = "\n".join(keys).encode() + b"\n"
            want = our_postmap(postfix.folder, "-q", "-", f"hash:{folder}/vmailbox", stdin=asked)
            assert want[0] == 0 and want[1].count(b"\n") == len(lines) + 1
            for kind in tables:
                spec = f"{kind}:{folder}/{kind}.cf"
                assert our_postmap(postfix.folder, "-q", "-", spec, stdin=asked) == want, kind
                assert our_postmap(postfix.folder, "-q", "ceo@xyz.test", spec) == (0, b"xyz-domain/CEO/\n", "")
                assert our_postmap(postfix.folder, "-q", "nobody@abc.test", spec) == (1, b"", "")
                if not PostfixPostmap.missing(kind):
                    assert postfix.run("-q", "-", spec, stdin=asked) == want, kind
