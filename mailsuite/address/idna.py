"""Internationalised domains: U-labels for people, A-labels for the DNS.

    to_ascii("bücher.test") -> "xn--bcher-kva.test"      to_unicode("xn--bcher-kva.test") -> "bücher.test"
    other_form("user@bücher.test") -> "user@xn--bcher-kva.test"       the key that means the same; "" when there is none

What is not valid under IDNA 2008 stays as it is. Source: RFC 5890, RFC 6531 section 3.7.1.
"""

from functools import lru_cache

LONGEST = 1000      # characters of a domain that are looked at; a longer one has no other form

@lru_cache(maxsize=1024)
def to_ascii(domain: str) -> str:
    """The form that the DNS is asked for. Raises ValueError for a domain that has none."""
    if domain.isascii():
        return domain
    if len(domain) > LONGEST:
        raise ValueError("domain too long")
    import idna

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"not an internationalised domain: {domain}") from error


@lru_cache(maxsize=1024)
def to_unicode(domain: str) -> str:
    """The form that people read."""
    if "xn--" not in domain.lower() or len(domain) > LONGEST:
        return domain
    import idna

    try:
        return idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return domain


def other_form(key: str) -> str:
    """A table's key with its domain in the other form: "user@domain", "@domain", ".domain" or "domain"."""
    if key.isascii() and "xn--" not in key:
        return ""
    local, at, domain = key.rpartition("@")
    dot = "." if domain[:1] == "." else ""
    domain = domain[len(dot):]
    try:
        other = to_unicode(domain) if domain.isascii() else to_ascii(domain)
    except ValueError:
        return ""
    return "" if other == domain else local + at + dot + other
