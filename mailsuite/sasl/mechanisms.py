"""The mechanisms by name, in one table: what auth_mechanisms may name, with the flags of their MECH lines."""

from collections.abc import Iterable

from mailsuite.base.errors import ConfigError
from mailsuite.sasl import mech_challenge, mech_oauth, mech_plain, mech_scram
from mailsuite.sasl.mech import Mech

_TABLE = [
    Mech("PLAIN", mech_plain.plain, ("plaintext",), mech_plain.plain_claim),
    Mech("LOGIN", mech_plain.login, ("plaintext",)),
    Mech("CRAM-MD5", mech_challenge.cram_md5, ("dictionary", "active")),
    Mech("DIGEST-MD5", mech_challenge.digest_md5, ("dictionary", "active", "mutual-auth")),
    Mech("SCRAM-SHA-1", mech_scram.scram_sha_1, ("mutual-auth",)),
    Mech("SCRAM-SHA-1-PLUS", mech_scram.scram_sha_1_plus, ("private", "mutual-auth", "channel-binding")),
    Mech("SCRAM-SHA-256", mech_scram.scram_sha_256, ("mutual-auth",)),
    Mech("SCRAM-SHA-256-PLUS", mech_scram.scram_sha_256_plus, ("private", "mutual-auth", "channel-binding")),
    Mech("OAUTHBEARER", mech_oauth.oauthbearer),
    Mech("XOAUTH2", mech_oauth.xoauth2),
    Mech("APOP", mech_challenge.apop, ("private", "dictionary", "active")),
    Mech("ANONYMOUS", mech_plain.anonymous, ("anonymous",)),
    Mech("EXTERNAL", mech_plain.external),
]
MECHANISMS = {mech.name: mech for mech in _TABLE}


def chosen(names: Iterable[str]) -> dict[str, Mech]:
    """The mechanisms of auth_mechanisms, in its order. Raises ConfigError for one that is not known."""
    found: dict[str, Mech] = {}
    for name in names:
        mech = MECHANISMS.get(name.upper())
        if mech is None:
            raise ConfigError(f"auth_mechanisms: unknown mechanism \"{name}\" (known: {' '.join(MECHANISMS).lower()})")
        found[mech.name] = mech
    return found
