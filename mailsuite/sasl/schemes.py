"""Password schemes: what stands before a stored password in braces, e.g. {SHA512-CRYPT}$6$...

    scheme, stored = split_scheme("{SSHA256}OmPW...", "CRYPT")     raises SchemeError for an unknown one
    verify(scheme, stored, password, user)       True, False; raises SchemeError for a broken stored password
    generate("SSHA256", password, user) -> "OmPW..."
    is_slow(scheme, stored)                      belongs into the pool of threads

An encoding may follow the name (".b64", ".hex"); else hex and base64 are told apart by length, as Dovecot does.
`convert` is for mechanisms that never see the password (CRAM-MD5, SCRAM): they need it in their own scheme, or plain.
"""

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from mailsuite.base.errors import MailError
from mailsuite.sasl.crypt import crypt, gensalt

PASSWORD_LIMIT = 512             # octets that crypt(3) takes; bcrypt looks at the first 72 of them
ROUNDS_LIMIT = 10_000_000        # of PBKDF2 and SCRAM in a stored password: more is a slip or an attack
BCRYPT_ROUNDS = 5                # Dovecot's default for BLF-CRYPT
SCRAM_ROUNDS = 4096              # Dovecot's for the SCRAM schemes
_HASHES_OF_SCRAM = {"SCRAM-SHA-1": "sha1", "SCRAM-SHA-256": "sha256"}
_SALT_KEY = os.urandom(32)
SALT_ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class SchemeError(MailError):
    """A scheme that is not known, or a stored password that is not of its scheme; detail tells the administrator."""


@dataclass(frozen=True)
class Scheme:
    """verify(stored, password, user), generate(password, user, rounds); size: octets of a digest, 0 for text.

    salted: a salt follows the digest. slow: more than a millisecond for one hash.
    """

    name: str
    generate: Callable[[bytes, str, int], bytes]
    verify: Callable[[bytes, bytes, str], bool] | None = None
    size: int = 0
    text: bool = True
    slow: bool = False
    hex_default: bool = False


# --- text schemes ---------------------------------------------------------------------------------------------------


def _plain(password: bytes, user: str, rounds: int) -> bytes:
    return password


def _salt(length: int) -> str:
    return "".join(SALT_ALPHABET[octet & 63] for octet in os.urandom(length))


def _hashed(password: bytes, setting: str, name: str) -> bytes:
    hashed = crypt(password, setting)
    if hashed is None:
        too_long = len(password) > PASSWORD_LIMIT
        raise SchemeError("crypt() failed", detail=f"{name}: " + (
            f"the password has more than {PASSWORD_LIMIT} octets" if too_long else
            "the password has a NUL" if b"\0" in password else "crypt() does not know it on this system"))
    return hashed.encode()


def _crypt_generator(name: str, prefix: str, salt_length: int) -> Callable[[bytes, str, int], bytes]:
    """rounds: only SHA's methods have them, 1,000 to 999,999,999."""
    def generate(password: bytes, user: str, rounds: int) -> bytes:
        many = f"rounds={min(max(rounds, 1000), 999_999_999)}$" if rounds and prefix in ("$5$", "$6$") else ""
        return _hashed(password, f"{prefix}{many}{_salt(salt_length)}", name)

    return generate


def _bcrypt(password: bytes, user: str, rounds: int) -> bytes:
    """rounds: the logarithm of their number, 4 to 31."""
    encoded = base64.b64encode(os.urandom(16)).decode().rstrip("=").translate(_TO_BCRYPT)
    return _hashed(password, f"$2y${min(max(rounds or BCRYPT_ROUNDS, 4), 31):02d}${encoded}", "BLF-CRYPT")


def _yescrypt(password: bytes, user: str, rounds: int) -> bytes:
    """rounds: crypt(5)'s cost, 1 to 11; 5 as Debian's passwd uses it."""
    setting = gensalt("$y$", min(max(rounds or 5, 1), 11))
    if setting is None:
        raise SchemeError("crypt() failed", detail="YESCRYPT: crypt() does not know it on this system")
    return _hashed(password, setting, "YESCRYPT")


