"""mailsuite user, domain, alias on a small site: what is written, what is refused, and what a crash leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailsuite.accounts.passwords import weakness
from mailsuite.accounts.site import AccountSite
from mailsuite.sasl import schemes
from tests.accounts.conftest import Site

ADD = ("user", "add", "ben@demo.test", "--password-stdin")


def lookup(site: Site, parameter: str, key: str) -> str | None:
    return AccountSite.load(str(site.top)).lookup(parameter, key)


def test_a_user_is_added_like_the_others(site: Site) -> None:
    inode_mode = (site.top / "users").stat().st_mode
    site.run(*ADD, "--quota", "2g")
    line = site.read("users").splitlines()[-1]
    name, hashed, *rest = line.split(":", 6)
    assert name == "ben@demo.test" and hashed.startswith("{SHA512-CRYPT}$6$")
    assert schemes.verify("SHA512-CRYPT", hashed.partition("}")[2], b"wurzel-Kl33", name)
    assert rest == ["5000", "5000", "", f"{site.top}/vmail/demo.test/ben", ":userdb_quota_rule=*:storage=2G"]
    assert site.read("vmailbox") == "# mailboxes\nanna@demo.test  demo.test/anna/Maildir/\n" \
                                    "ben@demo.test demo.test/ben/Maildir/\n"
    assert lookup(site, "virtual_mailbox_maps", "ben@demo.test") == "demo.test/ben/Maildir/"
    assert (site.top / "users").stat().st_mode == inode_mode
    listed = json.loads(site.run("user", "list", "--json"))
    assert [(one["address"], one["quota"]) for one in listed] == [("anna@demo.test", ""), ("ben@demo.test", "2G")]


@pytest.mark.parametrize(("words", "why"), [
    (("user", "add", "anna@demo.test"), "exists: user in"),
    (("user", "add", "info@demo.test"), "is an alias for anna@demo.test"),
    (("user", "add", "x@far.test"), "not ours yet"),
    (("user", "add", "x@localhost.test@demo.test"), "cannot be a mailbox's name"),
    (("user", "add", "x/../y@demo.test"), "cannot be a mailbox's name"),
    (("user", "add", "a+b@demo.test"), "auth_username_chars"),
    (("user", "add", "noaddress"), "is no address"),
    (("user", "add", "x@demo.test", "--scheme", "NOSUCH"), "--scheme NOSUCH"),
    (("user", "add", "x@demo.test", "--quota", "lots"), "--quota lots"),
    (("user", "passwd", "nobody@demo.test"), "is not in"),
])
def test_users_that_are_refused(site: Site, words: tuple[str, ...], why: str) -> None:
    before = {path.name: path.read_bytes() for path in site.top.iterdir() if path.is_file()}
    assert why in site.run(*words, "--password-stdin", status=1)
    assert before == {path.name: path.read_bytes() for path in site.top.iterdir() if path.is_file()}


@pytest.mark.parametrize(("password", "why"), [
    ("", "is empty"), ("short", "shorter"), ("aaaabbbb", "different"), ("Password1", "tried first"),
    ("anna.demo1", "made of the address"), ("annaanna12", "different"), ("anna2024!!", "made of the address"),
    ("Kl33-wurzel", None),
    ("tab\there!!", "control"), ("x" * 1001, "longer"),
])
def test_weak_passwords(password: str, why: str | None) -> None:
    said = weakness(password, "anna@demo.test")
    assert said is None if why is None else said is not None and why in said


def test_a_weak_password_is_refused_unless_it_is_meant(site: Site) -> None:
    assert "is shorter" in site.run(*ADD, password="short", status=1)
    site.run(*ADD, "--weak", password="short")
    passwd = ("user", "passwd", "ben@demo.test", "--password-stdin", "--weak")
    assert "is empty" in site.run(*passwd, password="", status=1)


def test_disable_keeps_the_hash(site: Site) -> None:
    site.run("user", "disable", "anna@demo.test")
    assert site.read("users").splitlines()[1] == \
        "anna@demo.test:{PLAIN}x:5000:5000::/vmail/anna::nologin allow_nets=255.255.255.255/32"
    assert "disabled already" in site.run("user", "disable", "anna@demo.test", status=1)
    site.run("user", "enable", "anna@demo.test")
    assert site.read("users").splitlines()[1] == "anna@demo.test:{PLAIN}x:5000:5000::/vmail/anna"
    assert "not disabled" in site.run("user", "enable", "anna@demo.test", status=1)


def test_deleting_asks_for_what_leads_there(site: Site) -> None:
    mail = site.top / "vmail/demo.test/anna/Maildir/cur"
    mail.mkdir(parents=True)
    (mail / "1.mx:2,S").write_text("Subject: x\n\n")
    said = site.run("user", "del", "anna@demo.test", status=1)
    assert f"info@demo.test ({site.top}/virtual, line 2)" in said and "root" in said
    assert "--force" in said and mail.exists()
    assert f"move {site.top}/vmail/demo.test/anna to" in site.run("user", "del", "anna@demo.test", "--force",
                                                                         "--dry-run")
    assert mail.exists()
    site.run("user", "del", "anna@demo.test", "--force")
    assert [path.name for path in site.top.glob(
        "vmail/demo.test/.trash/anna@demo.test.*/Maildir/cur/*")] == ["1.mx:2,S"]
    assert site.read("users") == "# users\n" and site.read("vmailbox") == "# mailboxes\n"
    assert "there is no anna" in site.run("user", "del", "anna@demo.test", status=1)


def test_a_domain_goes_into_the_file_that_lists_domains(site: Site) -> None:
    assert "virtual_mailbox_domains" in site.run("domain", "add", "New.test")
    assert site.read("domains") == "# one a line\nother.test\nnew.test\n" and "new.test" not in site.read("main.cf")
    site.run("domain", "del", "new.test")
    assert site.read("domains") == "# one a line\nother.test\n"


def test_a_domain_that_main_cf_lists(site: Site) -> None:
    site.write("main.cf", site.read("main.cf").replace(f", {site.top}/domains", "\n    # kept\n    , third.test"))
    site.run("domain", "add", "new.test")
    assert "virtual_mailbox_domains = demo.test, third.test, new.test\n" in site.read("main.cf")
    assert site.read("main.cf").startswith("# the head\n")
    site.run("domain", "del", "third.test")
    assert "virtual_mailbox_domains = demo.test, new.test\n" in site.read("main.cf")


@pytest.mark.parametrize(("words", "why"), [
    (("domain", "add", "demo.test"), "is in virtual_mailbox_domains already"),
    (("domain", "add", "demo.test", "--aliases"), "a domain has one class"),
    (("domain", "add", "no_domain"), "is no domain's name"),
    (("domain", "del", "demo.test"), "is mydomain"),
    (("domain", "del", "far.test"), "is not ours"),
    (("alias", "add", "info@demo.test", "x@far.test"), "--replace"),
    (("alias", "add", "anna@demo.test", "info@demo.test"), "a loop: anna@demo.test -> info@demo.test"),
    (("alias", "add", "own@demo.test", "own@demo.test"), "own@demo.test is neither a mailbox nor an alias"),
    (("alias", "add", "anna@demo.test", "x@far.test"), "would get no mail any more"),
    (("alias", "add", "x@demo.test", "nobody@demo.test"), "neither a mailbox nor an alias"),
    (("alias", "add", "x@demo.test", "|/bin/true"), "local aliases only"),
    (("alias", "add", "x@far.test", "anna@demo.test"), "not ours"),
    (("alias", "del", "x@demo.test"), "is not in"),
    (("alias", "del", "info@demo.test", "x@far.test"), "does not go to x@far.test"),
])
def test_what_would_break_mail_is_refused(site: Site, words: tuple[str, ...], why: str) -> None:
    before = {path.name: path.read_bytes() for path in site.top.iterdir() if path.is_file()}
    assert why in site.run(*words, status=1)
    assert before == {path.name: path.read_bytes() for path in site.top.iterdir() if path.is_file()}


def test_aliases_come_and_go(site: Site) -> None:
    site.run("alias", "add", "all@demo.test", "anna@demo.test", "x@far.test")
    assert lookup(site, "virtual_alias_maps", "all@demo.test") == "anna@demo.test, x@far.test"
    site.run("alias", "del", "all@demo.test", "x@far.test")
    assert site.read("virtual").endswith("all@demo.test anna@demo.test\n")
    site.run("alias", "add", "anna@demo.test", "anna@demo.test", "copy@far.test")      # a copy stays
    site.run("alias", "add", "postmaster", "root")
    assert site.read("aliases") == "root: anna@demo.test\npostmaster: root\n"
    assert "a loop: root -> postmaster -> root" in site.run("alias", "add", "root", "postmaster", "--replace", status=1)
    site.run("alias", "del", "all@demo.test")
    assert lookup(site, "virtual_alias_maps", "all@demo.test") is None
    names = [one["name"] for one in json.loads(site.run("alias", "list", "--json"))]
    assert names == ["info@demo.test", "anna@demo.test", "root", "postmaster"]


@pytest.mark.parametrize(("main", "dovecot", "words", "why"), [
    ("virtual_mailbox_maps = mysql:/etc/my.cf", "", ADD, "with SQL (its query is in /etc/my.cf)"),
    ("virtual_alias_maps = ldap:/etc/ldap.cf", "", ("alias", "add", "a@demo.test", "anna@demo.test"), "a directory"),
    ("virtual_alias_maps = regexp:{top}/patterns", "", ("alias", "del", "a@demo.test"), "edit it by hand"),
    ("virtual_alias_maps =", "", ("alias", "add", "a@demo.test", "anna@demo.test"), "names no table"),
    ("", "passdb {\n driver = sql\n}\nuserdb {\n driver = sql\n}", ADD, "with SQL"),
    ("", "passdb {\n driver = pam\n}\nuserdb {\n driver = passwd\n}", ADD, "accounts of this machine"),
    ("", "passdb {\n driver = passwd-file\n args = {top}/users\n}\n"
     "userdb {\n driver = passwd-file\n args = /etc/other\n}", ADD, "let them read one"),
    ("mydestination = localhost, demo.test", "", ADD, "mydestination and virtual_mailbox_domains"),
])
def test_what_cannot_be_edited_here(site: Site, main: str, dovecot: str, words: tuple[str, ...], why: str) -> None:
    if main:
        name = main.partition(" ")[0]
        lines = [line for line in site.read("main.cf").splitlines() if not line.startswith(name)]
        site.write("main.cf", "\n".join([*lines, main]) + "\n")
    if dovecot:
        (site.top / "dovecot.conf").write_text(dovecot.replace("{top}", str(site.top)) + "\n")
    assert why in site.run(*words, status=1)


def test_a_catch_all_would_take_the_mail(site: Site) -> None:
    site.run("alias", "add", "@demo.test", "anna@demo.test")
    assert "alias add ben@demo.test ben@demo.test first" in site.run(*ADD, status=1)


def test_a_full_disk_leaves_the_old_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = site.read("users")
    monkeypatch.setattr(os, "rename", full)
    assert "users cannot be written: No space left on device; it is unchanged" in site.run(*ADD, status=1)
    assert site.read("users") == before and not [path for path in site.top.iterdir() if path.name.startswith(".new")]


KILLED = """
import os, signal, sys
from mailsuite.accounts import plan
count = [int(sys.argv[1])]
def dies(real):
    def call(*args, **options):
        count[0] -= 1
        if count[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    return call
os.rename, os.fsync, plan.build = dies(os.rename), dies(os.fsync), dies(plan.build)
from mailsuite.cli.mailsuite import cli
cli(["-c", sys.argv[2], "user", "add", "ben@demo.test", "--password-stdin"])
"""


def test_killed_at_any_instant_each_file_is_old_or_new(site: Site) -> None:
    """And the next command ends what was begun: a user is added, whatever of it was there."""
    old = {name: site.read(name) for name in ("users", "vmailbox")}
    for steps in (0, 1, 2, 3, 4, 5):
        for name, text in old.items():
            (site.top / name).write_text(text)
        done = subprocess.run([sys.executable, "-c", KILLED, str(steps), str(site.top)], input=b"wurzel-Kl33\n",
                              capture_output=True, check=False, timeout=60)
        assert done.returncode in (0, -9), done.stderr
        for name, text in old.items():
            now = site.read(name)
            added = now.removeprefix(text)
            assert now.startswith(text) and (not added or added.endswith("\n") and added.count("\n") == 1)
        if site.read("users") != old["users"]:
            site.run("user", "del", "ben@demo.test")
            assert {name: site.read(name) for name in old} == old
            assert lookup(site, "virtual_mailbox_maps", "ben@demo.test") is None


def test_commands_at_once_lose_nothing(site: Site) -> None:
    command = [str(Path(sys.executable).parent / "mailsuite"), "-c", str(site.top), "alias", "add"]
    several = [subprocess.Popen([*command, f"n{number}@demo.test", "anna@demo.test"], stdout=subprocess.DEVNULL)
               for number in range(4)]
    assert [one.wait(60) for one in several] == [0] * 4
    want = [f"n{number}@demo.test anna@demo.test" for number in range(4)]
    assert sorted(site.read("virtual").split("\n")[2:-1]) == want


def test_a_line_is_a_users_for_a_userdb_with_default_fields(site: Site) -> None:
    """A name and a password alone would be nobody's: Dovecot wants four fields."""
    conf = site.read("dovecot.conf")
    site.write("dovecot.conf", conf.replace("userdb {\n", "userdb {\n  default_fields = home=/vmail/%n\n"))
    site.run(*ADD, password="Wurzel-17-grün")
    name, hashed, *rest = site.read("users").splitlines()[-1].split(":")
    assert rest == [""] * 6 and hashed
    site.run("user", "disable", name)
    site.run("user", "enable", name)
    assert site.read("users").splitlines()[-1] == f"{name}:{hashed}::::::"
    site.run("user", "del", name)
    site.run(*ADD, "--quota", "2G", password="Wurzel-17-grün")
    assert site.read("users").endswith("::::::userdb_quota_rule=*:storage=2G\n")
