"""Certificates, keys and protocol names, in our words and with our errors; sockets and contexts are `net/tls.py`.

    identity.py    a certificate with its key, read from files or from configuration text
    protocols.py   ">=TLSv1.2", "!SSLv2, !SSLv3" -> what an SSLContext is told
    ciphers.py     Postfix's cipher grades and exclusions -> OpenSSL's cipher list
"""
