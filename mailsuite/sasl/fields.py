"""What the fields of databases mean: those of a passdb change the request, those of a userdb make its answer.

    fields = PassdbFields(request, complain=log.error, say=log.info)
    fields.take(found.fields, "CRYPT")         request.user, .fields, .userdb_fields... change as they say
    fields.password -> ("SSHA", "...") or None

    set_userdb_field(request, reply, name, value, complain)        into reply, a mapping of what the user database says
    await to_numbers(reply, pool, complain)                        names of accounts there become numbers

"name:protected" counts only where name has no value yet, "name:remove" takes it away. Source: Dovecot 2.3's
documentation of extra fields, and what its auth process does (tests/sasl/test_fields.py).
"""

import copy
import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from mailsuite.sasl import schemes, system
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.pool import HashPool
from mailsuite.sasl.request import AuthRequest, address, in_networks, is_network

DELAY_LIMIT_S = 300             # delay_until may not be further in the future than this
TEMPLATE_SCHEME = "PLAIN"       # of a password in default_fields and override_fields
_PREFIX = "userdb_"
_PASSWORDS = ("password", "password_noscheme")
Say = Callable[[str], None]


def renamed(user: str, name: str, value: str) -> str | None:
    """The user's new name after a field user, username or domain; None for other fields."""
    local, at, domain = user.partition("@")
    if name == "user":
        return value
    if name == "username":
        return value if "@" in value else value + at + domain
    if name == "domain":
        return f"{local}@{value}"
    return None


class PassdbFields:
    """One lookup's fields. complain: a line for the administrator; say: one that auth_verbose asks for."""

    def __init__(self, request: AuthRequest, complain: Say, say: Say) -> None:
        self._request, self._complain, self._say = request, complain, say
        self.password: tuple[str, str] | None = None         # scheme, stored
        self.has_password = False                             # a field of that name came, if only a NULL

    def template(self, pairs: Iterable[tuple[str, str]]) -> None:
        """default_fields, override_fields."""
        for name, value in pairs:
            self._set(name, self._request.expand(value), TEMPLATE_SCHEME)

    def take(self, pairs: Sequence[Field], scheme: str) -> None:
        """What a database says. scheme: of passwords that name none. Its password stands in for default_fields'."""
        for name, value in pairs:
            if name in _PASSWORDS and value is not None:
                self.password = None
                break
        for name, value in pairs:
            if name in _PASSWORDS:
                self.has_password = True
                if value is not None:
                    self._set_password(name, value, scheme)
            elif value is not None:
                if name:
                    self._set(name, value, scheme)
            elif name.startswith(_PREFIX):
                self._request.prefetched = True

    def _set(self, name: str, value: str, scheme: str) -> None:
        request = self._request
        if ":" in name:
            if name.endswith(":protected"):
                name = name.removesuffix(":protected")
                if self._has(name):
                    return
            elif name.endswith(":remove") and not name.startswith(_PREFIX):
                request.fields.pop(name.removesuffix(":remove"), None)
                return
        if name in _PASSWORDS:
            self._set_password(name, value, scheme)
        elif name.startswith(_PREFIX):
            self._set_userdb(name, value)
        elif name == "passdb_import":
            self.take(_imported(value), scheme)
        elif name == "nopassword" and self.password is not None and self.password[1] and (
                "noauthenticate" not in request.fields):
            self._complain("nopassword set but password is non-empty")
        else:
            self._set_plain(name, value)

    def _has(self, name: str) -> bool:
        if name.startswith(_PREFIX):
            return name.removeprefix(_PREFIX) in self._request.userdb_fields
        return name in self._request.fields or name.startswith("password") and self.password is not None

    def _set_plain(self, name: str, value: str) -> None:
        request = self._request
        if (user := renamed(request.user, name, value)) is not None:
            if not user:
                self._complain("username attempted to be changed to empty string")
                request.failed = True
            else:
                request.user = user
        elif name == "login_user":
            request.wanted_user = value
        elif name in ("allow_nets", "allow_real_nets"):
            self._check_networks(name, value)
        elif name == "fail":
            request.failed = True
        elif name == "delay_until":
            self._delay(value)
        elif name == "noauthenticate":
            request.fields["nopassword"] = ""
        elif name == "nopassword":
            self.password = None
        request.fields[name] = value

    def _set_password(self, name: str, value: str, scheme: str) -> None:
        if self.password is not None:
            self._complain("Multiple password values not supported")
        elif name == "password":
            self.password = schemes.split_scheme(value, scheme)
        else:
            self.password = scheme, value

    def _set_userdb(self, name: str, value: str) -> None:
        request = self._request
        request.prefetched = True
        if name == "userdb_userdb_import":
            for inner, text in _imported(value):
                self._set(_PREFIX + inner, text or "", "")
        else:
            set_userdb_field(request, request.userdb_fields, name.removeprefix(_PREFIX), value, self._complain)

    def _check_networks(self, name: str, networks: str) -> None:
        request = self._request
        remote = request.remote if name == "allow_nets" else address(
            request.facts.get("real_rip", "")) or request.remote
        for word in networks.replace(",", " ").split():
            if not is_network(word):
                self._say(f"{name}: Invalid network '{word}'")
        if not in_networks(remote, networks):
            self._say(f"{name} check failed: " + ("Remote IP not known and 'local' missing" if remote is None else
                                                  f"IP {remote} not in allowed networks"))
            request.failed = True

    def _delay(self, value: str) -> None:
        """delay_until = UNIX time[+N]: no success before it, up to N random seconds more."""
        request = self._request
        text, plus, extra = value.partition("+")
        if not _number(text) or plus and not _number(extra):
            self._complain(f"Invalid delay_until {'timestamp' if not _number(text) else 'randomness number'} "
                           f"'{text if not _number(text) else extra}'")
            request.failed = True
            return
        now, until = time.time(), float(text)
        if until - now > DELAY_LIMIT_S:
            self._complain(f"delay_until timestamp {text} is too much in the future, failing")
            request.failed = True
        elif until > now:
            request.delay_until = min(until + (random.randrange(int(extra)) if plus and int(extra) else 0),
                                      now + DELAY_LIMIT_S)