_TO_BCRYPT = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
                           "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


def _verify_crypt(stored: bytes, password: bytes, user: str) -> bool:
    if not stored or b"\0" in password or len(password) > PASSWORD_LIMIT:
        return False            # nothing stored is no empty password: the field may have been forgotten
    hashed = crypt(password, stored.decode("utf-8", "surrogateescape"))
    if hashed is None:
        if stored.startswith((b"$", b"_")):
            raise SchemeError("Unknown crypt method", detail="crypt() failed: Invalid argument")
        return False            # "*", "!" and the like lock an account
    return hmac.compare_digest(hashed.encode(), stored)


def _verify_md5(stored: bytes, password: bytes, user: str) -> bool:
    """MD5 is MD5-CRYPT, or the bare digest in hex or base64."""
    if stored.startswith(b"$1$"):
        return _verify_crypt(stored, password, user)
    try:
        return verify("PLAIN-MD5", stored.decode("utf-8", "surrogateescape"), password, user)
    except SchemeError:
        raise SchemeError("broken password", detail="Not a valid MD5-CRYPT or PLAIN-MD5 password") from None


def _verify_truncated(stored: bytes, password: bytes, user: str) -> bool:
    """"8-password": where the stored one was cut after 8 octets, only these count."""
    length, dash, known = stored.partition(b"-")
    if not dash or not length.isdigit() and length:
        raise SchemeError("broken password", detail="PLAIN-TRUNC missing length: prefix")
    if len(known) == int(length or b"0") <= len(password):
        password = password[:len(known)]
    return hmac.compare_digest(password, known)


def _verify_argon2(stored: bytes, password: bytes, user: str) -> bool:
    import argon2

    kind = argon2.Type.ID if stored.startswith(b"$argon2id$") else argon2.Type.I
    try:
        return bool(argon2.low_level.verify_secret(stored, password, kind))
    except argon2.exceptions.VerifyMismatchError:
        return False
    except argon2.exceptions.Argon2Error as error:
        raise SchemeError("broken password", detail=f"not a valid argon2 hash: {error}") from error


def _argon2(kind: str) -> Callable[[bytes, str, int], bytes]:
    def generate(password: bytes, user: str, rounds: int) -> bytes:
        import argon2

        # libsodium's "interactive" limits, as Dovecot has them; its higher memory for more rounds is not taken over.
        time_cost, memory_cost, least = (3, 65536, 1) if kind == "ID" else (4, 32768, 3)
        return bytes(argon2.low_level.hash_secret(
            password, os.urandom(16), time_cost=min(max(rounds or time_cost, least), 1000), memory_cost=memory_cost,
            parallelism=1, hash_len=32, type=argon2.Type.ID if kind == "ID" else argon2.Type.I))

    return generate


def _cram_md5(password: bytes, user: str, rounds: int) -> bytes:
    return cram_md5_state(password).hex().encode()


def _verify_cram(stored: bytes, password: bytes, user: str) -> bool:
    return hmac.compare_digest(_cram_state(stored), cram_md5_state(password))


def _cram_state(stored: bytes) -> bytes:
    try:
        state = bytes.fromhex(stored.decode("ascii"))
    except ValueError:
        state = b""
    if len(state) != 32:
        raise SchemeError("broken password", detail="not a valid CRAM-MD5 secret: it has 64 hexadecimal digits")
    return state


def cram_md5_state(password: bytes) -> bytes:
    """MD5's inner and outer states after the keyed pads: what Dovecot stores for CRAM-MD5 (outer first)."""
    from mailsuite.sasl.md5state import state_after

    key = hashlib.md5(password).digest() if len(password) > 64 else password
    key = key.ljust(64, b"\0")
    return state_after(bytes(o ^ 0x5C for o in key)) + state_after(bytes(o ^ 0x36 for o in key))


