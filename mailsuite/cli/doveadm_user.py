"""doveadm user: what the user databases say, with the settings' defaults; or who there is ("*" and "?" in a name)."""

import re
import sys

from mailsuite.cli.doveadm import EX_NOUSER, EX_TEMPFAIL, Doveadm, Exit
from mailsuite.cli.doveadm_auth import AuthSocket, auth_info, lookups, print_fields
from mailsuite.cli.doveadm_print import printer_for
from mailsuite.sasl import wire


def user(doveadm: Doveadm, arguments: list[str]) -> int:
    """The command."""
    found, rest = doveadm.options(arguments, "axfe", "u")
    if not rest:
        doveadm.usage()
    path = found.get("a", [doveadm.socket_path(doveadm.settings.text("auth_socket_path"))])[-1]
    info = auth_info(found)
    if any(char in name for name in rest for char in "*?"):
        return _list(path, rest, info)
    if "u" in found:
        return _userdb_only(doveadm, path, rest, info, found)
    return _with_defaults(doveadm, path, rest, info, found)


def _list(path: str, masks: list[str], info: list[str]) -> int:
    """All users whose name one of masks fits, in the order of the databases."""
    connection = AuthSocket(path, failing="Error: auth-master: user listing")
    connection.greet_master()
    fits = re.compile("|".join(re.escape(mask).replace(r"\*", ".*").replace(r"\?", ".") for mask in masks), re.S)
    connection.say("LIST", "1", *([f"user={masks[0]}"] if len(masks) == 1 else []), *info)
    while (words := connection.hear())[0] == "LIST":
        if fits.fullmatch(words[2]):
            print(words[2])
    if words[0] != "DONE" or "fail" in words[2:]:
        raise Exit(EX_TEMPFAIL, "doveadm: Error: user listing failed")
    return 0


def _userdb_only(doveadm: Doveadm, path: str, users: list[str], info: list[str], found: dict[str, list[str]]) -> int:
    status, first = 0, True
    for name, words in lookups(doveadm, path, "USER", users, info):
        if not first:
            print()
        first = False
        if words[0] != "USER":
            status = _failed(name, words)
        elif "f" in found:
            value = wire.fields(words[3:]).get(found["f"][-1])
            if value is not None:
                print(value)
        else:
            print_fields("userdb", name, [f"user={words[2]}", *words[3:]])
    return status


def _failed(name: str, words: list[str]) -> int:
    if words[0] == "NOTFOUND":
        print(f"userdb lookup: user {name} doesn't exist")
        return EX_NOUSER
    reason = wire.fields(words[2:]).get("reason", "")
    print(f"Error: userdb lookup failed for {name}{': ' + reason if reason else ''}", file=sys.stderr)
    return EX_TEMPFAIL


def _with_defaults(doveadm: Doveadm, path: str, users: list[str], info: list[str],
                   found: dict[str, list[str]]) -> int:
    """Rows "field TAB value"; what is not about a field comes after all rows, as Dovecot writes it."""
    single = "f" in found or "e" in found
    printer = printer_for(doveadm.formatter or "tab")
    if not single:
        sys.stdout.flush()
        printer.header(["field", "value"])
    after: list[str] = []
    status = 0
    for number, (name, words) in enumerate(lookups(doveadm, path, "USER", users, info)):
        if number:
            if single:
                print()
            else:
                after.append("")
        if words[0] == "NOTFOUND":
            status = EX_NOUSER
            if single:
                print(f"\nuserdb lookup: user {name} doesn't exist", file=sys.stderr)
            else:
                after += ["", f"userdb lookup: user {name} doesn't exist"]
            continue
        if words[0] != "USER":
            status = _failed(name, words)
            continue
        rows = _rows(doveadm, words[2], wire.fields(words[3:]))
        if words[2] != name:
            rows = {"user": words[2]} | rows        # the databases know the user by another name
        if single:
            for line in _shown(rows, words[2], found):
                print(line)
        else:
            for row in rows.items():
                printer.row(row)
    if not single:
        printer.end()
    sys.stdout.flush()
    for line in after:
        print(line)
    return status


def _shown(rows: dict[str, str], name: str, found: dict[str, list[str]]) -> list[str]:
    if "e" in found:
        from mailsuite.config.variables import expand_variables, user_variables
        return [expand_variables(found["e"][-1], user_variables(name, home=rows.get("home", "")) | rows)]
    return [rows[found["f"][-1]]] if found["f"][-1] in rows else []


def _rows(doveadm: Doveadm, name: str, fields: dict[str, str]) -> dict[str, str]:
    """uid, gid, home and mail first, from the settings where the databases say nothing."""
    settings = doveadm.settings
    rows: dict[str, str] = {}
    for field, setting in (("uid", "mail_uid"), ("gid", "mail_gid"), ("home", "mail_home"), ("mail", "mail_location")):
        value = fields.pop(field, "")
        if not value:
            value = settings.text(setting)
            if field in ("home", "mail") and "%" in value:
                from mailsuite.config.variables import expand_variables, user_variables
                value = expand_variables(value, user_variables(name, service="doveadm", home=rows.get("home", "")))
        if value:
            rows[field] = value
    return rows | fields
