"""A Thunderbird with a prepared profile under a display of its own, driven from inside by its own scripts.

    with thunderbird(folder, accounts, authority) as client:
        client.run("await fetchMail(0, 3); return messagesOf(inboxOf(0)).length")

`run` executes JavaScript in Thunderbird itself (Marionette's protocol, on a loopback port), with the functions of
thunderbird.js at hand: what it returns is what Thunderbird holds, not what a picture of its window shows. Raises
ScriptError with Thunderbird's own message.
"""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.suite import free_port, wait_for

PROGRAMS = ("thunderbird", "Xvfb", "certutil")
LIBRARY = (Path(__file__).parent / "thunderbird.js").read_text()
START_LIMIT_S = 120.0
SCRIPT_LIMIT_S = 60.0
STARTTLS, TLS = 2, 3             # Thunderbird's socketType

# Nothing that asks, tells or fetches: no first-run pages, updates, telemetry, remote settings, calendars, chat.
QUIET = {
    "app.donation.eoy.version.viewed": 999, "app.normandy.enabled": False, "app.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False, "browser.safebrowsing.phishing.enabled": False,
    "datareporting.healthreport.uploadEnabled": False, "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.update.enabled": False, "mail.biff.play_sound": False, "mail.biff.show_alert": False,
    "mail.chat.enabled": False, "mail.inappnotifications.enabled": False, "mail.provider.enabled": False,
    "mail.rights.version": 1, "mail.shell.checkDefaultClient": False, "mail.spotlight.firstRunDone": True,
    "mail.startup.enabledMailCheckOnce": True, "mailnews.start_page.enabled": False,
    "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,", "toolkit.telemetry.enabled": False,
}


@dataclass(frozen=True)
class Account:
    """kind: imap or pop3; security: STARTTLS or TLS."""

    kind: str
    user: str
    password: str
    port: int
    security: int


class ScriptError(Exception):
    """Thunderbird refused the script, or it threw."""


class Thunderbird:
    """A client that runs; see the module."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=SCRIPT_LIMIT_S + 10)
        self._stream = self._socket.makefile("rb")
        self._number = 0
        self._packet()                                         # its greeting
        self._ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {
            "timeouts": {"script": int(SCRIPT_LIMIT_S * 1000)}}}})
        self._ask("Marionette:SetContext", {"value": "chrome"})

    def _packet(self) -> Any:
        length = b""
        while (octet := self._stream.read(1)) != b":":
            if not octet:
                raise ScriptError("Thunderbird closed the connection")
            length += octet
        return json.loads(self._stream.read(int(length)))

    def _ask(self, command: str, values: dict[str, object]) -> Any:
        self._number += 1
        text = json.dumps([0, self._number, command, values]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._packet()
        if error:
            raise ScriptError(f"{error['error']}: {error['message']}")
        return result

    def run(self, script: str, *arguments: object) -> Any:
        """The value of the script, a function's body that may use `await`; its `arguments` are at hand."""
        body = f"""{LIBRARY}
            const done = arguments[arguments.length - 1];
            (async (...arguments) => {{ {script} }})(...Array.from(arguments).slice(0, -1)).then(
                value => done({{value}}), error => done({{error: String(error) + "\\n" + (error && error.stack)}}));
        """
        found = self._ask("WebDriver:ExecuteAsyncScript", {"script": body, "args": list(arguments), "newSandbox": True})
        if "error" in found["value"]:
            raise ScriptError(found["value"]["error"])
        return found["value"].get("value")

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