def _scram(name: str) -> Callable[[bytes, str, int], bytes]:
    def generate(password: bytes, user: str, rounds: int) -> bytes:
        return scram_secret(name, password, os.urandom(16), min(max(rounds, 4096), 1_000_000))

    return generate


def scram_secret(name: str, password: bytes, salt: bytes, rounds: int) -> bytes:
    """"rounds,salt,StoredKey,ServerKey" (RFC 5802 section 3); name: hashlib's."""
    salted = hashlib.pbkdf2_hmac(name, saslprep(password), salt, rounds)
    stored_key = hashlib.new(name, hmac.digest(salted, b"Client Key", name)).digest()
    server_key = hmac.digest(salted, b"Server Key", name)
    b64 = base64.b64encode
    return b"%d,%b,%b,%b" % (rounds, b64(salt), b64(stored_key), b64(server_key))


def saslprep(password: bytes) -> bytes:
    """As RFC 4013 prepares it; one that it does not allow is taken as it is, as most servers do."""
    if password.isascii():
        return password
    from mailsuite.sasl import saslprep

    try:
        return saslprep.saslprep(password.decode()).encode()
    except ValueError:
        return password


def _verify_scram(name: str) -> Callable[[bytes, bytes, str], bool]:
    def verify(stored: bytes, password: bytes, user: str) -> bool:
        rounds, salt, _, _ = split_scram(stored)
        return hmac.compare_digest(scram_secret(name, password, salt, rounds), stored)

    return verify


def split_scram(stored: bytes) -> tuple[int, bytes, bytes, bytes]:
    """rounds, salt, stored key, server key. Raises SchemeError."""
    try:
        rounds, salt, stored_key, server_key = stored.split(b",")
        parts = [base64.b64decode(part, validate=True) for part in (salt, stored_key, server_key)]
        if not 0 < int(rounds) <= ROUNDS_LIMIT:
            raise ValueError(rounds)
        return int(rounds), parts[0], parts[1], parts[2]
    except (ValueError, binascii.Error) as error:
        raise SchemeError("broken password", detail="not a valid SCRAM secret") from error


# --- digests ----------------------------------------------------------------------------------------------------------


def _digest(name: str) -> Callable[[bytes, str, int], bytes]:
    return lambda password, user, rounds: hashlib.new(name, password).digest()


def _salted(name: str) -> Callable[[bytes, str, int], bytes]:
    def generate(password: bytes, user: str, rounds: int) -> bytes:
        salt = os.urandom(4)
        return hashlib.new(name, password + salt).digest() + salt

    return generate


def _verify_salted(name: str) -> Callable[[bytes, bytes, str], bool]:
    size = hashlib.new(name).digest_size

    def verify(stored: bytes, password: bytes, user: str) -> bool:
        if len(stored) <= size:
            raise SchemeError("broken password", detail="digest is too short")
        return hmac.compare_digest(hashlib.new(name, password + stored[size:]).digest(), stored[:size])

    return verify


def _digest_md5(password: bytes, user: str, rounds: int) -> bytes:
    name, _, realm = user.partition("@")
    return hashlib.md5(f"{name}:{realm}:".encode("utf-8", "surrogateescape") + password).digest()


def _md4(password: bytes, user: str, rounds: int) -> bytes:
    from passlib.crypto.digest import lookup_hash

    return bytes(lookup_hash("md4").const(password).digest())


def _pbkdf2(password: bytes, user: str, rounds: int) -> bytes:
    rounds, salt = rounds or 5000, _salt(16).encode()
    return b"$1$%b$%d$%b" % (salt, rounds, hashlib.pbkdf2_hmac("sha1", password, salt, rounds, 20).hex().encode())


