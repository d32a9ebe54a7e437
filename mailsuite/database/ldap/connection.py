"""Connections to directories: TCP, TLS, StartTLS, Unix sockets; bind; search.

    driver = LdapDriver(urls, bind=Bind("simple", "cn=x", Secret(b"y")), tls=LdapTls(...), start_tls=True)
    connection = driver.connect(driver.places[0], deadline)
    connection.search(b"dc=x", Scope.SUBTREE, b"(mail=a)", ["mail"], deadline) -> list[Entry]

Blocking, for one thread at a time. Servers are tried in their order. Referrals are followed when asked for, without
credentials, to a depth of HOP_LIMIT. Raises LdapError (the server's answer), Broken, Unreachable.
"""

import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mailsuite.base.secret import Secret
from mailsuite.database.errors import Broken, QueryError, Unreachable
from mailsuite.database.ldap import messages
from mailsuite.database.ldap.ber import BerError, whole
from mailsuite.database.ldap.filters import FilterError, encode_filter
from mailsuite.database.ldap.messages import Entry, Reference, Result, Scope, text_of
from mailsuite.database.ldap.names import Url, parse_url
from mailsuite.database.pool import Deadline

HOP_LIMIT = 5
REFERRAL = 10
_SERVER = frozenset({51, 52})       # busy, unavailable: another server may do


class LdapError(QueryError):
    """The server's answer to an operation. code: RFC 4511 appendix A; negative: as OpenLDAP's library has them."""

    def __init__(self, code: int, referral: Sequence[str] = ()) -> None:
        super().__init__(f"{code}: {text_of(code)}")
        self.code, self.referral = code, list(referral)


@dataclass(frozen=True)
class LdapTls:
    """Files of certificates. require: the server's certificate must be valid and fit its name."""

    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    ciphers: str = ""
    require: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises OSError (ssl.SSLError too)."""
        context = ssl.create_default_context()
        context.check_hostname = False
        if self.ca_file or self.ca_path:
            context.load_verify_locations(self.ca_file or None, self.ca_path or None)
        if not self.require:
            context.verify_mode = ssl.CERT_NONE
        context.check_hostname = self.require
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file or None)
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        return context


@dataclass(frozen=True)
class Bind:
    """method: "none", "simple" or "sasl". mechanisms: for sasl: EXTERNAL, PLAIN; the first we know is used."""

    method: str = "simple"
    name: str = ""
    password: Secret = Secret(b"")
    mechanisms: tuple[str, ...] = ()
    authorization: str = ""


class LdapPlace:
    """A server, named by its URL."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.url: Url | None = None
        try:
            self.url = parse_url(name)
        except ValueError:
            pass            # told when it is tried, as the library does
        self.local = self.url is not None and bool(self.url.path)


class LdapDriver:
    """Servers with the same directory."""

    in_order = True

    def __init__(self, urls: Sequence[str], *, bind: Bind | None = None, tls: LdapTls | None = None,
                 start_tls: bool = False, version: int = 3, dereference: int = 0, size_limit: int = 0,
                 follow: bool = False) -> None:
        self.places = [LdapPlace(url) for url in urls]
        self.bind, self.tls, self.start_tls = bind or Bind(), tls or LdapTls(), start_tls
        self.version, self.dereference, self.size_limit, self.follow = version, dereference, size_limit, follow

    def connect(self, place: LdapPlace, deadline: Deadline) -> "LdapConnection":
        if place.url is None:
            raise Unreachable(f"dict_ldap_connect: Unable to init LDAP server {place.name}")
        connection = LdapConnection(self, place.url)
        try:
            connection.open(deadline)
            if self.start_tls and place.url.scheme == "ldap":
                connection.begin_tls(deadline)
        except (LdapError, Broken) as error:
            connection.close()
            raise self._unreachable(place, error) from error
        try:
            connection.authenticate(deadline)
        except (LdapError, Broken) as error:
            connection.close()
            raise self._unreachable(place, error) from error
        return connection

    def _unreachable(self, place: LdapPlace, error: LdapError | Broken) -> Unreachable:
        code = error.code if isinstance(error, LdapError) else -5 if error.timed_out else -1
        if isinstance(error, TlsFailed):
            return Unreachable(f"dict_ldap_connect: Unable to set STARTTLS: {error}")
        return Unreachable(f"dict_ldap_connect: Unable to bind to server {place.name} with dn "
                           f"{self.bind.name or 'empty or implicit'}: {code} ({text_of(code)})", cause=error.cause)

    def broken(self, place: LdapPlace, error: Broken) -> str:
        code = -5 if error.timed_out else -1
        return f"dict_ldap_lookup: Search error {code}: {text_of(code)} ({place.name}: {error})"

    def elsewhere(self) -> "LdapDriver":
        """The same for a server that a referral names: it is shown no credentials."""
        return LdapDriver([], bind=replace(self.bind, method="none"), tls=self.tls, version=self.version,
                          dereference=self.dereference, size_limit=self.size_limit)


