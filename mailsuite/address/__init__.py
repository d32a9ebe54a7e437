"""Addresses: syntax of paths and address lists, quoting, domains, IDNA. Pure functions.

syntax.py    SMTP paths, local part and domain, quoting, extension
hostname.py  is that a host name, an address literal, a network address
tokens.py    header text to tokens and back      header.py  address lists in header fields, kept while rewritten
idna.py      internationalised domains

Internal form: the local part without quotes (odd name@d.test). External form: as in SMTP ("odd name"@d.test).
"""
