"""Variable envelope return paths: the recipient as a part of the sender address, so that a notice tells who failed.

    verp_sender("+=", "owner-list@a.test", recipient) -> "owner-list+user=b.test@a.test"

Source: VERP_README.
"""

from mailsuite.address.syntax import split_domain
from mailsuite.queue.envelope import Recipient


def verp_sender(delimiters: str, sender: str, recipient: Recipient) -> str:
    """The sender address of one recipient's copy. delimiters: two characters. The recipient is named as the sender
    gave it: before aliases, and without a domain that he left out."""
    local, domain = split_domain(sender)
    user, site = split_domain(recipient.original or recipient.address)
    named = f"{local}{delimiters[0]}{user}" + (f"{delimiters[1]}{site}" if site else "")
    return f"{named}@{domain}" if domain else named