def preferences(accounts: Sequence[Account], marionette: int, submission: int) -> dict[str, object]:
    """The profile's prefs: its accounts, each with an identity, and one server for outgoing mail."""
    values: dict[str, object] = {**QUIET, "marionette.port": marionette, "marionette.enabled": True}
    names = []
    for number, account in enumerate(accounts, 1):
        server, identity = f"mail.server.server{number}.", f"mail.identity.id{number}."
        names.append(f"account{number}")
        values |= {
            f"mail.account.account{number}.server": f"server{number}",
            f"mail.account.account{number}.identities": f"id{number}",
            server + "type": account.kind, server + "hostname": "localhost", server + "port": account.port,
            server + "userName": account.user, server + "socketType": account.security, server + "authMethod": 3,
            server + "login_at_startup": False, server + "check_new_mail": False,
            server + "name": f"{account.kind}{number}", server + "leave_on_server": True,
            identity + "useremail": account.user, identity + "fullName": "A Reader", identity + "valid": True,
            identity + "smtpServer": "smtp1", identity + "compose_html": False,
            identity + "fcc": account.kind == "imap",
        }
    smtp = "mail.smtpserver.smtp1."
    return values | {
        "mail.accountmanager.accounts": ",".join(names), "mail.accountmanager.defaultaccount": names[0],
        "mail.smtpservers": "smtp1", "mail.smtp.defaultserver": "smtp1", smtp + "hostname": "localhost",
        smtp + "port": submission, smtp + "try_ssl": STARTTLS, smtp + "authMethod": 3,
        smtp + "username": accounts[0].user}


def make_profile(profile: Path, values: dict[str, object], authority: Path) -> None:
    """A profile that knows the accounts and trusts the authority."""
    profile.mkdir(parents=True)
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in values.items()]
    (profile / "user.js").write_text("\n".join(lines) + "\n")
    for words in (["-N", "--empty-password"], ["-A", "-n", "suite", "-t", "C,,", "-i", str(authority)]):
        subprocess.run(["certutil", *words, "-d", f"sql:{profile}"], check=True, timeout=60)


@contextmanager
def display(log: Path) -> Iterator[str]:
    """An X server of its own: its display's name. The server chooses the number and says it."""
    read, write = os.pipe()
    with log.open("w") as output:
        server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-nolisten", "tcp"],
                                  pass_fds=[write], stdout=output, stderr=output)
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, log.read_text()
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(20)


@contextmanager
def thunderbird(folder: Path, accounts: Sequence[Account], authority: Path, submission: int) -> Iterator[Thunderbird]:
    """A Thunderbird that runs with these accounts; it knows their passwords."""
    port = free_port()
    make_profile(folder / "profile", preferences(accounts, port, submission), authority)
    environment = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "PATH": os.environ["PATH"], "LANG": "C.UTF-8",
                   "MOZ_DISABLE_CONTENT_SANDBOX": "1", "NO_AT_BRIDGE": "1", "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    log = folder / "thunderbird.log"
    with display(folder / "xvfb.log") as screen, log.open("w") as output:
        words = ["--marionette", "--remote-allow-system-access", "--no-remote", "--profile", str(folder / "profile")]
        program = subprocess.Popen(["thunderbird", *words], env={**environment, "DISPLAY": screen}, stdout=output,
                                   stderr=output, start_new_session=True)
        try:
            client = _connected(port, program, log)
            try:
                _remember(client, accounts)
                yield client
            finally:
                client.close()
        finally:
            os.killpg(program.pid, 15)
            try:
                program.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(program.pid, 9)
                program.wait(20)


def _connected(port: int, program: "subprocess.Popen[bytes]", log: Path) -> Thunderbird:
    def there() -> Thunderbird | None:
        assert program.poll() is None, log.read_text()[-3000:]
        try:
            return Thunderbird(port)
        except (ConnectionRefusedError, ScriptError):
            return None
    found = wait_for(there, START_LIMIT_S, "Thunderbird does not answer")
    assert isinstance(found, Thunderbird)
    return found


def _remember(client: Thunderbird, accounts: Sequence[Account]) -> None:
    """The passwords, as the dialogue's "remember" would store them."""
    entries = [(kind, account.user, account.password) for account in accounts
               for kind in ("smtp", "mailbox" if account.kind == "pop3" else "imap")]
    client.run("""
        for (const [kind, user, password] of arguments[0]) {
            const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
            login.init(kind + "://localhost", null, kind + "://localhost", user, password, "", "");
            await Services.logins.addLoginAsync(login);
        }""", sorted(set(entries)))
