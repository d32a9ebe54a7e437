"""The orders in which an address or a domain is looked up.

    await find_address(maps, "user+ext@domain", delimiter="+", is_local=...) -> AddressFound(value, extension) | None
    await find_domain(maps, "a.b.test", parents=Parents.DOTTED) -> value | None

Addresses are in internal form (local part without quotes); a key is tried in external form first, then, where the two
differ, in internal form, so `"odd name"@domain` and `odd name@domain` both work in a table; Postfix asks the tables
that rewrite (canonical, virtual, generic) for the external form only, which is `""` for the null address. An
internationalised domain is tried in its other form as well (U-labels, A-labels).
Raises TemporaryError when a table could not be asked.
"""

from collections.abc import Awaitable, Callable
from enum import Flag, auto
from typing import NamedTuple

from mailsuite.address.idna import other_form
from mailsuite.address.syntax import quote_local, split_extension
from mailsuite.maps.maps import Maps


class Strategy(Flag):
    """Which forms of an address are tried, in this order."""

    FULL = auto()           # user+ext@domain
    NO_EXTENSION = auto()   # user@domain
    LOCAL_PART = auto()     # user+ext, user: only when is_local(domain)
    AT_DOMAIN = auto()      # @domain
    DOMAIN = auto()         # domain
    PARENTS = auto()        # parent domains: "b.test" for "a.b.test"
    DOTTED_PARENTS = auto()  # parent domains: ".b.test" for "a.b.test"
    ACCESS = auto()         # localpart@: "user+ext@", "user@" (access tables)


DEFAULT = Strategy.FULL | Strategy.NO_EXTENSION | Strategy.LOCAL_PART | Strategy.AT_DOMAIN


class AddressFound(NamedTuple):
    """value: what the table says. extension: with its delimiter ("+ext") when it was not part of the key, else ""."""

    value: str
    extension: str
    key: str


# Whether "user" alone may stand for user@domain. Raises TemporaryError.
IsLocal = Callable[[str], Awaitable[bool]]


async def _nowhere(domain: str) -> bool:
    return False


async def find_address(maps: Maps, address: str, *, delimiter: str = "",
                       is_local: IsLocal = _nowhere,
                       strategy: Strategy = DEFAULT, external: bool = False) -> AddressFound | None:
    """Look an address up in the forms of strategy. external: with quotes only. Raises TemporaryError."""
    if maps.empty:
        return None
    local, at, domain = address.rpartition("@")
    if not at:
        local, domain = address, ""
    bare, extension = split_extension(local, delimiter) if delimiter else (local, "")
    for key, partial, dropped in _address_keys(strategy, local, bare, extension, at + domain):
        value = await _find_both_forms(maps, key, partial, external)
        if value is not None:
            return AddressFound(value, dropped, key)
    if at and Strategy.LOCAL_PART in strategy and await is_local(domain):
        for key, dropped in ((local, ""), (bare, extension)) if extension else ((local, ""),):
            value = await _find_quoted_or_not(maps, key, True, external)
            if value is not None:
                return AddressFound(value, dropped, key)
    if Strategy.ACCESS in strategy:
        for key, dropped in ((local, ""), (bare, extension)) if extension else ((local, ""),):
            value = await _find_quoted_or_not(maps, key + "@", True, external)
            if value is not None:
                return AddressFound(value, dropped, key + "@")
    if at and Strategy.AT_DOMAIN in strategy:
        value = await _find(maps, "@" + domain, partial=True)
        if value is not None:
            return AddressFound(value, "", "@" + domain)
    if at and Strategy.DOMAIN in strategy:
        value = await find_domain(maps, domain, parents=Strategy.PARENTS in strategy,
                                  dotted=Strategy.DOTTED_PARENTS in strategy, partial=True)
        if value is not None:
            return AddressFound(value, "", domain)
    return None


def _address_keys(strategy: Strategy, local: str, bare: str, extension: str,
                  at_domain: str) -> list[tuple[str, bool, str]]:
    keys: list[tuple[str, bool, str]] = []
    if Strategy.FULL in strategy:
        keys.append((local + at_domain, False, ""))
    if extension and Strategy.NO_EXTENSION in strategy:
        keys.append((bare + at_domain, True, extension))
    return keys


async def _find(maps: Maps, key: str, *, partial: bool) -> str | None:
    """A key that ends in a domain: in a table, U-labels and A-labels mean the same."""
    value = await maps.find(key, partial=partial)
    if value is None and (other := other_form(key)):
        value = await maps.find(other, partial=partial)
    return value


async def _find_both_forms(maps: Maps, key: str, partial: bool, external: bool) -> str | None:
    value = await _find_quoted_or_not(maps, key, partial, external)
    if value is None and (other := other_form(key)):
        value = await _find_quoted_or_not(maps, other, partial, external)
    return value


async def _find_quoted_or_not(maps: Maps, key: str, partial: bool, external: bool) -> str | None:
    quoted = '""' if external and not key else quote_local(key)
    value = await maps.find(quoted, partial=partial)
    if value is None and quoted != key and not external:
        value = await maps.find(key, partial=partial)
    return value


async def find_domain(maps: Maps, domain: str, *, parents: bool = False, dotted: bool = False,
                      partial: bool = False) -> str | None:
    """Look up domain, then its parents without ("b.test") or with ("." + "b.test") a dot in front.

    Parents are partial keys: tables of patterns see the whole name only. Raises TemporaryError.
    """
    value = await _find(maps, domain, partial=partial)
    if value is not None or not (parents or dotted):
        return value
    dot = domain.find(".", 1)
    while dot >= 0 and dot + 1 < len(domain):
        value = await _find(maps, domain[dot:] if dotted else domain[dot + 1:], partial=True)
        if value is not None:
            return value
        dot = domain.find(".", dot + 1)
    return None
