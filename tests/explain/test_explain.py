"""mailsuite explain: what decided is told with its table and line; nothing is delivered on the way."""

import asyncio
import getpass
import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner

from mailsuite.cli.mailsuite import cli
from mailsuite.config.mastercf import read_master_cf
from mailsuite.explain.explainer import Explainer, Question
from mailsuite.explain.model import as_json
from mailsuite.explain.site import Site
from mailsuite.explain.text import as_text

ME = getpass.getuser()
MAIN_CF = """\
myhostname = mx.example.test
mydomain = example.test
mydestination = $myhostname, $mydomain
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8
recipient_delimiter = +
alias_maps = texthash:{folder}/aliases
local_recipient_maps = $alias_maps, inline:{{{{{me} = x}}, {{known = x}}}}
canonical_maps = pcre:{folder}/canonical
virtual_alias_domains = alias.test
virtual_alias_maps = texthash:{folder}/virtual
virtual_mailbox_domains = box.test
virtual_mailbox_base = /var/vmail
virtual_mailbox_maps = texthash:{folder}/boxes
virtual_uid_maps = static:5001
virtual_gid_maps = static:5002
relay_domains = relay.test
transport_maps = texthash:{folder}/transport
relocated_maps = inline:{{{{gone@box.test = new@far.test}}}}
home_mailbox = Maildir/
smtpd_recipient_restrictions = check_recipient_access texthash:{folder}/access
    check_client_access cidr:{folder}/clients, reject_unauth_destination
smtpd_relay_restrictions =
forward_path = {folder}/forward
"""
FILES = {
    "aliases": "# local names\nteam: {me}, far@far.test\n\nloud: \"|/bin/cat -u\"\n"
               "list: :include:{folder}/list\n",
    "list": "one@far.test\n",
    "canonical": "# old names\n/^old@example\\.test$/ {me}@example.test\n",
    "virtual": "info@alias.test sales@alias.test\n# two\nsales@alias.test {me}, x@far.test\n"
               "loop@alias.test pool@alias.test\npool@alias.test loop@alias.test\n"
               "@alias2.test nobody\n",
    "boxes": "anna@box.test box.test/anna/\nold@box.test box.test/old\n",
    "transport": "slow.test smtp:[192.0.2.25]:2525\nno.test error:5.7.1 not here\nvoid.test discard:\n"
                 "later.test retry:4.7.1 later\n"
                 "prog.test prog:there\n",
    "access": "blocked@example.test REJECT go away\nheld@box.test HOLD look at it\nclass@box.test no_such_rule\n",
    "clients": "198.51.100.0/24 554 5.7.1 not from you\n",
}
MASTER_CF = """\
smtp inet n - n - - smtpd
submission inet n - n - - smtpd
  -o { smtpd_relay_restrictions = permit_sasl_authenticated, reject }
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_recipient_restrictions=
smtp unix - - n - - smtp
relay unix - - n - - smtp
local unix - n n - - local
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
prog unix - n n - - pipe user=nobody argv=/usr/bin/tool -f ${sender} ${recipient}
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of its own: nobody, who reads lists of aliases, must be able to get there."""
    tmp_path = Path(tempfile.mkdtemp(prefix="mailsuite-explain-"))
    tmp_path.chmod(0o755)
    for name, text in {**FILES, "main.cf": MAIN_CF}.items():
        (tmp_path / name).write_text(text.format(folder=tmp_path, me=ME) if name != "canonical" else
                                     text.replace("{me}", ME))
    (tmp_path / "master.cf").write_text(MASTER_CF)
    # texthash takes "name value"; the alias file is written for it.
    text = (tmp_path / "aliases").read_text().replace("team:", "team").replace("loud:", "loud").replace("list:", "list")
    (tmp_path / "aliases").write_text(text)
    yield tmp_path
    shutil.rmtree(tmp_path)


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(folder: Path) -> Iterator[Ask]:
    def explained(address: str, **question: Any) -> dict[str, Any]:
        async def run() -> Any:
            explanation = await Explainer(Site.load(str(folder))).explain(address, Question(**question))
            assert list(as_text(explanation, details=True))
            return as_json(explanation)
        told = asyncio.run(run())
        assert isinstance(told, dict)
        return told
    yield explained


