"""Password schemes, against values that Dovecot made."""

import pytest

from mailsuite.sasl import schemes
from mailsuite.sasl.md5state import digest_from

KNOWN = [
    ("PLAIN", "secret", "secret"),
    ("SHA512-CRYPT", "$6$/.GHcjHhXf1tlLeB$LM5xZKc61E1m4wJxNevx1TB7GX2.kgHjoTSjswV.6r.8Bgvi0oJokXGWxXWiudb4W9ZzkKJDOb1V"
     "qnyti.brG/", "secret-sha512-crypt"),
    ("CRYPT", "$1$7hvxFnhL$dw8iGSyQ5O7mKPzcJ4Z9D.", "secret-md5-crypt"),
    ("BLF-CRYPT", "$2y$05$CxViy70ktlC77BecYDX3su.af6XdGqZW6EYGCbMWBLGXBmU/UJ7Zy", "secret-blf-crypt"),
    ("SSHA256", "OmPWKcLk+w3/XOLipajUtaujCWM2IUq6bSv7DNGmQzn45j2O", "secret-ssha256"),
    ("SSHA", "Ah8Joz3HraGoYsNXPLTMzdiCv9uasUCJ", "secret-ssha"),
    ("SHA256", "K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=", "secret"),
    ("SHA256.hex", "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b", "secret"),
    ("SHA", "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4", "secret"),
    ("PLAIN-MD5", "5ebe2294ecd0e0f08eab7690d2a6ee69", "secret"),
    ("DIGEST-MD5", "4842575394a190ef4c973253ba19099c", "secret"),
    ("CRAM-MD5", "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56", "secret"),
    ("SCRAM-SHA-256", "4096,SsTg56H1nMDFKI59GicwwA==,fr0eUsY98tNxRXR8/TzdTsya5Lp0p0toGW3J3S0hTao=,"
     "v3TVDBCxlcJdQfnVap8kx6R2oK8IR8/wBPv8SZ06WSo=", "secret-scram-sha-256"),
]


@pytest.mark.parametrize(("scheme", "stored", "password"), KNOWN, ids=[row[0] for row in KNOWN])
def test_known_values(scheme: str, stored: str, password: str) -> None:
    assert schemes.verify(scheme, stored, password.encode(), "alice@example.test")
    assert not schemes.verify(scheme, stored, b"wrong", "alice@example.test")


@pytest.mark.parametrize("scheme", [name for name in schemes.SCHEMES if not name.startswith("ARGON2I")])
def test_what_is_generated_verifies(scheme: str) -> None:
    stored = schemes.generate(scheme, b"pass word", "a@b.test")
    assert schemes.verify(scheme, stored, b"pass word", "a@b.test")
    assert not schemes.verify(scheme, stored, b"pass Word", "a@b.test")


def test_argon2_with_little_memory() -> None:
    stored = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$Qh9ehoiZqOGjKRaEkXbMMA"
    assert not schemes.verify("ARGON2ID", stored, b"wrong", "")


@pytest.mark.parametrize(("scheme", "stored"), [
    pytest.param("NOSUCH", "x", id="unknown scheme"),
    pytest.param("SHA.b32", "x", id="unknown encoding"),
    pytest.param("SSHA256", "short", id="not base64"),
    pytest.param("SHA256", "c2hvcnQ=", id="too short a digest"),
    pytest.param("SSHA256", "c2hvcnQ=", id="no salt"),
    pytest.param("SCRAM-SHA-256", "4096,x", id="too few parts"),
    pytest.param("ARGON2ID", "$argon2id$", id="broken argon2"),
    pytest.param("PBKDF2", "$1$salt$x$00", id="broken pbkdf2"),
    pytest.param("CRYPT", "$9$unknown$x", id="unknown crypt method"),
])
def test_broken_ones_are_errors(scheme: str, stored: str) -> None:
    with pytest.raises(schemes.SchemeError):
        schemes.verify(scheme, stored, b"x", "")


def test_nul_in_a_password_is_no_match() -> None:
    assert not schemes.verify("MD5-CRYPT", "$1$7hvxFnhL$dw8iGSyQ5O7mKPzcJ4Z9D.", b"secret-md5-crypt\0x", "")


@pytest.mark.parametrize(("text", "want"), [
    ("{SSHA}abc", ("SSHA", "abc")),
    ("abc", ("CRYPT", "abc")),
    ("{noend", ("CRYPT", "{noend")),
    ("{PLAIN}", ("PLAIN", "")),
])
def test_split(text: str, want: tuple[str, str]) -> None:
    assert schemes.split_scheme(text, "CRYPT") == want


def test_cram_secret_signs_like_the_password() -> None:
    import hashlib
    import hmac

    state = schemes.cram_md5_state(b"secret")
    for length in (0, 1, 54, 55, 56, 63, 64, 200):
        message = b"x" * length
        ours = digest_from(state[:16], digest_from(state[16:], message))
        assert ours == hmac.digest(b"secret", message, hashlib.md5)


@pytest.mark.parametrize(("mechanism", "scheme", "stored", "there"), [
    ("CRAM-MD5", "PLAIN", "secret", True),
    ("CRAM-MD5", "HMAC-MD5", "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56", True),
    ("CRAM-MD5", "SHA512-CRYPT", "$6$x$y", False),
    ("SCRAM-SHA-256", "CLEARTEXT", "secret", True),
    ("SCRAM-SHA-256", "SCRAM-SHA-1", "4096,c2FsdA==,eA==,eA==", False),
])
def test_secret_for_a_challenge(mechanism: str, scheme: str, stored: str, there: bool) -> None:
    assert (schemes.secret_for(mechanism, scheme, stored, "a") is not None) == there
