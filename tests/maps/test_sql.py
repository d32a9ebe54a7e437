"""pgsql:, mysql: and sqlite: tables, against real servers, and side by side with Postfix's postmap."""

import asyncio
import gc
import logging
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailsuite.base.errors import TemporaryError
from mailsuite.config.settings import Settings
from mailsuite.maps import MapSource, open_maps
from mailsuite.maps.maps import _OPEN
from mailsuite.maps.opening import open_table
from mailsuite.maps.table import BadTable
from tests.support.databases import MariaDb, PostfixPostmap, PostgreSql, needs, our_postmap
from tests.support.suite import free_port, open_folder, wait_for

pytestmark = pytest.mark.system
ROWS = """
CREATE TABLE a(k VARCHAR(100), v VARCHAR(100), w VARCHAR(100));
INSERT INTO a VALUES ('x@a.test', 'one', NULL), ('x@a.test', 'two', 'drei'), ('empty', '', NULL), ('null', NULL, NULL),
 ('ü@a.test', 'grün', NULL), ('o''x', 'quote', NULL), ('b\\s', 'back', NULL), ('at', 'u@d.test', '@e.test'),
 ('user', 'U', NULL), ('%', 'percent', NULL), ('a"b', 'double', NULL);
"""
HOSTILE = ["x' OR '1'='1", "'; DROP TABLE a; --", "\\' OR 1=1 --", "\\", "'", "\"", "%", "_", "*()|&", "x\ty",
           "\x01\x1a", "ü@a.test", "日本@例え.test", "\x80", "o'x", "b\\s", "a\"b", "x" * 20000, "%s", "$myhostname",
           "/*", "?", ":x", "$1"]


