"""Internationalised domains: U-labels for people, A-labels for the DNS.

    to_ascii("bücher.test") -> "xn--bcher-kva.test"      to_unicode("xn--bcher-kva.test") -> "bücher.test"

What is not valid under IDNA 2008 stays as it is. Source: RFC 5890, RFC 6531 section 3.7.1.
"""

from functools import lru_cache


@lru_cache(maxsize=1024)
def to_ascii(domain: str) -> str:
    """The form that the DNS is asked for. Raises ValueError for a domain that has none."""
    if domain.isascii():
        return domain
    import idna

    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"not an internationalised domain: {domain}") from error


@lru_cache(maxsize=1024)
def to_unicode(domain: str) -> str:
    """The form that people read."""
    if "xn--" not in domain.lower():
        return domain
    import idna

    try:
        return idna.decode(domain)
    except (idna.IDNAError, UnicodeError):
        return domain
