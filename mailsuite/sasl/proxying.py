"""What the auth service adds when a password database says `proxy` or `proxy_maybe`: a login goes on to another server.

    await finish_proxying(request, password, self_addresses)       after the password was right

`pass`: the password that the client gave, unless the database names one. `master`: who logs in as another.
`hostip`: the address of `host`, when that is a name. `proxy_maybe` becomes `proxy`, or the fields go where host, port
and destuser are the connection's own: then the login is served here.
Raises: TemporaryError when the name of the host cannot be resolved.
Source: Dovecot's documentation of proxies (passdb extra fields).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Collection

from mailsuite.base.errors import TemporaryError
from mailsuite.base.secret import Secret
from mailsuite.sasl.request import AuthRequest

LOOKUP_TIMEOUT_S = 10.0


async def finish_proxying(request: AuthRequest, password: Secret | None, self_addresses: Collection[str] = ()) -> None:
    """Complete the fields of a request that was granted."""
    fields = request.fields
    if "proxy" not in fields and "proxy_maybe" not in fields:
        return
    host = fields.get("host", "")
    addresses = await _addresses(host) if host and "hostip" not in fields else [fields.get("hostip", "")]
    if "proxy_maybe" in fields:
        ours = {request.facts.get("lip", ""), *self_addresses} - {""}
        if ours.intersection(addresses) and _same_place(request):
            stay = "proxy_always" not in fields
            for name in [name for name in fields if name in _HOST or name.startswith("proxy")]:
                del fields[name]
            if stay:
                return
            fields["proxy"] = ""        # to be passed on all the same: whoever reads this chooses the host
        else:
            del fields["proxy_maybe"]
            fields["proxy"] = ""
    if host and not _is_address(host):
        fields.setdefault("hostip", addresses[0])
    if password is not None:
        fields.setdefault("pass", password.reveal().decode("utf-8", "surrogateescape"))
    if request.master_user:
        fields.setdefault("master", request.master_user)


_HOST = frozenset({"host", "port", "destuser"})


def _same_place(request: AuthRequest) -> bool:
    fields = request.fields
    port = fields.get("port", "")
    return (not port or port == request.facts.get("lport", "")) and fields.get("destuser", request.user) in (
        "", request.user)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


async def _addresses(host: str) -> list[str]:
    if _is_address(host):
        return [str(ipaddress.ip_address(host))]
    try:
        async with asyncio.timeout(LOOKUP_TIMEOUT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or str(error) or "timed out"
        raise TemporaryError("internal error", detail=f"DNS lookup for {host} failed: {why}") from error
    return list(dict.fromkeys(str(answer[4][0]) for answer in found))
