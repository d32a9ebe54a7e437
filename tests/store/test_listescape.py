"""The listescape plugin: names that could not stand on disk as they are."""

import os
from pathlib import Path

import pytest

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.store.api import InvalidName, MailStore
from mailsuite.store.names import Naming
from mailsuite.store.opening import open_store
from mailsuite.store.options import StoreOptions

NAMES = ["a.b", "a/b", "a/b.c", "~x", "a\\b", "x\\5cy", "a%b", "100%"]


def store(home: Path, separator: str, plugin: str = "", location: str = "maildir:~/Maildir") -> MailStore:
    settings = DovecotSettings.of(
        f"mail_plugins = listescape\nplugin {{\n{plugin}\n}}\n"
        f"namespace inbox {{\n  inbox = yes\n  separator = {separator}\n}}\n")
    return open_store("a", home=str(home), location=location, options=StoreOptions.of(settings))


@pytest.mark.parametrize(("separator", "folders"), [
    pytest.param("/", [".100%", ".\\7ex", ".a%b", ".a.b", ".a.b\\2ec", ".a\\2eb", ".a\\5cb", ".x\\5c5cy"], id="slash"),
    pytest.param(".", [".100%", ".\\7ex", ".a%b", ".a.b", ".a\\2fb", ".a\\2fb.c", ".a\\5cb", ".x\\5c5cy"], id="dot"),
])
def test_folders_are_as_dovecot_names_them(tmp_path: Path, separator: str, folders: list[str]) -> None:
    mail = store(tmp_path, separator)
    for name in NAMES:
        mail.create(name)
        assert mail.exists(name)
    found = [name for name in os.listdir(tmp_path / "Maildir") if name.startswith(".")]
    assert sorted(found) == sorted(folders)
    shown = {info.name for info in store(tmp_path, separator).list_mailboxes() if info.selectable}
    assert shown == {"INBOX", *NAMES}


def test_subscriptions(tmp_path: Path) -> None:
    mail = store(tmp_path, "/")
    mail.create("a/b.c")
    mail.subscribe("a/b.c", True)
    assert mail.subscriptions() == ["a/b.c"]
    assert (tmp_path / "Maildir/subscriptions").read_text() == "V\t2\n\na\tb\\2ec\n"


def test_renamed_and_deleted(tmp_path: Path) -> None:
    mail = store(tmp_path, "/")
    mail.create("a.b")
    mail.rename("a.b", "b.c/d")
    assert mail.path("b.c/d").endswith("/Maildir/.b\\2ec.d")
    mail.delete("b.c/d")
    assert not (tmp_path / "Maildir/.b\\2ec.d").exists()


def test_another_character(tmp_path: Path) -> None:
    mail = store(tmp_path, "/", "listescape_char = +")
    mail.create("a.b+c")
    assert mail.path("a.b+c").endswith("/.a+2eb+2bc")


@pytest.mark.parametrize("name", ["~x", "a.b"])
def test_without_the_plugin_they_are_refused(name: str) -> None:
    with pytest.raises(InvalidName):
        Naming(own=".", separator="/").parts(name)


def test_what_is_refused_all_the_same() -> None:
    naming = Naming(own="/", separator="/", escape="\\")
    for name in ("", "..", "a/../b", "/a", "a//b", "x" * 300, "." * 2):
        with pytest.raises(InvalidName):
            naming.parts(name)


def test_only_what_can_be_shown_is_unescaped() -> None:
    naming = Naming(own=".", separator="/", escape="\\")
    assert naming.name(("a\\2eb", "c\\0ad\\7f")) == "a.b/c\\0ad\\7f"


def test_escaped_names_count_as_long_as_they_are_on_disk() -> None:
    with pytest.raises(InvalidName):
        Naming(own=".", separator="/", escape="\\").parts("." * 100)