def expanded(request: AuthRequest, pairs: Collection[tuple[str, str]], *, prefix: str = _PREFIX) -> tuple[Field, ...]:
    """Fields with their %-variables replaced: a later one may use an earlier (%{passdb:a}, %{userdb:b}).

    prefix: what the names of userdb fields begin with; "" in a user database. The user's name stays the one asked for.
    """
    for _, raw in pairs:
        if "%{" in raw:
            break
    else:                           # none can refer to another
        return tuple([(name, request.expand(raw) if "%" in raw else raw) for name, raw in pairs])
    now = copy.copy(request)
    now.fields, now.userdb_fields = dict(request.fields), dict(request.userdb_fields)
    found = []
    for name, raw in pairs:
        value = now.expand(raw)
        found.append((name, value))
        if name.startswith(prefix):
            now.userdb_fields[name.removeprefix(prefix)] = value
        else:
            now.fields[name] = value
    return tuple(found)


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _imported(value: str) -> list[Field]:
    """passdb_import, userdb_import: name=value words between tabs."""
    pairs: list[Field] = []
    for word in value.split("\t"):
        name, _, text = word.partition("=")
        if name:
            pairs.append((name, text))
    return pairs


# --- user databases -------------------------------------------------------------------------------------------------

# What is no field of the answer as it stands.
_CHANGING = frozenset({"userdb_import", "user", "username", "domain", "uidgid_file", "system_user"})


def set_userdb_fields(request: AuthRequest, reply: dict[str, str], found: Iterable[Field], complain: Say) -> None:
    """All that a user database says."""
    for name, value in found:
        if value is None or not name:
            continue
        if name in _CHANGING or ":" in name:
            set_userdb_field(request, reply, name, value, complain)
        else:
            reply[name] = value


def set_userdb_field(request: AuthRequest, reply: dict[str, str], name: str, value: str, complain: Say) -> None:
    """One field of a user database, or a passdb's with "userdb_" taken off. Names in uid and gid stay names here."""
    if ":" in name:
        if name.endswith(":protected"):
            name = name.removesuffix(":protected")
            if name in reply:
                return
        elif name.endswith(":remove"):
            reply.pop(name.removesuffix(":remove"), None)
            return
    if name not in _CHANGING:
        reply[name] = value
    elif name == "userdb_import":
        for inner, text in _imported(value):
            set_userdb_field(request, reply, inner, text or "", complain)
    elif (user := renamed(request.user, name, value)) is not None:
        request.user = user or request.user
    elif name == "uidgid_file":
        _of_file(reply, value, complain)
    else:
        reply["system_groups_user"] = value


def _of_file(reply: dict[str, str], path: str, complain: Say) -> None:
    """uidgid_file: uid and gid are a file's owner and group."""
    import os

    try:
        status = os.stat(path)
    except OSError as error:
        complain(f"stat({path}) failed: {error.strerror}")
        reply["tempfail"] = ""
        return
    reply["uid"], reply["gid"] = str(status.st_uid), str(status.st_gid)


async def to_numbers(reply: dict[str, str], pool: HashPool, complain: Say) -> bool:
    """Make numbers of names in uid and gid. False: there is no such account, which is a temporary failure."""
    good = True
    for name, number in (("uid", system.uid_of), ("gid", system.gid_of)):
        value = reply.get(name, "")
        if not value or value.isdecimal() or value.replace(",", "").isdecimal():
            continue
        try:
            reply[name] = ",".join([str(await pool.run(number, word)) for word in value.split(",")])
        except KeyError:
            complain(f"unknown {name} {value}")
            good = False
    return good