def flat(steps: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    """(by, result, line) of steps and those inside."""
    found = []
    for step in steps:
        found.append((step["by"], step.get("result", ""), step.get("line", 0)))
        found += flat(step.get("steps", []))
    return found


@pytest.mark.parametrize(("address", "want"), [
    pytest.param("info@alias.test", [("virtual_alias_maps", "sales@alias.test", 1),
                                     ("virtual_alias_maps", f"{ME}@mx.example.test, x@far.test", 3),
                                     ("append_at_myorigin", f"{ME}@mx.example.test", 0)], id="virtual aliases"),
    pytest.param("old@example.test", [("canonical_maps", f"{ME}@example.test", 2)], id="the line of a pattern"),
    pytest.param("far!joe", [("swap_bangpath, append_dot_mydomain", "joe@far.example.test", 0)], id="bang path"),
    pytest.param("anna%box.test", [("allow_percent_hack", "anna@box.test", 0)], id="percent hack"),
])
def test_rewriting(ask: Ask, folder: Path, address: str, want: list[tuple[str, str, int]]) -> None:
    if "!" in address:
        with (folder / "main.cf").open("a") as main_cf:
            main_cf.write("append_dot_mydomain = yes\n")
    assert flat(ask(address)["steps"]) == want


@pytest.mark.parametrize(("address", "address_class", "transport", "nexthop", "decided"), [
    pytest.param(f"{ME}@example.test", "local", "local", "mx.example.test", "local_transport", id="local"),
    pytest.param("anna@box.test", "virtual_mailbox", "virtual", "box.test", "virtual_transport", id="virtual mailbox"),
    pytest.param("x@relay.test", "relay", "relay", "relay.test", "relay_transport", id="relay"),
    pytest.param("x@far.test", "default", "smtp", "far.test", "default_transport", id="elsewhere"),
    pytest.param("x@slow.test", "default", "smtp", "[192.0.2.25]:2525", "transport_maps", id="transport_maps"),
    pytest.param("gone@box.test", "virtual_mailbox", "error", "5.1.6 User has moved to new@far.test", "relocated_maps",
                 id="relocated"),
    pytest.param("none@alias.test", "virtual_alias", "error", "5.1.1 User unknown in virtual alias table",
                 "virtual_alias_domains", id="unknown virtual alias"),
])
def test_class_and_transport(ask: Ask, address: str, address_class: str, transport: str, nexthop: str,
                             decided: str) -> None:
    recipient = ask(address)["recipients"][0]
    assert (recipient["class"], recipient["transport"], recipient["nexthop"]) == (address_class, transport, nexthop)
    assert recipient["steps"][-1]["by"] == decided


def test_virtual_mailbox(ask: Ask, folder: Path) -> None:
    end = ask("anna+lists@box.test")["recipients"][0]["ends"][0]
    assert (end["mailbox"], end["format"]) == ("/var/vmail/box.test/anna/", "maildir")
    assert (end["uid"], end["gid"]) == (5001, 5002)
    assert (end["by"]["file"], end["by"]["line"]) == (str(folder / "boxes"), 1)
    assert ask("old@box.test")["recipients"][0]["ends"][0]["format"] == "mbox"


def test_alias_is_a_tree(ask: Ask, folder: Path) -> None:
    end = ask("team@example.test")["recipients"][0]["ends"][0]
    assert (end["status"], end["by"]["by"], end["by"]["line"]) == ("expanded", "alias_maps", 2)
    mine, far = end["members"]
    account = pwd.getpwnam(ME)
    assert (mine["status"], mine["mailbox"], mine["uid"]) == ("delivered", f"{account.pw_dir}/Maildir/", account.pw_uid)
    assert mine["by"]["by"] == "home_mailbox"
    assert (far["status"], far["address"]) == ("forwarded", "far@far.test")
    assert far["then"][0]["transport"] == "smtp"


def test_command_of_an_alias(ask: Ask) -> None:
    (command,) = ask("loud@example.test")["recipients"][0]["ends"][0]["members"]
    assert (command["status"], command["command"]) == ("delivered", "/bin/cat -u")


def test_include(ask: Ask, folder: Path) -> None:
    (include,) = ask("list@example.test")["recipients"][0]["ends"][0]["members"]
    assert (include["status"], include["by"]["file"]) == ("expanded", str(folder / "list"))
    assert include["members"][0]["address"] == "one@far.test"


def test_forward_file(ask: Ask, folder: Path) -> None:
    (folder / "forward").write_text("other@far.test\n")
    (folder / "forward").chmod(0o644)
    end = ask(f"{ME}@example.test")["recipients"][0]["ends"][0]
    assert (end["status"], end["by"]["file"]) == ("expanded", str(folder / "forward"))
    assert end["members"][0]["then"][0]["nexthop"] == "far.test"


@pytest.mark.parametrize(("address", "status", "dsn", "text"), [
    pytest.param("ghost@example.test", "bounced", "5.1.1", 'unknown user: "ghost"', id="unknown user"),
    pytest.param("ghost@box.test", "bounced", "5.1.1", 'unknown user: "ghost@box.test"', id="unknown mailbox"),
    pytest.param("x@no.test", "bounced", "5.7.1", "not here", id="error transport"),
    pytest.param("x@later.test", "deferred", "4.7.1", "later", id="retry transport"),
    pytest.param("x@void.test", "discarded", "2.0.0", "void.test", id="discard transport"),
])
def test_what_the_sender_gets(ask: Ask, address: str, status: str, dsn: str, text: str) -> None:
    end = ask(address)["recipients"][0]["ends"][0]
    assert (end["status"], end["dsn"], end.get("reason", "")) == (status, dsn, text)
    assert ("notice" in end) == (status == "bounced")


def test_pipe(ask: Ask) -> None:
    end = ask("x@prog.test", sender="s@far.test")["recipients"][0]["ends"][0]
    assert end["command"] == "/usr/bin/tool -f s@far.test x@prog.test"
    assert end["uid"] == (pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid())


def test_hosts(ask: Ask) -> None:
    assert ask("x@slow.test", dns=True)["recipients"][0]["ends"][0]["hosts"] == ["192.0.2.25[192.0.2.25]:2525"]


def test_bcc(ask: Ask, folder: Path) -> None:
    with (folder / "main.cf").open("a") as main_cf:
        main_cf.write("always_bcc = anna@box.test\nsender_bcc_maps = inline:{s@far.test=x@far.test}\n")
    copies = ask("u@relay.test", sender="s@far.test")["copies"]
    assert [copy["address"] for copy in copies] == ["anna@box.test", "x@far.test"]
    assert copies[0]["ends"][0]["mailbox"] == "/var/vmail/box.test/anna/"


def test_content_filter_and_deferred_transports(ask: Ask, folder: Path) -> None:
    with (folder / "main.cf").open("a") as main_cf:
        main_cf.write("content_filter = scan:[127.0.0.1]:10024\ndefer_transports = smtp\n")
    told = ask("x@far.test")
    assert told["content_filter"] == "scan:[127.0.0.1]:10024"
    assert told["recipients"][0]["ends"][0]["reason"] == "deferred transport"


@pytest.mark.parametrize("seed", range(60))
def test_noise_is_explained(ask: Ask, seed: int) -> None:
    random = Random(seed)
    ask("".join(random.choice("ab.@%!\"\\ +[]:<>(),é\t") for _ in range(random.randrange(30))) or "x")


def test_a_transport_without_service(ask: Ask, folder: Path) -> None:
    (folder / "transport").write_text("x.test maildrop:\n")
    end = ask("a@x.test")["recipients"][0]["ends"][0]
    assert (end["status"], end["reason"]) == ("deferred", "mail transport unavailable") and "maildrop" in end["notice"]


def test_mailbox_transport_is_looked_into(ask: Ask, folder: Path) -> None:
    with (folder / "main.cf").open("a") as main_cf:
        main_cf.write("mailbox_transport = virtual\n")
    end = ask(f"{ME}@example.test")["recipients"][0]["ends"][0]
    assert (end["status"], end["transport"], end["by"]["by"]) == ("passed", "virtual", "mailbox_transport")
    assert end["then"][0]["ends"][0]["status"] == "bounced"


def test_alias_loop(ask: Ask) -> None:
    told = ask("loop@alias.test")
    assert told["error"].startswith("451 4.6.0 Alias expansion error")


def test_table_that_cannot_be_asked(ask: Ask, folder: Path) -> None:
    (folder / "virtual").unlink()
    assert ask("info@alias.test")["error"].startswith("451 4.3.0 Temporary lookup failure")


# --- smtpd ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("address", "question", "reply", "rule", "place"), [
    pytest.param("blocked@example.test", {}, "554 5.7.1 <blocked@example.test>: Recipient address rejected: go away",
                 "check_recipient_access", ("access", 1), id="access table"),
    pytest.param("anna@box.test", {"client": "198.51.100.7"},
                 "554 5.7.1 <unknown[198.51.100.7]>: Client host rejected: not from you",
                 "check_client_access", ("clients", 1), id="client"),
    pytest.param("x@far.test", {}, "554 5.7.1 <x@far.test>: Relay access denied", "reject_unauth_destination",
                 ("main.cf", 21), id="relaying"),
    pytest.param("anna@box.test", {}, "250 2.1.5 Ok", None, None, id="a stranger's mail for us"),
    pytest.param("ghost@box.test", {},
                 "550 5.1.1 <ghost@box.test>: Recipient address rejected: User unknown in virtual mailbox table",
                 "reject_unlisted_recipient", None, id="unlisted"),
    pytest.param("class@box.test", {}, "451 4.3.5 Server configuration error", "no_such_rule", None, id="bad action"),
    pytest.param("x@far.test", {"service": "submission", "login": "anna"}, "250 2.1.5 Ok", "permit_sasl_authenticated",
                 ("master.cf", 2), id="logged in"),
    pytest.param("x@far.test", {"service": "submission"},
                 "554 5.7.1 <x@far.test>: Recipient address rejected: Access denied", "reject", ("master.cf", 2),
                 id="not logged in"),
])
def test_judgement(ask: Ask, folder: Path, address: str, question: dict[str, str], reply: str, rule: str | None,
                   place: tuple[str, int] | None) -> None:
    if "client" in question:
        with (folder / "main.cf").open("a") as main_cf:
            main_cf.write("smtpd_peername_lookup = no\n")
    told = ask(address, **question)["smtpd"]
    assert told["reply"] == reply
    assert told.get("rule") == rule
    if place is not None:
        decision = told["decision"]
        assert (decision["file"], decision["line"]) == (str(folder / place[0]), place[1])


