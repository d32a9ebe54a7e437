"""Address verification: whether an address can be delivered, found out by a probe that stops short of the delivery.

`server.py` is the service verify(8): it remembers (`book.py`), and sends a probe through the queue for what it does not
know. qmgr tells it what became of a probe (`client.py`, VerifyClient.update); smtpd asks it (reject_unverified_sender,
reject_unverified_recipient). Source: ADDRESS_VERIFICATION_README and verify(8) of Postfix.
"""
