"""Password schemes, against values that Dovecot made."""

import os
import subprocess

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


@pytest.mark.parametrize("scheme", [
    name for name in schemes.SCHEMES if not name.startswith("ARGON2I") and name != "PLAIN-TRUNC"])
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
    pytest.param("OTP", "sha1 1024 x y", id="a scheme of a mechanism that is not here"),
    pytest.param("NTLM", "x", id="NTLM"),
    pytest.param("MD5", "x", id="neither MD5-CRYPT nor a digest"),
    pytest.param("CRAM-MD5", "zz", id="CRAM-MD5 that is no hex"),
    pytest.param("CRAM-MD5", "cd3ba7", id="CRAM-MD5 too short"),
    pytest.param("SCRAM-SHA-256", "99999999999,eA==,eA==,eA==", id="too many rounds"),
    pytest.param("PLAIN-TRUNC", "secret", id="no length"),
    pytest.param("PLAIN.hex", "zz", id="not hex"),
    pytest.param("BLF-CRYPT", "$2y$05$short", id="broken bcrypt"),
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


@pytest.mark.parametrize(("scheme", "stored", "password", "want"), [
    ("CRYPT", "", "", False),                        # a field that was forgotten is no empty password
    ("PLAIN", "", "", True), ("CRYPT", "*", "*", False), ("CRYPT", "!", "", False), ("DES-CRYPT", "x", "x", False),
    ("SHA512-CRYPT", "garbage", "x", False), ("SHA512-CRYPT", "$6$", "x", False),
    ("MD5", "5ebe2294ecd0e0f08eab7690d2a6ee69", "secret", True), ("MD5", "Xr4ilOzQ4PCOq3aQ0qbuaQ==", "secret", True),
    ("MD5", "$1$7hvxFnhL$dw8iGSyQ5O7mKPzcJ4Z9D.", "secret-md5-crypt", True),
    ("CRAM-MD5", "CD3BA7DEAAD6E5CA23448BA42E379747A9E0F7F1FBC00C8A81BBAAC395731B56", "secret", True),
    ("PLAIN-TRUNC", "3-sec", "secret", True), ("PLAIN-TRUNC", "6-sec", "secret", False),
    ("PLAIN-TRUNC", "6-secret", "secretly", True), ("PLAIN-TRUNC", "9-secret", "secret", True),
    ("Plain.B64", "c2VjcmV0", "secret", True), ("PLAIN.HEX", "736563726574", "secret", True),
    ("CRYPT", "$apr1$mJvWo7q4$jkXVsMCG4uw/6t2HDbMeb.", "wrong", False),
    ("CRYPT", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0", "test12345", True),       # phpass' own example
    ("CRYPT", "$sha1$40000$jtNX3nZ2$hBNaIXkt4wBI2o5rsi8KejSjNqIq", "x", False),
    ("CRYPT", "_J9..rasmBYk8r9AiWNc", "U*U*U*", False),
])
def test_as_dovecot_counts(scheme: str, stored: str, password: str, want: bool) -> None:
    assert schemes.verify(scheme, stored, password.encode(), "") is want


@pytest.mark.parametrize("scheme", [name for name in schemes.SCHEMES if name != "PLAIN-TRUNC"])
@pytest.mark.parametrize("password", [b"", "pässwörd".encode(), b"\xff\xfe", b"x" * 73, b"x" * 600, b"nul\0nul"])
def test_odd_passwords_are_answered(scheme: str, password: bytes) -> None:
    """Made and found again, or refused with a reason; looked for, they never crash."""
    rounds = {"PBKDF2": 100, "BLF-CRYPT": 4, "CRYPT": 4, "YESCRYPT": 1, "ARGON2I": 3, "ARGON2ID": 1}
    if scheme.startswith("ARGON2") and password:
        return                      # 64 MB each
    try:
        stored = schemes.generate(scheme, password, "a", rounds.get(scheme, 1000 if "SHA" in scheme else 0))
    except schemes.SchemeError as error:
        assert "crypt() failed" in error.public and ("octets" in error.detail or "NUL" in error.detail)
        stored = schemes.generate(scheme, b"x" * 72, "a", rounds.get(scheme, 0))
        assert not schemes.verify(scheme, stored, password, "a")
    else:
        assert schemes.verify(scheme, stored, password, "a")


@pytest.mark.parametrize(("scheme", "rounds", "start"), [
    ("BLF-CRYPT", 1, "$2y$04$"), ("BLF-CRYPT", 6, "$2y$06$"), ("CRYPT", 0, "$2y$05$"),
    ("SHA512-CRYPT", 10, "$6$rounds=1000$"), ("SHA256-CRYPT", 1500, "$5$rounds=1500$"), ("MD5-CRYPT", 5, "$1$"),
    ("SCRAM-SHA-1", 10, "4096,"), ("PBKDF2", 10, "$1$"), ("ARGON2ID", 0, "$argon2id$v=19$m=65536,t=3,p=1$"),
    ("ARGON2I", 0, "$argon2i$v=19$m=32768,t=4,p=1$"), ("YESCRYPT", 0, "$y$j9T$"),
])
def test_rounds(scheme: str, rounds: int, start: str) -> None:
    assert schemes.generate(scheme, b"x", "a", rounds).startswith(start)


@pytest.mark.parametrize(("text", "want"), [
    ("$1$salt$hash", ("MD5-CRYPT", "$1$salt$hash")), ("$1$salt$hash$more", ("MD5-CRYPT", "$1$salt$hash")),
    ("$1$salt", ("PLAIN", "$1$salt")), ("{}x", ("", "x")),
])
def test_md5_crypt_is_known_by_its_start(text: str, want: tuple[str, str]) -> None:
    assert schemes.split_scheme(text, "PLAIN") == want


DOVEADM = "/usr/bin/doveadm"


@pytest.mark.system
@pytest.mark.skipif(not os.access(DOVEADM, os.X_OK), reason="doveadm is missing (Debian package dovecot-core)")
def test_dovecot_and_we_verify_each_others() -> None:
    """One scheme of each kind, with an encoding each way and a password that is no ASCII."""
    def doveadm(*words: str) -> str:
        done = subprocess.run([DOVEADM, "-O", "pw", "-u", "u@d.test", "-p", "pässwört", *words], capture_output=True,
                              text=True, check=False, timeout=60)
        return done.stdout.strip()

    assert set(doveadm("-l").split()) - set(schemes.SCHEMES) <= {"OTP"}
    for name in ["SSHA.HEX", "SHA512-CRYPT.B64", "BLF-CRYPT", "SCRAM-SHA-256", "CRAM-MD5", "DIGEST-MD5", "PBKDF2",
                 "MD5", "PLAIN-MD4", "ARGON2ID"]:
        scheme, stored = schemes.split_scheme(doveadm("-s", name), "")
        assert schemes.verify(scheme, stored, "pässwört".encode(), "u@d.test"), name
        ours = f"{{{name}}}{schemes.generate(name, 'pässwört'.encode(), 'u@d.test')}"
        assert doveadm("-t", ours) == f"{ours} (verified)"


def test_the_setting_of_2_4_for_weak_schemes_is_accepted() -> None:
    from mailsuite.config.dovecot import DovecotSettings

    settings = DovecotSettings.of("dovecot_config_version = 2.4.0\nauth_allow_weak_schemes = yes\n")
    assert not settings.warnings
