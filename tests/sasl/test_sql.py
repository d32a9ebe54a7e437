"""passdb and userdb { driver = sql } with real servers; expectations are what Dovecot 2.3.19 answered to the same."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigErrors
from tests.sasl.asking import answers, service
from tests.support.databases import MariaDb, PostgreSql, needs
from tests.support.suite import free_port, open_folder

pytestmark = pytest.mark.system
ROWS = """
CREATE TABLE users (username VARCHAR(80), domain VARCHAR(80), password VARCHAR(200), home VARCHAR(80), uid VARCHAR(20),
 gid VARCHAR(20), nets VARCHAR(80), np VARCHAR(3));
INSERT INTO users VALUES ('alice','a.test','{PLAIN}one','/h/a','1001','1001',NULL,NULL),
 ('bob','a.test','two',NULL,'1002',NULL,'192.0.2.0/24',NULL),
 ('dup','a.test','x','/h/d','1003','1003',NULL,NULL), ('dup','a.test','y','/h/d2','1003','1003',NULL,NULL),
 ('null','a.test',NULL,'/h/n','1004','1004',NULL,NULL), ('any','a.test',NULL,'/h/n','1004','1004',NULL,'Y'),
 ('rt','a.test','r','/h/r','root','root',NULL,NULL), ('nosuch','a.test','n','/h','nosuchuser','root',NULL,NULL),
 ('o''x','a.test','q','/h/q','1005','1005',NULL,NULL), ('b\\s','a.test','q','/h/b','1006','1006',NULL,NULL);
"""
CONF = """
# what DIR/sql.conf says
driver = KIND
connect = "CONNECT"
default_pass_scheme = PLAIN
password_query = SELECT username AS user, domain, password, np AS nopassword, nets AS allow_nets, \\
  home AS userdb_home, uid AS userdb_uid, gid AS userdb_gid \\
  FROM users WHERE username = '%n' AND domain = '%d' # of all columns
