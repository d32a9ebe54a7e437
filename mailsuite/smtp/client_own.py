"""Which addresses are this machine's: those that mail must not loop to, and that connections come from."""

import ipaddress
import socket

from mailsuite.config.settings import Settings
from mailsuite.smtp.client_params import BIND_ADDRESS


def is_address(text: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def my_addresses(settings: Settings, *names: str) -> frozenset[str]:
    """The addresses that mean this machine: inet_interfaces and proxy_interfaces, or those of some of them."""
    found: set[str] = set()
    for name in names or ("inet_interfaces", "proxy_interfaces"):
        for word in settings.text(name).replace(",", " ").split():
            word = word.strip("[]")
            if is_address(word):
                found.add(word)
            elif word == "all":
                found |= _local_addresses()
            elif word == "loopback-only":
                found |= {"127.0.0.1", "::1"}
            else:
                try:
                    found |= {str(info[4][0]) for info in socket.getaddrinfo(word, None, type=socket.SOCK_STREAM)}
                except OSError:
                    continue
    return frozenset(found)


def bind_addresses(settings: Settings, prefix: str) -> dict[bool, str]:
    """The address to connect from, for IPv6 (True) and IPv4; "": any.

    Where smtp_bind_address says nothing and we listen at one address only (a virtual host), mail comes from there too.
    """
    found = {six: settings[BIND_ADDRESS[prefix, six]] for six in (False, True)}
    own = my_addresses(settings, "inet_interfaces")
    for six in (False, True):
        mine = [address for address in own if (":" in address) == six]
        if not found[six] and len(mine) == 1 and not ipaddress.ip_address(mine[0]).is_loopback:
            found[six] = mine[0]
    return found


def _local_addresses() -> set[str]:
    """All addresses of this machine's interfaces, as the kernel lists them."""
    found = {"127.0.0.1", "::1"}
    try:
        with open("/proc/net/fib_trie", encoding="ascii") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for previous, line in zip(lines, lines[1:], strict=False):
        if "/32 host LOCAL" in line:
            found.add(previous.split()[-1])
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            found |= {str(ipaddress.IPv6Address(bytes.fromhex(entry.split()[0]))) for entry in file}
    except OSError:
        pass
    return found
