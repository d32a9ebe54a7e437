"""Whether a password may be given to a new mailbox.

    weakness("anna1", "anna@demo.test") -> "is shorter than 8 characters"        None: it will do

No dictionary: what is refused here is what guessing programs try first. See: sasl/penalty.py, which slows them down.
"""

LEAST = 8
LONGEST = 1000
_COMMON = frozenset(word for line in (
    "12345678 123456789 1234567890 password password1 password123 passw0rd qwertyui qwertyuiop qwerty123 iloveyou",
    "sunshine princess football baseball superman trustno1 welcome1 abcd1234 abc12345 1q2w3e4r 1qaz2wsx zaq12wsx",
    "q1w2e3r4 letmein1 administrator changeme changeit secret123 test1234 testtest passwort passwort1 passwort123",
    "hallo123 geheim123 11111111 00000000 87654321 88888888 asdfghjk asdfasdf adminadmin admin123 mailmail",
    "rootroot",
) for word in line.split())


def weakness(password: str, address: str) -> str | None:
    """What is wrong with it, to stand behind "the password ..."."""
    low, (local, _, domain) = password.lower(), address.lower().partition("@")
    if not password:
        return "is empty"
    if len(password) < LEAST:
        return f"is shorter than {LEAST} characters"
    if len(password) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if any(not char.isprintable() for char in password):
        return "has a control character"
    if low in _COMMON or low.rstrip("0123456789!.?") in _COMMON:
        return "is one of those that are tried first"
    if len(set(password)) < 5:
        return "has fewer than 5 different characters"
    if local and low.replace(local, "").strip("0123456789!.?-_@") in ("", domain, domain.partition(".")[0]):
        return "is made of the address"
    return None