user_query = SELECT home, uid, gid, 'x' AS mail FROM users WHERE username = '%n' AND domain = '%d' ORDER BY home
iterate_query = SELECT username, domain FROM users WHERE uid < '1004' ORDER BY username
"""
SECTIONS = """
passdb {
  driver = sql
  args = DIR/sql.conf
}
userdb {
  driver = prefetch
}
userdb {
  driver = sql
  args = DIR/sql.conf
}
"""
CASES = [
    (("auth", "alice@a.test", "one"), "OK user=alice@a.test | home=/h/a uid=1001 gid=1001"),
    (("auth", "alice@a.test", "two"), "FAIL user=alice@a.test"),
    (("auth", "nobody@a.test", "two"), "FAIL user=nobody@a.test"),
    (("auth", "bob@a.test", "two"), "FAIL user=bob@a.test"),                      # allow_nets
    (("auth", "bob@a.test", "two", "rip=192.0.2.7"), "OK user=bob@a.test | uid=1002"),
    (("auth", "dup@a.test", "x"), "FAIL user=dup@a.test code=temp_fail"),
    (("auth", "null@a.test", ""), "FAIL user=null@a.test"),
    (("auth", "any@a.test", "whatever"), "OK user=any@a.test | home=/h/n uid=1004 gid=1004"),
    (("auth", "rt@a.test", "r"), "OK user=rt@a.test | home=/h/r uid=0 gid=0"),
    (("auth", "nosuch@a.test", "n"), "FAIL"),
    (("auth", "o'x@a.test", "q"), "OK user=o'x@a.test | home=/h/q uid=1005 gid=1005"),
    (("auth", "b\\s@a.test", "q"), "OK user=b\\s@a.test | home=/h/b uid=1006 gid=1006"),
    (("auth", "x' OR '1'='1@a.test", "q"), "FAIL user=x' OR '1'='1@a.test"),
    (("auth", "\\' OR 1=1 -- @a.test", "q"), "FAIL user=\\' OR 1=1 -- @a.test"),
    (("auth", "'; DROP TABLE users; --@a.test", "q"), "FAIL user='; DROP TABLE users; --@a.test"),
    (("cram", "alice@a.test", "one"), "OK user=alice@a.test | home=/h/a uid=1001 gid=1001"),
    (("cram", "null@a.test", "one"), "FAIL user=null@a.test"),
    (("cram", "any@a.test", "x"), "FAIL user=any@a.test"),
    (("pass", "alice@a.test"), "user=alice@a.test"),
    (("pass", "null@a.test"), "FAIL"),
    (("pass", "dup@a.test"), "FAIL"),
    (("pass", "nobody@a.test"), "NOTFOUND"),
    (("user", "alice@a.test"), "alice@a.test home=/h/a uid=1001 gid=1001 mail=x"),
    (("user", "bob@a.test"), "bob@a.test uid=1002 mail=x"),
    (("user", "dup@a.test"), "dup@a.test home=/h/d uid=1003 gid=1003 mail=x"),
    (("user", "nosuch@a.test"), "FAIL"),
    (("user", "nobody@a.test"), "NOTFOUND"),
    (("list",), "alice@a.test bob@a.test dup@a.test dup@a.test"),
]


class Site:
    """One kind of database, filled. write: the configuration file beside it."""

    def __init__(self, kind: str, folder: Path, connect: str, server: PostgreSql | MariaDb | None) -> None:
        self.kind, self.folder, self.connect, self.server = kind, folder, connect, server

    def write(self, conf: str = CONF, *, connect: str = "") -> None:
        (self.folder / "sql.conf").write_text(
            conf.replace("KIND", self.kind).replace("CONNECT", connect or self.connect))


def _site(kind: str, folder: Path) -> Iterator[Site]:
    if kind == "sqlite":
        with sqlite3.connect(folder / "a.db") as made:
            made.executescript(ROWS)
        yield Site(kind, folder, f"{folder}/a.db", None)
        return
    make: Callable[[Path], PostgreSql | MariaDb] = PostgreSql if kind == "pgsql" else MariaDb
    with make(folder / "server") as server:
        if kind == "pgsql":
            server.run(ROWS + "GRANT ALL ON users TO mail; ALTER ROLE mail PASSWORD 'secret';")
        else:
            server.run(ROWS.replace("\\", "\\\\") + "SET PASSWORD FOR mail = PASSWORD('secret');")
        yield Site(kind, folder, f"host=127.0.0.1 port={server.port} dbname=mail user=mail password=secret", server)


@pytest.fixture(scope="module", params=[
    pytest.param("pgsql", marks=[needs("pgsql"), pytest.mark.xdist_group("sasl-pgsql")]),
    pytest.param("sqlite", marks=pytest.mark.xdist_group("sasl-sqlite")),
    pytest.param("mysql", marks=[needs("mysql"), pytest.mark.xdist_group("sasl-mysql")])])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with open_folder() as folder:
        yield from _site(request.param, folder)


def test_as_dovecot_answers(site: Site) -> None:
    site.write()
    found = answers(service(site.folder, SECTIONS), [ask for ask, _ in CASES])
    assert found == [want for _, want in CASES]


def test_a_password_may_be_compared_by_the_database(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.write("driver = KIND\nconnect = CONNECT\n"
               "password_query = SELECT NULL AS password, 'Y' AS nopassword FROM users WHERE username = '%n' "
               "AND password = '{PLAIN}%w'\n")
    auth = service(site.folder, SECTIONS)
    assert answers(auth, [("auth", "alice@a.test", "one"), ("auth", "alice@a.test", "x' OR '1'='1"),
                          ("auth", "alice@a.test", "two")])[1:] == ["FAIL user=alice@a.test"] * 2
    site.write("driver = KIND\nconnect = CONNECT\npassword_query = SELEC password '%w'\n")
    assert answers(service(site.folder, SECTIONS), [("auth", "alice@a.test", "hush-hush")]) == [
        "FAIL user=alice@a.test code=temp_fail"]
    assert "Password query failed" in caplog.text and "hush-hush" not in caplog.text


def test_broken_queries_are_temporary(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    site.write(CONF.replace("np AS nopassword", "nosuch").replace("SELECT home", "SELEC home")
               .replace("SELECT username, domain", "SELECT home"))
    assert answers(service(site.folder, SECTIONS), [
        ("auth", "alice@a.test", "one"), ("pass", "alice@a.test"), ("user", "alice@a.test"), ("list",)]) == [
            "FAIL user=alice@a.test code=temp_fail", "FAIL", "FAIL", "fail"]
    assert "Iterate query didn't return 'user' field" in caplog.text
    site.write(CONF.replace("password, np AS nopassword,", ""))
    assert answers(service(site.folder, SECTIONS), [("auth", "alice@a.test", "one")]) == [
        "FAIL user=alice@a.test code=temp_fail"]
    assert "Password query must return a field named 'password'" in caplog.text


def test_servers_that_are_away(site: Site) -> None:
    if site.server is None:
        site.write(connect="/nonexistent/a.db")
    else:
        site.write(connect=site.connect.replace(str(site.server.port), str(free_port())))
    assert answers(service(site.folder, SECTIONS), [("auth", "alice@a.test", "one"), ("user", "alice@a.test")]) == [
        "FAIL user=alice@a.test code=temp_fail", "FAIL"]
    if site.server is not None:         # one of two is away
        site.write(connect=f"host=127.0.0.9 {site.connect}")
        assert answers(service(site.folder, SECTIONS), [CASES[0][0]]) == [CASES[0][1]]


@pytest.mark.parametrize(("conf", "why"), [
    ("driver = nosuch\nconnect = x\n", "unknown driver"),
    ("connect = x\n", "driver not set"),
    ("driver = sqlite\n", "connect string not set"),
    ("driver = mysql\nconnect = host\n", "Missing value in connect string"),
    ("driver = mysql\nconnect = nosuch=1\n", "Unknown connect string"),
    ("driver = sqlite\nconnect = x\nnosuch = 1\n", "line 3: Unknown setting: nosuch"),
    ("driver = sqlite\nrubbish\n", "line 2: Expecting '='"),
    (None, "Can't open configuration file"),
])
def test_broken_configurations(tmp_path: Path, conf: str | None, why: str) -> None:
    if conf is not None:
        (tmp_path / "sql.conf").write_text(conf)
    with pytest.raises(ConfigErrors, match=why):
        service(tmp_path, SECTIONS)
