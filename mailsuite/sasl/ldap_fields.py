"""pass_attrs, user_attrs, iterate_attrs of a dovecot-ldap.conf.ext: an entry's attributes become fields.

    rules = Attributes("uid=user, userPassword=password, =home=/home/%{ldap:uid}, @x=%{ldap:manager}")
    rules.wanted -> ["uid", "userPassword", "manager"]          [] for all attributes
    rules.fields(entry_values, request, multiple=False) -> (("user", "alice"), ...)

    attr=field            the attribute's value              attr             the same, under its own name
    attr=field=TEMPLATE   with %$ for the value; only where the attribute exists
    =field=TEMPLATE       always                             !attr            fetched for templates only
    @name=TEMPLATE        a DN; that entry's attributes are then attr@name
In templates: %{ldap:attr}, %{ldap:attr:default}, %{ldap_multi:attr:separator:default}, %{ldap_ptr:attr} (the attribute
that attr names), %{ldap_dn}, and all variables of authentication.
Source: Dovecot 2.3's documentation and behaviour (tests/sasl/test_ldap.py).
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mailsuite.base.errors import ConfigError
from mailsuite.config.variables import expand_variables
from mailsuite.sasl.fields import renamed
from mailsuite.sasl.passdb import Field
from mailsuite.sasl.request import AuthRequest

Values = Mapping[str, Sequence[str]]        # attributes, names in lower case
_REFERENCE = re.compile(r"%[^%{]*\{ldap(?:_ptr|_multi)?:([^:}]+)")
DN = ""                                     # the entry's name among its values: no attribute is called so


@dataclass(frozen=True)
class _Rule:
    """attribute: "" for none. template: None for the value itself. pointer: a DN to look at, and no field."""

    field: str
    attribute: str
    template: str | None
    pointer: bool = False


def _split(text: str) -> list[str]:
    """At commas outside of braces."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "{") - (char == "}" and depth > 0)
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


class Attributes:
    """One setting's rules. skip: a field that is not wanted ("password" where a bind checks it)."""

    def __init__(self, text: str, *, skip: str = "") -> None:
        self._rules: list[_Rule] = []
        names: dict[str, None] = {}
        for part in _split(text):
            names |= dict.fromkeys(_REFERENCE.findall(part))
            rule = _rule(part)
            if rule.field != skip or not skip:
                self._rules.append(rule)
                if rule.attribute:
                    names[rule.attribute] = None
        self.wanted = [name for name in names if "@" not in name]
        self.pointers = {rule.field: (rule.template or "", [
            name.partition("@")[0] for name in names if name.partition("@")[2] == rule.field])
            for rule in self._rules if rule.pointer}

    def pointed(self, name: str, values: Values, request: AuthRequest) -> str:
        """The DN of a pointer; "" where it points nowhere."""
        return expand_variables(self.pointers[name][0], _Variables(request, values, "", lambda text: None))

    def fields(self, values: Values, request: AuthRequest, *, multiple: bool = False,
               warn: Callable[[str], None] = lambda text: None) -> tuple[Field, ...]:
        """All fields; one without a value is None. multiple: gid takes all values, as a user database's may."""
        now = copy.copy(request)                # a field user changes %u for those after it
        found: list[Field] = []
        for rule in self._rules:
            if rule.pointer or not rule.field:
                continue
            name = _expanded(rule.field, now, values, "", warn)
            for value in _values(rule, now, values, multiple, warn):
                found.append((name, value))
                if value and (user := renamed(now.user, name, value)):
                    now.user = user
        return tuple(found)


def _values(rule: _Rule, request: AuthRequest, values: Values, multiple: bool,
            warn: Callable[[str], None]) -> list[str | None]:
    here = list(values.get(rule.attribute.lower(), ())) if rule.attribute else []
    if rule.attribute and not here:
        return [None]
    if rule.template is None and multiple and rule.field == "gid":
        return [",".join(here)]
    if len(here) > 1:
        warn(f"Multiple values found for '{rule.field}', using value '{here[0]}'"
             if rule.field != "password" else "Multiple values found for 'password', using the first")
    if rule.template is None:
        return [here[0]]
    return [_expanded(rule.template, request, values, here[0] if here else "", warn)]


def _rule(part: str) -> _Rule:
    attribute, equals, name = part.partition("=")
    if not equals:
        if part.startswith("!"):
            return _Rule("", part[1:].strip(), None)
        return _Rule(part, part, None)
    if part.startswith("@"):
        return _Rule(attribute[1:], "", name, pointer=True)
    name, equals, template = name.partition("=")
    if not name:
        raise ConfigError(f"Invalid attrs entry: {part}")
    if not equals:
        return _Rule(name, attribute, None if attribute else "")
    return _Rule(name, attribute, template if "%" in template else template + "%$")


def _expanded(template: str, request: AuthRequest, values: Values, own: str, warn: Callable[[str], None]) -> str:
    return expand_variables(template, _Variables(request, values, own, warn)) if "%" in template else template


class _Variables(Mapping[str, str]):
    """The request's variables, %$ and the functions ldap:, ldap_multi:, ldap_ptr:."""

    def __init__(self, request: AuthRequest, values: Values, own: str, warn: Callable[[str], None]) -> None:
        self._known, self._values, self._warn = request.variables() | {"$": own}, values, warn

    def __getitem__(self, name: str) -> str:
        function, colon, argument = name.partition(":")
        if function == "ldap" and colon:
            return self._one(argument)
        if function == "ldap_multi" and colon:
            attribute, _, rest = argument.partition(":")
            separator, _, default = rest.partition(":")
            found = self._values.get(attribute.lower(), ())
            return (separator or " ").join(found) if found else default
        if function == "ldap_ptr" and colon:
            pointer, _, default = argument.partition(":")
            inner = self._one(pointer)
            suffix = "@" + pointer.partition("@")[2] if "@" in pointer else ""
            return self._one(f"{inner}{suffix}:{default}") if inner else default
        if function == "ldap_dn":
            return self._one(DN)
        return self._known[name]

    def _one(self, argument: str) -> str:
        attribute, _, default = argument.partition(":")
        found = self._values.get(attribute.lower(), ())
        if len(found) > 1:
            self._warn(f"Multiple values found for '{attribute}', using the first")
        return found[0] if found else default

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
