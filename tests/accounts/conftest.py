"""A small site: mailboxes and aliases in hash tables, logins in a passwd-file."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mailsuite.cli.mailsuite import cli

MAIN = """\
# the head
myhostname = mx.demo.test
mydestination = localhost
virtual_mailbox_domains = demo.test, {top}/domains
virtual_mailbox_base = {top}/vmail
virtual_mailbox_maps = hash:{top}/vmailbox
virtual_alias_maps = hash:{top}/virtual
virtual_uid_maps = static:5000
virtual_gid_maps = static:5000
alias_maps = hash:{top}/aliases
"""
DOVECOT = """\
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = {top}/users
}}
userdb {{
  driver = passwd-file
  args = {top}/users
}}
"""


class Site:
    def __init__(self, top: Path) -> None:
        self.top = top

    def write(self, name: str, text: str) -> None:
        (self.top / name).write_text(text.replace("{top}", str(self.top)).replace("{{", "{").replace("}}", "}"))

    def read(self, name: str) -> str:
        return (self.top / name).read_text()

    def run(self, *words: str, password: str = "wurzel-Kl33", status: int = 0) -> str:
        done = CliRunner().invoke(cli, ["-c", str(self.top), *words], input=password + "\n")
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, done.output
        return done.output


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.write("main.cf", MAIN)
    made.write("dovecot.conf", DOVECOT)
    made.write("domains", "# one a line\nother.test\n")
    made.write("users", "# users\nanna@demo.test:{PLAIN}x:5000:5000::/vmail/anna::\n")
    made.write("vmailbox", "# mailboxes\nanna@demo.test  demo.test/anna/Maildir/\n")
    made.write("virtual", "# aliases\ninfo@demo.test anna@demo.test\n")
    made.write("aliases", "root: anna@demo.test\n")
    os.chmod(tmp_path / "users", 0o640)
    for tool, name in (("postmap", "vmailbox"), ("postmap", "virtual"), ("postalias", "aliases")):
        build(made, tool, name)
    return made


def build(site: Site, tool: str, name: str) -> None:
    from mailsuite.accounts.plan import build as build_table
    from mailsuite.accounts.site import AccountSite

    build_table(tool, f"hash:{site.top}/{name}", AccountSite.load(str(site.top)).settings)


Change = Callable[[], None]
