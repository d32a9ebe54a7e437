"""From master.cf lines to processes and sockets."""

from pathlib import Path

import pytest

from mailsuite.base.errors import ConfigError, ConfigErrors
from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.mastercf import read_master_cf
from mailsuite.config.settings import Settings
from mailsuite.master.accounts import Accounts
from mailsuite.master.plan import ServicePlan, _login_places, _refuse_plugins, accepting_processes, make_plan

SETTINGS = {"queue_directory": "/q", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
            "default_process_limit": "100"}


def plans(tmp_path: Path, text: str, dovecot: str | None = None, **changed: str) -> list[ServicePlan]:
    (tmp_path / "master.cf").write_text(text)
    conf = DovecotSettings.of(dovecot) if dovecot is not None else None
    return make_plan(Settings.of({**SETTINGS, **changed}), read_master_cf(str(tmp_path / "master.cf")), conf,
                     Accounts(privileged=False))


@pytest.mark.parametrize(("name", "address", "port"), [
    ("smtp", "127.0.0.1", 25), ("2525", "127.0.0.1", 2525), ("127.0.0.2:10025", "127.0.0.2", 10025),
    ("[::1]:26", "::1", 26), ("submission", "127.0.0.1", 587),
])
def test_inet_names(tmp_path: Path, name: str, address: str, port: int) -> None:
    [plan] = plans(tmp_path, f"{name} inet n - n - - smtpd\n")
    assert [(spec.address, spec.port) for spec in plan.sockets] == [(address, port)]


def test_an_unknown_protocol_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="ipx"):
        plans(tmp_path, "smtp inet n - n - - smtpd\n", inet_protocols="ipv4, ipx")


def test_columns_and_overrides(tmp_path: Path) -> None:
    [smtpd, virtual] = plans(tmp_path, "465 inet n - n - 7 smtpd\n -o smtpd_tls_wrappermode=yes\n"
                                       "cleanup unix n - n - 0 cleanup -o always_bcc=a@b.test\n"
                                       "virtual unix - n n - - virtual\n")
    assert smtpd.sockets[0].tls and smtpd.process_limit == 7 and smtpd.processes == min(accepting_processes(), 7)
    assert virtual.sockets[0].path == "/q/private/virtual" and virtual.kind.root and virtual.process_limit == 100
    assert smtpd.library == {"cleanup": {"always_bcc": "a@b.test"}}


@pytest.mark.parametrize(("disabled", "left"), [
    ("", ["smtp", "2525", "error"]), ("inet", ["error"]), ("smtp/inet", ["2525", "error"]),
    ("!smtp/inet, inet", ["smtp", "error"]), ("smtp/unix, fifo", ["smtp", "2525", "error"])])
def test_services_that_are_switched_off(tmp_path: Path, disabled: str, left: list[str]) -> None:
    text = "smtp inet n - n - - smtpd\n2525 inet n - n - - smtpd\nerror unix - - n - - error\n"
    assert [plan.name for plan in plans(tmp_path, text, master_service_disable=disabled)] == left


def test_public_and_private(tmp_path: Path) -> None:
    found = plans(tmp_path, "pickup unix n - n 60 1 pickup\nerror unix - - n - - error\n")
    assert [spec.path for plan in found for spec in plan.sockets] == ["/q/public/pickup", "/q/private/error"]
    assert found[0].wakeup_s == 60


def test_all_errors_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        plans(tmp_path, "smtp inet n - n - 1 qmqpd\nx unix - - n - - nonsense\n99999 inet n - n - - smtpd\n"
                        "25 inet n - n - - smtpd\n127.0.0.1:25 inet n - n - - smtpd\n")
    text = caught.value.public.split("\n")
    assert all(word in line for word, line in zip(["line 1", "line 2", "line 3", "both listen on"], text, strict=True))


def test_dovecot_services(tmp_path: Path) -> None:
    found = {plan.name: plan for plan in plans(tmp_path, "error unix - - n - - error\n", """
        protocols = imap
        base_dir = /b
        listen = 127.0.0.1
        ssl = no
        service auth {
          unix_listener /q/private/auth {
            mode = 0666
          }
        }
        service imap-login {
          inet_listener imap {
            port = 2143
          }
        }
        """)}
    assert set(found) == {"error", "auth", "access", "imap-login"}
    assert [(spec.address, spec.port) for spec in found["imap-login"].sockets] == [("127.0.0.1", 2143)]
    paths = {spec.path: spec.mode for spec in found["auth"].sockets}
    assert paths["/q/private/auth"] == 0o666
    assert "/b/imap" in {spec.path for spec in found["access"].sockets}


def test_lmtp_service(tmp_path: Path) -> None:
    found = {plan.name: plan for plan in plans(tmp_path, "error unix - - n - - error\n", """
        protocols = lmtp
        base_dir = /b
        listen = 127.0.0.1
        service lmtp {
          process_limit = 7
          unix_listener /q/private/dovecot-lmtp {
            mode = 0600
          }
          inet_listener lmtp {
            port = 2400
          }
        }
        """)}
    assert set(found) == {"error", "auth", "access", "lmtp"}
    assert {(spec.path or spec.port, spec.mode) for spec in found["lmtp"].sockets if spec.kind == "unix"} == {
        ("/b/lmtp", 0o666), ("/q/private/dovecot-lmtp", 0o600)}
    assert [spec.port for spec in found["lmtp"].sockets if spec.kind == "inet"] == [2400]
    assert found["lmtp"].process_limit == 7 and not found["lmtp"].kind.root
    assert [(spec.path, spec.mode) for spec in found["access"].sockets if spec.name == "lmtp-delivery"] == [
        ("/b/lmtp-delivery", 0o600)]


@pytest.mark.parametrize(("inside", "places"), [
    ("", 0),
    ("process_limit = 7", 7),
    ("client_limit = 7", 100),                              # service_count = 1: a process serves one
    ("service_count = 0\n client_limit = 7", 700),
    ("service_count = 0\n client_limit = 7\n process_limit = 2", 14),
])
def test_places_of_a_login_service(inside: str, places: int) -> None:
    dovecot = DovecotSettings.of(f"service imap-login {{\n{inside}\n}}\n")
    assert _login_places(dovecot.section("service", "imap-login"), dovecot) == places


@pytest.mark.parametrize("name", ["login_access_sockets", "login_plugins"])
def test_what_would_keep_clients_out_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        _refuse_plugins(DovecotSettings.of(f"{name} = something\n"))
    _refuse_plugins(DovecotSettings.of(""))