class TlsFailed(LdapError):
    """The server does not do TLS, or not as we need it."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code)
        self.args = (f"{code}: {why}",)


class LdapConnection:
    """One connection and its dialogue."""

    def __init__(self, driver: LdapDriver, url: Url) -> None:
        self._driver, self._url, self._pid = driver, url, os.getpid()
        self._socket: socket.socket | None = None
        self._buffer, self._number = bytearray(), 0

    # -- octets ----------------------------------------------------------------------------------------------------

    def open(self, deadline: Deadline) -> None:
        """Raises Broken, TlsFailed."""
        url = self._url
        try:
            if url.path:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(deadline.left())
                self._socket.connect(url.path)
            else:
                self._socket = socket.create_connection((url.host, url.port), deadline.left())
        except OSError as error:
            raise _lost(error) from error
        if url.scheme == "ldaps":
            self._wrap(deadline)

    def _wrap(self, deadline: Deadline) -> None:
        assert self._socket is not None
        try:
            self._socket.settimeout(deadline.left())
            self._socket = self._driver.tls.context().wrap_socket(self._socket, server_hostname=self._url.host)
        except ssl.SSLError as error:
            raise TlsFailed(-11, f"Connect error ({error.reason or error})") from error
        except OSError as error:
            raise _lost(error) from error

    def _send(self, message: bytes, deadline: Deadline) -> None:
        if self._socket is None:
            raise Broken("connection is closed")
        try:
            self._socket.settimeout(deadline.left())
            self._socket.sendall(message)
        except OSError as error:
            raise _lost(error) from error

    def _receive(self, number: int, deadline: Deadline) -> Entry | Reference | Result:
        """The next message that belongs to a request; a notice of disconnection is the end."""
        while True:
            try:
                size = whole(self._buffer)
                if size is not None:
                    message = bytes(self._buffer[:size])
                    del self._buffer[:size]
                    found, content = messages.parse(message)
                    if found == number:
                        return content
                    if found == 0:
                        raise Broken("the server says good-bye")
                    continue            # of a search that was given up
            except BerError as error:
                raise Broken(f"not LDAP: {error}") from error
            self._fill(deadline)

    def _fill(self, deadline: Deadline) -> None:
        if self._socket is None:
            raise Broken("connection is closed")
        try:
            self._socket.settimeout(deadline.left())
            block = self._socket.recv(65536)
        except OSError as error:
            raise _lost(error) from error
        if not block:
            raise Broken("lost connection")
        self._buffer += block

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _result(self, number: int, deadline: Deadline) -> Result:
        answer = self._receive(number, deadline)
        if not isinstance(answer, Result):
            raise Broken("unexpected reply")
        return answer

    # -- operations ------------------------------------------------------------------------------------------------

    def begin_tls(self, deadline: Deadline) -> None:
        """StartTLS. Raises TlsFailed, Broken."""
        number = self._next()
        self._send(messages.start_tls_request(number), deadline)
        result = self._result(number, deadline)
        if result.code:
            raise TlsFailed(result.code, text_of(result.code))
        if self._buffer:
            raise Broken("octets before the TLS handshake")         # they were not protected
        self._wrap(deadline)

    def authenticate(self, deadline: Deadline) -> None:
        """Bind as the driver says. Raises LdapError, Broken."""
        if self._driver.bind.method != "none":
            self.bind(self._driver.bind, deadline)

    def bind(self, bind: Bind, deadline: Deadline) -> None:
        """Bind as somebody, whose rights the connection then has. Raises LdapError, Broken."""
        number = self._next()
        if bind.method == "simple":
            request = messages.bind_request(number, self._driver.version, _octets(bind.name), bind.password.reveal())
        else:
            request = messages.sasl_bind_request(number, b"", *self._sasl(bind))
        self._send(request, deadline)
        result = self._result(number, deadline)
        if result.code:
            raise LdapError(result.code)

    @staticmethod
    def _sasl(bind: Bind) -> tuple[str, bytes | None]:
        for mechanism in (name.upper() for name in bind.mechanisms):
            if mechanism == "EXTERNAL":
                return mechanism, _octets(bind.authorization)
            if mechanism == "PLAIN":
                return mechanism, b"\0".join((_octets(bind.authorization), _octets(bind.name), bind.password.reveal()))
        raise LdapError(-6)

    def search(self, base: bytes, scope: Scope, filter: bytes, attributes: Sequence[str], deadline: Deadline, *,
               hops: int = 0) -> list[Entry]:
        """The entries found. Raises LdapError, Broken."""
        try:
            encoded = encode_filter(filter)
        except FilterError as error:
            raise LdapError(-7) from error
        number = self._next()
        driver = self._driver
        self._send(messages.search_request(number, base, scope, encoded, attributes, dereference=driver.dereference,
                                           size_limit=max(0, driver.size_limit)), deadline)
        entries: list[Entry] = []
        while True:
            answer = self._receive(number, deadline)
            if isinstance(answer, Entry):
                entries.append(answer)
            elif isinstance(answer, Reference):
                if driver.follow:
                    entries += self._follow(answer.urls, base, scope, filter, attributes, deadline, hops)
            else:
                break
        if answer.code == REFERRAL and driver.follow:
            return entries + self._follow(answer.referral, base, scope, filter, attributes, deadline, hops)
        if answer.code in _SERVER:
            raise Broken(text_of(answer.code), timed_out=True)
        if answer.code:
            raise LdapError(answer.code, answer.referral)
        return entries

    def _follow(self, urls: Sequence[str], base: bytes, scope: Scope, filter: bytes, attributes: Sequence[str],
                deadline: Deadline, hops: int) -> list[Entry]:
        """Ask the first server of a referral that answers. Raises LdapError."""
        if hops >= HOP_LIMIT:
            raise LdapError(54)
        for text in urls:
            try:
                url = parse_url(text)
            except ValueError:
                continue
            other = self._driver.elsewhere()
            other.follow = True
            connection = LdapConnection(other, url)
            try:
                connection.open(deadline)
                return connection.search(_octets(url.base) or base, url.scope if "?" in text else scope,
                                         _octets(url.filter) if text.count("?") > 2 else filter, attributes, deadline,
                                         hops=hops + 1)
            except Broken as error:
                if error.timed_out:
                    raise
            finally:
                connection.close()
        raise LdapError(REFERRAL, urls)

    def close(self) -> None:
        """Says good-bye without waiting; a child of fork says nothing."""
        if self._socket is None:
            return
        try:
            if self._pid == os.getpid():
                self._socket.settimeout(0.0)
                self._socket.send(messages.unbind(self._next()))
        except (OSError, ValueError):
            pass
        finally:
            self._socket.close()
            self._socket = None


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _lost(error: OSError) -> Broken:
    late = isinstance(error, TimeoutError)
    why = "Connection timed out" if late else error.strerror or str(error)
    return Broken(why, timed_out=late, cause=why)