class Site:
    """One kind of database, filled; how to reach it, and both postmaps."""

    def __init__(self, kind: str, folder: Path, server: PostgreSql | MariaDb | None, reach: str) -> None:
        self.kind, self.folder, self.server, self.reach = kind, folder, server, reach
        self.postfix = PostfixPostmap(folder / "postfix")
        self.has_postfix = not PostfixPostmap.missing(kind)
        self._count = 0

    def table(self, text: str) -> str:
        """A configuration file; "REACH" stands for the server's lines."""
        self._count += 1
        path = self.folder / f"t{self._count}.cf"
        path.write_text(text.replace("REACH\n", self.reach))
        return f"{self.kind}:{path}"

    def ours(self, *words: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        return our_postmap(self.postfix.folder, *words, stdin=stdin)

    def equal(self, *words: str, stdin: bytes = b"", complaints: bool = False) -> tuple[int, bytes, str]:
        """What ours says, which must be what Postfix says (where it is installed)."""
        mine = self.ours(*words, stdin=stdin)
        if self.has_postfix:
            theirs = self.postfix.run(*words, stdin=stdin)
            assert mine[:2] == theirs[:2], f"{mine} is not {theirs}"
            assert not complaints or mine == theirs
        return mine


def _pgsql(folder: Path) -> Iterator[Site]:
    with PostgreSql(folder / "server") as server:
        server.run(ROWS + "GRANT ALL ON a TO mail;")
        yield Site("pgsql", folder, server, f"hosts = 127.0.0.1:{server.port}\nuser = mail\npassword = se'cret\n"
                                            "dbname = mail\n")


def _mysql(folder: Path) -> Iterator[Site]:
    with MariaDb(folder / "server") as server:
        server.run(ROWS.replace("\\", "\\\\"))
        yield Site("mysql", folder, server, f"hosts = 127.0.0.1:{server.port}\nuser = mail\npassword = se'cret\n"
                                            "dbname = mail\n")


def _sqlite(folder: Path) -> Iterator[Site]:
    with sqlite3.connect(folder / "a.db") as made:
        made.executescript(ROWS)
    yield Site("sqlite", folder, None, f"dbpath = {folder}/a.db\n")


@pytest.fixture(scope="module", params=[
    pytest.param("pgsql", marks=[needs("pgsql"), pytest.mark.xdist_group("maps-pgsql")]),
    pytest.param("sqlite", marks=pytest.mark.xdist_group("maps-sqlite")),
    pytest.param("mysql", marks=[needs("mysql"), pytest.mark.xdist_group("maps-mysql")])])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with open_folder() as folder:
        yield from {"pgsql": _pgsql, "mysql": _mysql, "sqlite": _sqlite}[request.param](folder)


KEYS = ["x@a.test", "X@A.test", "nope", "user", "at", "null", "o'x", "b\\s", "a@b.c.test", "@a.test", "x@", "x@y@z",
        "x@.a..b", "a.b", "%", "a\"b", "x@b.test", "x@sub.a.test", "x@c.test"]


@pytest.mark.parametrize("text", [
    pytest.param("query = SELECT v FROM a WHERE k = '%s'\n", id="query"),
    pytest.param("query = SELECT v, w FROM a WHERE k = '%s'\n", id="columns"),
    pytest.param("query = SELECT v, w FROM a WHERE k = '%s'\nresult_format = [%s|%u|%d|%S|%%]\n", id="result_format"),
    pytest.param("query = SELECT v, w FROM a WHERE k = '%s'\nresult_format = %U+%D+%1\n", id="the key in a result"),
    pytest.param("query = SELECT '%u'\n", id="local part"),
    pytest.param("query = SELECT '%d'\n", id="domain"),
    pytest.param("query = SELECT '%U %D %S'\n", id="upper case"),
    pytest.param("query = SELECT '%1,%2'\n", id="labels"),
    pytest.param("query = SELECT '%3'\n", id="third label"),
    pytest.param("query = SELECT 'c%%d'\n", id="constant"),
    pytest.param("query = SELECT '%s'\ndomain = a.test, B.test\n", id="domain restriction"),
    pytest.param("query = SELECT '%s'\ndomain = !a.test, inline:{b.test=1}\n", id="domain table"),
    pytest.param("query = SELECT '%s$myhostname'\n", id="no parameters in a file"),
    pytest.param("select_field = v\ntable = a\nwhere_field = k\nadditional_conditions = and v != 'one'\n",
                 id="old style"),
    pytest.param("query = SELECT 1, 1.50, 3.0\n", id="numbers"),
    pytest.param("query = SELECT v FROM a WHERE k = '%s'\nexpansion_limit = 2\n", id="within the limit"),
])
def test_same_as_postfix(site: Site, text: str) -> None:
    spec = site.table("REACH\n" + text)
    status, _, _ = site.equal("-q", "-", spec, stdin="\n".join(KEYS).encode() + b"\n")
    assert status in (0, 1)


@pytest.mark.parametrize(("text", "want"), [
    pytest.param("query = SELECT '%x'\n", "fatal: db_common_parse: PATH: Invalid query template: SELECT '%x'",
                 id="query"),
    pytest.param("query = SELECT 'c' --%\n",
                 "fatal: db_common_parse: PATH: Invalid query template: SELECT 'c' --%",
                 id="percent at the end"),
    pytest.param("query = SELECT 1\nresult_format = %q\n",
                 "fatal: db_common_parse: PATH: Invalid result template: %q", id="result format"),
    pytest.param("", "fatal: PATH: bad string length 0 < 1: table = ", id="no query"),
    pytest.param("select_field = v\ntable = a\n", "fatal: PATH: bad string length 0 < 1: where_field = ",
                 id="old style"),
    pytest.param("query = SELECT 1\nexpansion_limit = abc\n",
                 "fatal: PATH: bad numerical configuration: expansion_limit = abc", id="no number"),
    pytest.param("query = SELECT 1\nrubbish\n", "missing '=' after attribute name: \"rubbish\"", id="no assignment"),
])
def test_bad_configuration(site: Site, text: str, want: str) -> None:
    spec = site.table("REACH\n" + text)
    status, output, said = site.equal("-q", "x", spec, complaints=True)
    assert (status, output) == (1, b"") and want.replace("PATH", spec.partition(":")[2]) in said


@pytest.mark.parametrize(("words", "want"), [
    pytest.param(("-s",), "sequence operation is not supported", id="list"),
    pytest.param(("-d", "x"), "map requires O_RDONLY access mode", id="delete"),
    pytest.param((), "does not support bulk-mode creation.", id="build"),
])
def test_what_such_a_table_cannot_do(site: Site, words: tuple[str, ...], want: str) -> None:
    spec = site.table("REACH\nquery = SELECT 1\n")
    assert want in site.equal(*words, spec)[2]


def test_missing_configuration(site: Site) -> None:
    assert site.equal("-q", "x", f"{site.kind}:{site.folder}/none.cf")[2] == \
        f"fatal: open {site.folder}/none.cf: No such file or directory"
    name = "dbpath" if site.kind == "sqlite" else "dbname"
    assert site.equal("-q", "x", f"{site.kind}:nosuch")[2] == f"fatal: bad string length 0 < 1: nosuch_{name} = "


@pytest.mark.parametrize("key", [pytest.param(key, id=ascii(key[:20])) for key in HOSTILE])
def test_hostile_keys_are_data(site: Site, key: str) -> None:
    """What goes in comes out, and nothing else happens."""
    source = MapSource(Settings.of({}), "test")
    table = open_table(site.table("REACH\nquery = SELECT '%s'\n"), source, folds=False)
    assert table.ask_now(key) == key
    stored = open_table(site.table("REACH\nquery = SELECT v FROM a WHERE k = '%s'\n"), source, folds=False)
    known = {"ü@a.test": "grün", "o'x": "quote", "b\\s": "back", "%": "percent", "a\"b": "double"}
    assert stored.ask_now(key) == known.get(key)
    assert stored.ask_now("user") == "U"


@pytest.mark.parametrize("key", ["\udcff@a.test", "\udcbf' OR 1=1 --", "a\0b"])
def test_keys_that_no_table_can_have(site: Site, key: str) -> None:
    maps = open_maps(site.table("REACH\nquery = SELECT '%s'\n"), MapSource(Settings.of({}), "test"))
    assert asyncio.run(maps.find(key)) is None


def test_limit_and_refused_statements_are_temporary(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    source = MapSource(Settings.of({}), "test")
    limited = open_maps(site.table("REACH\nquery = SELECT v FROM a WHERE k = '%s'\nexpansion_limit = 1\n"), source)
    broken = open_maps(site.table("REACH\nquery = SELEC '%s'\n"), source)
    with caplog.at_level(logging.WARNING, "mailsuite"):
        for maps, key in ((limited, "x@a.test"), (broken, "x"), (broken, "x")):
            with pytest.raises(TemporaryError):
                asyncio.run(maps.find(key))
    assert caplog.text.count("Expansion limit exceeded for key: 'x@a.test'") == 1
    assert asyncio.run(limited.find("user")) == "U"         # a refused statement does not shut the server out
    assert len([line for line in caplog.messages if "SELEC" in line.upper() and "syntax" in line]) == 2


def test_unknown_parameters_are_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mailsuite"):
        open_table(site.table("REACH\nquery = SELECT 1\npasword = geheim\n"), MapSource(Settings.of({}), "test"))
    assert "unused parameter: pasword" in caplog.text and "geheim" not in caplog.text


def test_parameters_in_main_cf(site: Site) -> None:
    lines = dict(line.split(" = ", 1) for line in site.reach.splitlines())
    settings = {f"users_{name}": value for name, value in lines.items()}
    settings["users_query"] = "SELECT v FROM a WHERE k = '%s'"
    maps = open_maps(f"{site.kind}:users", MapSource(Settings.of(settings), "test"))
    assert asyncio.run(maps.find("user")) == "U"
    again = open_maps(f"{site.kind}:users", MapSource(Settings.of(settings | {"users_query": "SELECT 'new'"}), "test"))
    assert asyncio.run(again.find("user")) == "new"


def test_a_changed_file_counts_at_reload(site: Site) -> None:
    spec = site.table("REACH\nquery = SELECT 'old'\n")
    source = MapSource(Settings.of({}), "test")
    first = open_maps(spec, source)
    assert asyncio.run(first.find("x")) == "old"
    Path(spec.partition(":")[2]).write_text(site.reach + "query = SELECT 'new one'\n")
    assert asyncio.run(open_maps(spec, source).find("x")) == "new one"


def test_many_at_once(site: Site) -> None:
    maps = open_maps(site.table("REACH\nquery = SELECT '%s'\n"), MapSource(Settings.of({}), "test"))

    async def main() -> list[str | None]:
        return await asyncio.gather(*(maps.find(f"key{number}") for number in range(200)))
    assert asyncio.run(main()) == [f"key{number}" for number in range(200)]


# -- servers that go away ----------------------------------------------------------------------------------------------


def _answers(find: Any) -> bool:
    try:
        return asyncio.run(find) == "U"
    except TemporaryError:
        return False


def test_a_server_that_dies_and_comes_back(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    if site.server is None:
        pytest.skip("SQLite has no server")
    spec = site.table("REACH\nquery = SELECT v FROM a WHERE k = '%s'\nretry_interval = 1\n")
    maps = open_maps(spec, MapSource(Settings.of({}), "test"))
    assert asyncio.run(maps.find("user")) == "U"
    site.server.kill()
    site.server.start()
    assert asyncio.run(maps.find("user")) == "U"            # its connections are dead: made anew, nobody notices
    site.server.kill()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "mailsuite"):
        for _ in range(3):
            with pytest.raises(TemporaryError):
                asyncio.run(maps.find("user"))
    assert f"connect to {site.kind} server 127.0.0.1:{site.server.port}" in caplog.text
    assert caplog.text.count(f"{spec} lookup error for \"user\"") == 3
    # It is left alone for a while: retry_interval, and a busy machine may take longer for three lookups.
    assert len([line for line in caplog.messages if line.startswith("connect to")]) < 3 + int(time.monotonic() - began)
    site.server.start()
    wait_for(lambda: _answers(maps.find("user")))


def test_a_server_that_says_nothing(site: Site) -> None:
    if site.server is None:
        pytest.skip("SQLite has no server")
    maps = open_maps(site.table("REACH\nquery = SELECT v FROM a WHERE k = '%s'\nretry_interval = 1\ntimeout = 1\n"),
                     MapSource(Settings.of({}), "test"))
    wait_for(lambda: _answers(maps.find("user")))       # the first connection may take longer than a second

    async def asked_meanwhile() -> int:
        """How often the event loop could do something else."""
        turns, asked = 0, asyncio.ensure_future(maps.find("user"))
        while not asked.done():
            turns += 1
            await asyncio.sleep(0.01)
        with pytest.raises(TemporaryError):
            await asked
        return turns
    site.server.pause()
    try:
        assert asyncio.run(asked_meanwhile()) > 10
    finally:
        site.server.go_on()
    wait_for(lambda: _answers(maps.find("user")))


def test_a_slow_statement(site: Site) -> None:
    slow = {"pgsql": "SELECT pg_sleep(30)", "mysql": "SELECT SLEEP(30)",
            "sqlite": "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c"}[site.kind]
    maps = open_maps(site.table(f"REACH\nquery = {slow}\ntimeout = 1\n"), MapSource(Settings.of({}), "test"))
    began = time.monotonic()
    with pytest.raises(TemporaryError):
        asyncio.run(maps.find("x"))
    assert time.monotonic() - began < 25


def test_the_next_host_is_asked(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    if site.server is None:
        pytest.skip("SQLite has no hosts")
    closed = free_port()
    lines = site.reach.replace("hosts = ", f"hosts = inet:127.0.0.1:{closed}, ")
    spec = site.table(lines + "query = SELECT v FROM a WHERE k = '%s'\n")
    assert site.equal("-q", "user", spec)[:2] == (0, b"U\n")
    maps = open_maps(spec, MapSource(Settings.of({}), "test"))
    with caplog.at_level(logging.WARNING, "mailsuite"):
        for _ in range(10):
            assert asyncio.run(maps.find("user")) == "U"
    assert len([line for line in caplog.messages if line.startswith("connect to")]) <= 1


@pytest.mark.parametrize(("change", "pgsql", "mysql"), [
    pytest.param(("se'cret", "wrong"), "password authentication failed for user \"mail\"",
                 "Access denied for user 'mail'", id="password"),
    pytest.param(("dbname = mail", "dbname = nope"), "database \"nope\" does not exist", "'nope'", id="database"),
])
def test_refused_connections(site: Site, change: tuple[str, str], pgsql: str, mysql: str) -> None:
    if site.server is None:
        pytest.skip("SQLite has no accounts")
    spec = site.table(site.reach.replace(*change) + "query = SELECT 1\n")
    status, _, said = site.equal("-q", "user", spec)
    assert status == 1 and f"warning: connect to {site.kind} server 127.0.0.1:{site.server.port}: " in said
    assert (pgsql if site.kind == "pgsql" else mysql) in said and "wrong" not in said
    assert f"fatal: table {spec}: query error: " in said


def test_missing_driver(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    if site.server is None:
        pytest.skip("SQLite is a part of Python")
    monkeypatch.setitem(sys.modules, {"pgsql": "psycopg", "mysql": "pymysql"}[site.kind], None)
    with pytest.raises(BadTable, match=rf'pip install "mailsuite\[{site.kind}\]"'):
        open_table(site.table("REACH\nquery = SELECT 1\n"), MapSource(Settings.of({}), "test"))


# -- one kind's own ----------------------------------------------------------------------------------------------------


def test_pgsql_forms(site: Site) -> None:
    if not isinstance(site.server, PostgreSql):
        pytest.skip("for PostgreSQL")
    port, folder = site.server.port, site.server.folder
    uri = f"hosts = postgresql://mail:se%27cret@127.0.0.1:{port}/mail\ndbname = other\n"
    assert site.equal("-q", "user", site.table(uri + "query = SELECT v FROM a WHERE k = '%s'\n"))[1] == b"U\n"
    assert site.equal("-q", "x", site.table("REACH\nselect_function = upper\n"))[1] == b"X\n"
    assert site.equal("-q", "x", site.table("REACH\nquery = SELECT 'a'; SELECT 'b'\n"))[1] == b"b\n"
    assert site.equal("-q", "x", site.table("REACH\nquery = CREATE TEMPORARY TABLE zz(a INT)\n"))[0] == 1
    local = f"hosts = postgresql:///mail?host={folder}&port={port}&user=owner\ndbname = x\n"
    assert site.equal("-q", "x", site.table(local + "query = SELECT current_user\n"))[1] == b"owner\n"
    latin = site.table("REACH\nencoding = LATIN1\nquery = SELECT '%s'\n")
    assert site.ours("-q", "ü", latin)[1] == "ü\n".encode()


def test_mysql_forms(site: Site) -> None:
    if not isinstance(site.server, MariaDb):
        pytest.skip("for MySQL")
    server, folder = site.server, site.folder
    server.run("CREATE PROCEDURE lk(IN p VARCHAR(100)) SELECT v FROM a WHERE k = p;\n"
               "CREATE PROCEDURE none() SET @x = 1;")
    for text, key, want in [("query = CALL lk('%s')\n", "x@a.test", b"one,two\n"),
                            ("query = CALL lk('%s')\n", "no", b""),
                            ("query = CALL none()\n", "x", b""), ("require_result_set = no\nquery = DO 1\n", "x", b"")]:
        assert site.equal("-q", key, site.table("REACH\n" + text))[1] == want
    (folder / "my.cnf").write_text(f"[client]\nuser = mail\npassword = \"se'cret\"\n[other]\nsocket={server.socket}\n")
    (folder / "my.cnf").chmod(0o644)
    text = f"dbname = mail\noption_file = {folder}/my.cnf\nquery = SELECT v FROM a WHERE k = '%s'\n"
    assert site.ours("-q", "user", site.table(f"hosts = unix:{server.socket}\n{text}"))[1] == b"U\n"
    assert site.ours("-q", "user", site.table(f"option_group = other\n{text}"))[1] == b"U\n"
    assert "SSL is required" in site.equal("-q", "user", site.table(f"REACH\ntls_verify_cert = yes\n{text}"))[2]
    wide = open_table(site.table("REACH\ncharset = gbk\nquery = SELECT HEX('%s')\n"), MapSource(Settings.of({})),
                      folds=False)
    assert wide.ask_now("a'b\\") == "6127625C"
    with pytest.raises(TemporaryError):         # 0xBF 0x27: half a character, which would swallow our backslash
        wide.ask_now("\udcbf'")
    assert wide.ask_now("x") == "78"


def test_sqlite_forms(site: Site, tmp_path: Path) -> None:
    if site.kind != "sqlite":
        pytest.skip("for SQLite")
    assert site.equal("-q", "x", site.table("REACH\nquery = SELECT 'a;b'; SELECT 'b'\n"))[1] == b"a;b\n"
    missing = site.table(f"dbpath = {tmp_path}/none.db\nquery = SELECT v FROM a\n")
    maps = open_maps(missing, MapSource(Settings.of({}), "test"))
    with pytest.raises(TemporaryError):
        asyncio.run(maps.find("x"))
    assert not (tmp_path / "none.db").exists()
    with sqlite3.connect(tmp_path / "new.db") as made:
        made.executescript("CREATE TABLE a(v); INSERT INTO a VALUES ('there')")
    (tmp_path / "new.db").rename(tmp_path / "none.db")

    def there() -> bool:
        try:
            return asyncio.run(maps.find("x")) == "there"
        except TemporaryError:
            return False
    wait_for(there)
    with sqlite3.connect(tmp_path / "newer.db") as made:
        made.executescript("CREATE TABLE a(v); INSERT INTO a VALUES ('replaced')")
    (tmp_path / "newer.db").rename(tmp_path / "none.db")
    assert asyncio.run(maps.find("x")) == "replaced"


def test_a_dropped_table_is_not_kept_by_its_threads(tmp_path: Path) -> None:
    """After a reload nobody has it: its connections end, though its threads are idle."""
    with sqlite3.connect(tmp_path / "x.db") as made:
        made.executescript("CREATE TABLE t(a, b); INSERT INTO t VALUES ('k', 'v');")
    (tmp_path / "x.cf").write_text(f"dbpath = {tmp_path}/x.db\nquery = SELECT b FROM t WHERE a = '%s'\n")
    spec = f"sqlite:{tmp_path}/x.cf"

    async def ask() -> bool:
        maps = open_maps(spec, MapSource(Settings.of({})))
        assert await maps.find("k") == "v"
        del maps
        gc.collect()
        return any(key[1] == spec for key in list(_OPEN))

    assert not asyncio.run(ask())
