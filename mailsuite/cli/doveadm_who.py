"""doveadm who, kick, stats dump, penalty: asks the access service, which knows all sessions.

What Dovecot's anvil and stats processes answer is answered by that service, over base_dir/imap (or pop3); -a names
another socket of it.
"""

import os
import sys
from collections.abc import Mapping
from typing import Any

from mailsuite.cli.access_link import ask
from mailsuite.cli.doveadm import EX_NOTFOUND, EX_TEMPFAIL, EX_USAGE, Doveadm, Exit
from mailsuite.cli.doveadm_print import printer_for


def about(doveadm: Doveadm, path: str, request: Mapping[str, object]) -> dict[str, Any]:
    """The access service's answer. path: "" for its usual sockets. Raises Exit."""
    paths = [path] if path else [doveadm.socket_path(name) for name in ("imap", "pop3")]
    chosen = next((one for one in paths if os.path.exists(one)), paths[0])
    try:
        answer = next(ask(chosen, {"about": request}), {})
    except OSError as error:
        raise Exit(EX_TEMPFAIL, f"Fatal: net_connect_unix({chosen}) failed: {error.strerror}") from error
    except ValueError:
        answer = {}
    if not answer or "error" in answer:
        raise Exit(EX_TEMPFAIL, f"Fatal: {answer.get('error', f'{chosen} did not answer')}")
    return answer


def _masks(arguments: list[str]) -> dict[str, str]:
    """A mask of user names and a network, in either order. Raises Exit."""
    found: dict[str, str] = {}
    for word in arguments:
        kind = "network" if _is_network(word) else "user"
        if kind in found:
            raise Exit(EX_USAGE, "Error: Multiple " + ("network" if kind == "network" else "username")
                       + " masks not supported")
        found[kind] = word
    return found


def _is_network(word: str) -> bool:
    from ipaddress import ip_network

    try:
        ip_network(word, strict=False)
    except ValueError:
        return False
    return True


def who(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm who."""
    found, rest = doveadm.options(arguments, "a", "1")
    answer = about(doveadm, found.get("a", [""])[-1], {"what": "who", **_masks(rest)})
    printer = printer_for(doveadm.formatter or "table")
    plain = doveadm.formatter == "json"
    if "1" in found:
        printer.header(["username", "service" if plain else "proto", "pid", "ip"], widest="username")
        for user, protocol, address, pid, _ in answer["sessions"]:
            printer.row([user, protocol, str(pid), address])
    else:
        printer.header(["username", "connections", "service", "pids", "ips"] if plain else
                       ["username", "#", "proto", "(pids)", "(ips)"], right=["#"])
        groups: dict[tuple[str, str], list[tuple[int, str]]] = {}
        for user, protocol, address, pid, _ in answer["sessions"]:
            groups.setdefault((user, protocol), []).append((pid, address))
        for (user, protocol), members in sorted(groups.items()):
            pids = " ".join(str(pid) for pid in dict.fromkeys(pid for pid, _ in members))
            addresses = " ".join(dict.fromkeys(address for _, address in members if address))
            printer.row([user, str(len(members)), protocol, f"({pids})", f"({addresses})"])
    printer.end()
    return 0


def kick(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm kick; -f is not needed, as sessions are ended and not processes."""
    found, rest = doveadm.options(arguments, "a", "f")
    if not rest:
        raise Exit(EX_USAGE, "Error: user and/or ip[/bits] must be specified.")
    kicked = about(doveadm, found.get("a", [""])[-1], {"what": "kick", **_masks(rest)})["kicked"]
    lines = [*kicked, "kicked connections from the following users:\n"] if kicked else ["no users kicked"]
    form = doveadm.formatter or "flow"
    if form == "flow":
        print(" ".join(lines))
    else:
        printer = printer_for(form)
        printer.header(["result"])
        for line in lines:
            printer.row([line])
        printer.end()
    return 0 if kicked else EX_NOTFOUND


FIELDS = ("count", "sum", "min", "max", "avg", "median", "stddev", "%95")


def stats_dump(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm stats dump: durations in microseconds."""
    found, rest = doveadm.options(arguments, "sf", "r")
    if rest:
        doveadm.usage()
    wanted = found.get("f", [" ".join(FIELDS)])[-1].split()
    if unknown := [name for name in wanted if name not in FIELDS]:
        raise Exit(EX_USAGE, f"Error: Unknown field: {unknown[0]}")
    answer = about(doveadm, found.get("s", [""])[-1], {"what": "stats", "reset": "r" in found})
    printer = printer_for(doveadm.formatter or "tab")
    printer.header(["metric_name", "field", *wanted])
    for name, *values in answer["stats"]:
        printer.row([name, "duration", *(values[FIELDS.index(field)] for field in wanted)])
    printer.end()
    return 0


def proxy_list(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm proxy list."""
    found, rest = doveadm.options(arguments, "a", "")
    if rest:
        doveadm.usage()
    answer = about(doveadm, found.get("a", [""])[-1], {"what": "proxied"})
    printer = printer_for(doveadm.formatter or "table")
    plain = doveadm.formatter == "json"
    if not answer["proxied"] and not doveadm.formatter:
        return 0
    printer.header(["username", "service", "src-ip", "dest-ip", "dest-port"] if plain else
                   ["username", "proto", "src ip", "dest ip", "port"])
    for user, protocol, address, to_address, to_port in answer["proxied"]:
        printer.row([user, protocol, address, to_address, str(to_port)])
    printer.end()
    return 0


def proxy_kick(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm proxy kick."""
    found, rest = doveadm.options(arguments, "afh", "")
    if "f" in found:
        raise Exit(EX_USAGE, "Error: -f is not available: passed on connections are known by their user only")
    hosts = found.get("h", [])
    if hosts:                               # -h host [host ...]: what follows are hosts too
        hosts, rest = [*hosts, *rest], []
    if not hosts and not rest:
        doveadm.usage()
    answer = about(doveadm, found.get("a", [""])[-1], {"what": "kick proxied", "users": rest, "hosts": hosts})
    print(f"{answer['kicked']} connections kicked")
    return 0


def not_here(doveadm: Doveadm, arguments: list[str]) -> int:
    """Commands about parts that do not exist here."""
    print(f"Error: doveadm {doveadm.command.words} is not available here: {_WHY[doveadm.command.words]}",
          file=sys.stderr)
    return EX_TEMPFAIL


_WHY = {
    "stats add": "what is counted is fixed (doveadm stats dump)",
    "stats remove": "what is counted is fixed (doveadm stats dump)",
}