def test_what_an_access_table_did_besides(ask: Ask) -> None:
    told = ask("held@box.test")["smtpd"]
    assert told["actions"] == ["hold: <held@box.test>: Recipient address look at it"]


def test_policy_services_are_not_asked(ask: Ask, folder: Path) -> None:
    with (folder / "main.cf").open("a") as main_cf:
        main_cf.write("smtpd_relay_restrictions = check_policy_service unix:/nowhere, reject_unauth_destination\n")
    told = ask("anna@box.test")["smtpd"]
    assert told["verdict"] == "permit"
    assert ("check_policy_service", "not asked") in {(step["by"], step.get("result")) for step in told["steps"]}


# --- the command ------------------------------------------------------------------------------------------------

def test_command(folder: Path) -> None:
    done = CliRunner().invoke(cli, ["-c", str(folder), "explain", "info@alias.test"])
    assert done.exit_code == 0, done.output
    assert f"texthash:{folder}/virtual: info@alias.test -> sales@alias.test, line 1" in done.output
    done = CliRunner().invoke(cli, ["-c", str(folder), "explain", "--json", "ghost@box.test"])
    assert done.exit_code == 1
    assert json.loads(done.output)["recipients"][0]["ends"][0]["status"] == "bounced"
    assert CliRunner().invoke(cli, ["-c", str(folder), "explain", "--client", "nonsense", "a@b.test"]).exit_code == 2
    done = CliRunner().invoke(cli, ["-c", str(folder), "explain", "--service", "nonsense", "a@b.test"])
    assert done.exit_code == 1 and "no service nonsense" in done.output


def test_entries_are_read(folder: Path) -> None:
    assert len(read_master_cf(str(folder / "master.cf"))) == 10
