"""virtual_alias_maps: one recipient becomes many, again and again until nothing more is found.

    await expand(mapping, "info@alias.test", limits) -> ["alice@example.test", "bob@example.test"]

An address may stand in its own expansion once (to keep a copy). Raises PermanentError (status 4.6.0, detail for the
log) for what would not end, TemporaryError when a table could not be asked.
"""

from typing import NamedTuple

from mailsuite.base.errors import PermanentError
from mailsuite.rewrite.mapping import AddressMapping


class Limits(NamedTuple):
    """recursion: steps from one address. expansion: addresses in all. length: of one result."""

    recursion: int = 1000
    expansion: int = 1000
    length: int = 1000


def _endless(what: str) -> PermanentError:
    return PermanentError("Alias expansion error", status="4.6.0",
                          detail=f"unreasonable {what} -- message not accepted, try again later")


async def expand(mapping: AddressMapping, address: str, limits: Limits) -> list[str]:
    """Final recipients, the first occurrence of each."""
    if mapping.empty:
        return [address]
    addresses = [address]
    finished: set[str] = set()      # addresses that expanded to themselves
    number = 0
    while number < len(addresses):
        if len(addresses) > limits.expansion:
            raise _endless(f"{mapping.name} map expansion size for {address}")
        steps = 0
        while (current := addresses[number]).lower() not in finished:
            if steps >= limits.recursion:
                raise _endless(f"{mapping.name} map nesting for {address}")
            steps += 1
            found = await mapping.find(current)
            if not found:
                break
            for one in found:
                if len(one) > limits.length:
                    raise _endless(f"{mapping.name} result {one[:300]}...")
                if one.lower() == current.lower():
                    finished.add(current.lower())
            addresses[number] = found[0]
            addresses += found[1:]
        number += 1
    return list(dict.fromkeys(addresses))
