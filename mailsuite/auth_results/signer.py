"""Mail of our own users gets DKIM signatures; mail from others that leaves again gets an ARC seal.

    signer = Signer(settings, source, ring, rewriter)
    cleanup.last.append(signer)

An Inspector (queue/inspection.py), the last one. Signed is, when From: is of a domain in dkim_sign_domains: what came
from clients who logged in or are in dkim_sign_networks, from local programs, and our own notices; nothing of strangers.
Sealed is what the verifier saw and what has a recipient elsewhere; the chain's state is read from our own header.
Raises: TemporaryError when a table or a key cannot be read: mail is not sent unsigned, it waits.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from mailsuite.auth_results import params
from mailsuite.auth_results.arc import next_instance, seal
from mailsuite.auth_results.canonical import BodyForm
from mailsuite.auth_results.content import FieldIndex
from mailsuite.auth_results.dkim import SignOptions, hashes_of, sign
from mailsuite.auth_results.dkim_signature import DkimError, parse_signature
from mailsuite.auth_results.dmarc import from_domains
from mailsuite.auth_results.header import is_from, method_result
from mailsuite.auth_results.key_ring import KeyRing
from mailsuite.auth_results.keys import KeyUnusable, PrivateKey
from mailsuite.auth_results.verifier import is_judged_by_us
from mailsuite.base.errors import ConfigError, TemporaryError
from mailsuite.base.log import logger
from mailsuite.maps.maps import open_maps
from mailsuite.maps.matchlist import AddressList
from mailsuite.queue.envelope import Envelope, Handling
from mailsuite.queue.inspection import InsertHeader, Inspected, Inspection

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings
    from mailsuite.maps.maps import MapSource
    from mailsuite.rewrite.rewriter import Rewriter

log = logger("cleanup")
RECIPIENTS_LOOKED_AT = 1000
_LOCAL_CLASSES = frozenset({"local", "virtual_mailbox", "virtual_alias"})


class Signer:
    """One per process. ring None: nothing is signed. Raises ConfigError for an arc_seal that cannot be."""

    def __init__(self, settings: "Settings", source: "MapSource", ring: KeyRing | None, rewriter: "Rewriter", *,
                 clock: Callable[[], float] = time.time) -> None:
        self.ring, self._rewriter, self._clock = ring, rewriter, clock
        self._domains = open_maps(settings[params.DKIM_SIGN_DOMAINS], source)
        self._networks = AddressList(settings[params.DKIM_SIGN_NETWORKS], source, name="dkim_sign_networks")
        self._hostname = settings[params.AUTH_RESULTS_HOSTNAME].lower()
        header, _, body = settings[params.DKIM_SIGN_CANONICALIZATION].partition("/")
        names = tuple(name.encode("utf-8") for name in settings[params.DKIM_SIGN_HEADERS])
        if b"from" not in {name.lower() for name in names}:
            names = (b"From", *names)       # RFC 6376 section 5.4
        oversigned = frozenset(name.lower().encode("utf-8") for name in settings[params.DKIM_OVERSIGN_HEADERS])
        self._options = SignOptions(names, oversigned, header == "relaxed", body == "relaxed",
                                    settings[params.DKIM_SIGN_LIFETIME])
        self._seal_names = (*names, b"DKIM-Signature")
        self._seals = settings[params.ARC_SEAL]
        if self._seals and self._seals.count(":") < 2:
            raise ConfigError(f"arc_seal = {self._seals}: use domain:selector:keyfile")

    @property
    def wanted(self) -> bool:
        """Whether there is anything to sign or seal with."""
        return self.ring is not None and not (self._domains.empty and not self._seals)

    async def inspect(self, message: Inspected) -> Inspection:
        if self.ring is None:
            return Inspection()
        if not self._domains.empty and await self._is_ours(message.envelope):
            return await self._sign(message)
        forwarded = message.envelope.program == "local" and message.envelope.origin.client_address
        if self._seals and (is_judged_by_us(message.envelope) or forwarded):
            return await self._seal(message)
        return Inspection()

    # --- DKIM ---------------------------------------------------------------------------------------------------

    async def _is_ours(self, envelope: Envelope) -> bool:
        """Whether we vouch for whoever sent it."""
        if envelope.verify == "verify":
            return False
        if envelope.is_bounce or envelope.program not in ("smtpd", "pickup", "local"):
            return True
        if Handling.MILTER not in envelope.handling:
            return False
        if envelope.program == "pickup":
            return True
        origin = envelope.origin
        if envelope.program == "local":         # forwarded: the mail of whoever sent it first
            return False
        return bool(origin.sasl_username) or await self._networks.matches(origin.client_address)

    async def _sign(self, message: Inspected) -> Inspection:
        index = FieldIndex(message.fields)
        authors = from_domains(index).domains
        keys = await self._keys(authors[0]) if authors else []
        keys = [key for key in keys if not _has_signature(index, key)]
        if not keys:
            return Inspection()
        form = BodyForm(self._options.relaxed_body)
        body = (await hashes_of(message, {form}))[form]
        now = self._clock()
        # Below our Received:, which a signature does not cover: whoever reads the header finds the hop first.
        place = next((at + 1 for at, field in enumerate(message.fields[:20]) if field.name.lower() == b"received"), 0)
        edits: list[InsertHeader] = []
        for key in keys:
            value = (await asyncio.to_thread(sign, index, body, key, self._options, now) if key.slow
                     else sign(index, body, key, self._options, now))
            edits.insert(0, InsertHeader(place, "DKIM-Signature", value))
            log.info("%s: DKIM-Signature field added (s=%s, d=%s)", message.queue_id, key.selector, key.domain)
        return Inspection([*edits])

    async def _keys(self, domain: str) -> list[PrivateKey]:
        """Those of the domain, or of the nearest one above it that the table has with a dot in front."""
        assert self.ring is not None
        value = await self._domains.find(domain)
        signs = domain
        above = domain
        while value is None and "." in above:
            above = above.partition(".")[2]
            signs, value = above, await self._domains.find("." + above, partial=True)
        if value is None:
            return []
        try:
            return self.ring.keys(signs, value)
        except KeyUnusable as error:
            raise TemporaryError("cannot sign the message now", detail=error.public) from error

    # --- ARC ----------------------------------------------------------------------------------------------------

    async def _seal(self, message: Inspected) -> Inspection:
        """RFC 8617 section 5.1."""
        assert self.ring is not None
        index = FieldIndex(message.fields)
        own = next((field for field in index.all(b"authentication-results") if is_from(field.value, self._hostname)
                    and method_result(field.value, "arc")), None)
        if own is None or not await self._leaves(message):
            return Inspection()
        chain = method_result(own.value, "arc")
        instance = next_instance(index)
        if not instance or (instance > 1 and chain == "none"):
            return Inspection()
        domain, selector, name = (word.strip() for word in self._seals.split(":", 2))
        try:
            key = self.ring.key(domain, selector, name)
        except KeyUnusable as error:
            raise TemporaryError("cannot seal the message now", detail=error.public) from error
        options = SignOptions(self._seal_names, frozenset(), True, True, 0, instance)
        form = BodyForm(relaxed=True)
        body = (await hashes_of(message, {form}))[form]
        results = own.value.decode("utf-8", "surrogateescape")
        try:
            fields = seal(index, body, key, results=results, chain=chain, options=options, now=self._clock())
        except DkimError:
            return Inspection()                 # a chain that is not whole cannot be continued
        log.info("%s: ARC set %d added (s=%s, d=%s, cv=%s)", message.queue_id, instance, key.selector, key.domain,
                 chain)
        return Inspection([InsertHeader(0, name, value) for name, value in reversed(fields)])

    async def _leaves(self, message: Inspected) -> bool:
        """Whether a recipient is elsewhere."""
        sender = message.envelope.sender
        for recipient in message.recipients[:RECIPIENTS_LOOKED_AT]:
            resolution = await self._rewriter.resolve(sender, recipient.address)
            if resolution.address_class not in _LOCAL_CLASSES:
                return True
        return False


def _has_signature(index: FieldIndex, key: PrivateKey) -> bool:
    """Whether a signature of this key is there already, e.g. behind a content filter."""
    for field in index.all(b"dkim-signature")[:20]:
        try:
            known = parse_signature(field.value)
        except DkimError:
            continue
        if (known.domain, known.selector) == (key.domain, key.selector):
            return True
    return False
