"""MySQL's option files."""

from pathlib import Path

from mailsuite.database.mysql_options import read_options


def test_groups_includes_quotes(tmp_path: Path) -> None:
    (tmp_path / "more.d").mkdir()
    (tmp_path / "more.d" / "a.cnf").write_text("[mail]\nport=3307\n")
    (tmp_path / "more.d" / "b.txt").write_text("[mail]\nport=1\n")
    (tmp_path / "my.cnf").write_text(
        "# comment\nuser = nobody\n[client]\nuser = mail # who\npassword = \"p#s's\\n\"\n"
        "ssl_ca=/ca.pem\nssl-verify-server-cert\n"
        f"unknown = 1\n[mail]\nsocket = '/run/x y'\n!includedir {tmp_path}/more.d\n!include {tmp_path}/my.cnf\n")
    found = read_options(str(tmp_path / "my.cnf"), ["client", "mail"])
    assert found == {"user": "mail", "password": "p#s's\n", "ssl-ca": "/ca.pem", "ssl-verify-server-cert": "",
                     "socket": "/run/x y", "port": "3307"}
    assert read_options(str(tmp_path / "none.cnf"), ["client"]) == {}