def _verify_pbkdf2(stored: bytes, password: bytes, user: str) -> bool:
    try:
        _, version, salt, rounds, digest = stored.split(b"$")
        wanted = bytes.fromhex(digest.decode("ascii"))
        if version != b"1" or not 0 < int(rounds) <= ROUNDS_LIMIT:
            raise ValueError
    except ValueError as error:
        raise SchemeError("broken password", detail="not a valid PBKDF2 hash") from error
    return hmac.compare_digest(hashlib.pbkdf2_hmac("sha1", password, salt, int(rounds), 20), wanted)


_TABLE = [
    Scheme("PLAIN", _plain), Scheme("CLEAR", _plain), Scheme("CLEARTEXT", _plain),
    Scheme("PLAIN-TRUNC", _plain, _verify_truncated),
    Scheme("CRYPT", _bcrypt, _verify_crypt, slow=True),
    Scheme("DES-CRYPT", _crypt_generator("DES-CRYPT", "", 2), _verify_crypt),
    Scheme("MD5", _crypt_generator("MD5", "$1$", 8), _verify_md5, slow=True),
    Scheme("MD5-CRYPT", _crypt_generator("MD5-CRYPT", "$1$", 8), _verify_crypt, slow=True),
    Scheme("SHA256-CRYPT", _crypt_generator("SHA256-CRYPT", "$5$", 16), _verify_crypt, slow=True),
    Scheme("SHA512-CRYPT", _crypt_generator("SHA512-CRYPT", "$6$", 16), _verify_crypt, slow=True),
    Scheme("BLF-CRYPT", _bcrypt, _verify_crypt, slow=True),
    Scheme("YESCRYPT", _yescrypt, _verify_crypt, slow=True),
    Scheme("ARGON2I", _argon2("I"), _verify_argon2, slow=True),
    Scheme("ARGON2ID", _argon2("ID"), _verify_argon2, slow=True),
    Scheme("PBKDF2", _pbkdf2, _verify_pbkdf2, slow=True),
    Scheme("CRAM-MD5", _cram_md5, _verify_cram), Scheme("HMAC-MD5", _cram_md5, _verify_cram),
    Scheme("SCRAM-SHA-1", _scram("sha1"), _verify_scram("sha1"), slow=True),
    Scheme("SCRAM-SHA-256", _scram("sha256"), _verify_scram("sha256"), slow=True),
    Scheme("SHA", _digest("sha1"), size=20, text=False),
    Scheme("SHA1", _digest("sha1"), size=20, text=False),
    Scheme("SHA256", _digest("sha256"), size=32, text=False),
    Scheme("SHA512", _digest("sha512"), size=64, text=False),
    Scheme("SSHA", _salted("sha1"), _verify_salted("sha1"), text=False),
    Scheme("SSHA256", _salted("sha256"), _verify_salted("sha256"), text=False),
    Scheme("SSHA512", _salted("sha512"), _verify_salted("sha512"), text=False),
    Scheme("SMD5", _salted("md5"), _verify_salted("md5"), text=False),
    Scheme("PLAIN-MD5", _digest("md5"), size=16, text=False, hex_default=True),
    Scheme("LDAP-MD5", _digest("md5"), size=16, text=False),
    Scheme("DIGEST-MD5", _digest_md5, size=16, text=False, hex_default=True),
    Scheme("PLAIN-MD4", _md4, size=16, text=False, hex_default=True),
]
SCHEMES = {scheme.name: scheme for scheme in _TABLE}
# Of Dovecot's, but of no use without their mechanisms.
_NOT_HERE = {"OTP": "the mechanism OTP", "SKEY": "the mechanism SKEY", "LANMAN": "the mechanism NTLM",
             "NTLM": "the mechanism NTLM", "RPA": "the mechanism RPA"}


