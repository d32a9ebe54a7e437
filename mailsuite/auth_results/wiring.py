"""Where mail is signed: a Signer behind a Cleanup, with the keys that were read before rights were dropped.

    def prepare(context): return load_keys(context.settings)             None where nothing is to be signed
    add_signer(cleanup, settings, rewriter, ring)

Services that make no use of it import none of the cryptography.
"""

from typing import TYPE_CHECKING

from mailsuite.auth_results import params
from mailsuite.maps.maps import MapSource

if TYPE_CHECKING:
    from mailsuite.auth_results.key_ring import KeyRing
    from mailsuite.config.settings import Settings
    from mailsuite.queue.cleanup import Cleanup
    from mailsuite.rewrite.rewriter import Rewriter


def load_keys(settings: "Settings") -> "KeyRing | None":
    """Read all private keys; called while root still may."""
    if not settings[params.DKIM_SIGN_DOMAINS] and not settings[params.ARC_SEAL]:
        return None
    from mailsuite.auth_results.key_ring import KeyRing

    return KeyRing.load(settings)


def reload_keys(ring: "KeyRing | None", settings: "Settings") -> "KeyRing | None":
    """After a reload in a process that has dropped its rights."""
    return ring.renewed(settings) if ring is not None else load_keys(settings)


def add_signer(cleanup: "Cleanup", settings: "Settings", rewriter: "Rewriter", ring: "KeyRing | None") -> None:
    """Let what passes cleanup be signed. Raises ConfigError."""
    if ring is None:
        return
    from mailsuite.auth_results.signer import Signer

    signer = Signer(settings, MapSource(settings, "cleanup"), ring, rewriter)
    if signer.wanted:
        cleanup.last.append(signer)
