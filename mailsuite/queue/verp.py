"""Variable envelope return paths: the recipient as a part of the sender address, so that a notice tells who failed.

    verp_sender("+=", "owner-list@a.test", recipient, origin) -> "owner-list+user=b.test@a.test"

Source: VERP_README.
"""

from mailsuite.address.syntax import split_domain
from mailsuite.queue.envelope import Recipient


def verp_sender(delimiters: str, sender: str, recipient: Recipient, origin: str) -> str:
    """The sender address of one recipient's copy. delimiters: two characters. origin: myorigin, for a recipient
    without a domain. The recipient is named as the sender gave it, before aliases."""
    local, domain = split_domain(sender)
    user, site = split_domain(recipient.original or recipient.address)
    named = f"{local}{delimiters[0]}{user}{delimiters[1]}{site or origin}"
    return f"{named}@{domain}" if domain else named