# --- what others call -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def find(name: str) -> tuple[Scheme, str]:
    """The scheme and its encoding ("b64", "hex", "") by name. Raises SchemeError."""
    base, _, encoding = name.partition(".")
    scheme = SCHEMES.get(base.upper())
    encoding = encoding.lower().replace("base64", "b64")
    if scheme is None or encoding not in ("", "b64", "hex"):
        why = f" ({_NOT_HERE[base.upper()]} is not supported)" if base.upper() in _NOT_HERE else ""
        raise SchemeError("unknown scheme", detail=f"Unknown scheme {name}{why}")
    return scheme, encoding


def split_scheme(text: str, default: str) -> tuple[str, str]:
    """Scheme name and stored password; "$1$..." needs no braces where crypt would read it."""
    if text.startswith("{"):
        name, brace, rest = text[1:].partition("}")
        if brace:
            return name, rest
    if text.startswith("$1$") and (end := text.find("$", 3)) > 0:
        last = text.find("$", end + 1)
        return "MD5-CRYPT", text if last < 0 else text[:last]
    return default, text


def verify(scheme_name: str, stored: str, password: bytes, user: str) -> bool:
    """Whether password is the one stored. user: its original name (DIGEST-MD5). Raises SchemeError."""
    scheme, encoding = find(scheme_name)
    octets = _decode(scheme, encoding, stored)
    if scheme.verify is not None:
        return scheme.verify(octets, password, user)
    return hmac.compare_digest(scheme.generate(password, user, 0), octets)


def generate(scheme_name: str, password: bytes, user: str = "", rounds: int = 0) -> str:
    """A stored password without its {SCHEME}. Raises SchemeError."""
    scheme, encoding = find(scheme_name)
    octets = scheme.generate(password, user, rounds)
    if encoding == "hex" or (scheme.hex_default and not encoding):
        return octets.hex()
    if encoding == "b64" or not scheme.text:
        return base64.b64encode(octets).decode()
    return octets.decode("utf-8", "surrogateescape")


@lru_cache(maxsize=256)
def is_slow(scheme_name: str) -> bool:
    try:
        return find(scheme_name)[0].slow
    except SchemeError:
        return False


def secret_for(mechanism_scheme: str, scheme_name: str, stored: str, user: str) -> bytes | None:
    """What a challenge mechanism checks against, made of a stored password; None: it is stored in another scheme.

    mechanism_scheme: "CRAM-MD5", "SCRAM-SHA-256"... The answer is in that scheme, decoded.
    """
    scheme, encoding = find(scheme_name)
    wanted, _ = find(mechanism_scheme)
    aliases = {"HMAC-MD5": "CRAM-MD5", "CLEAR": "PLAIN", "CLEARTEXT": "PLAIN"}
    name = aliases.get(scheme.name, scheme.name)
    octets = _decode(scheme, encoding, stored)
    if name == wanted.name:
        return _cram_state(octets).hex().encode() if name == "CRAM-MD5" else octets
    if name == "PLAIN":
        if wanted.name.startswith("SCRAM-"):
            # One salt for a user while this process lives, as a stored secret has: an old password is known again.
            salt = hmac.digest(_SALT_KEY, user.encode("utf-8", "surrogateescape"), "sha256")[:16]
            return scram_secret(_HASHES_OF_SCRAM[wanted.name], octets, salt, SCRAM_ROUNDS)
        return wanted.generate(octets, user, 0)
    return None


def _decode(scheme: Scheme, encoding: str, stored: str) -> bytes:
    raw = stored.encode("utf-8", "surrogateescape")
    if scheme.text and not encoding:
        return raw
    in_hex = encoding == "hex" or (not encoding and scheme.size and len(raw) == scheme.size * 2)
    try:
        octets = bytes.fromhex(raw.decode("ascii")) if in_hex else base64.b64decode(raw, validate=True)
    except ValueError as error:
        raise SchemeError("broken password", detail=f"Input isn't valid {'HEX' if in_hex else 'base64'} encoded data"
                          ) from error
    if scheme.size and len(octets) != scheme.size:
        raise SchemeError("broken password",
                          detail=f"Input length isn't valid ({len(octets)} instead of {scheme.size})")
    return octets
