"""The private authority of demo sites and tests: it signs server certificates that clients are told to trust.

    python -m certs FOLDER HOST...      makes FOLDER/{ca,server}.{crt,key} where missing or spent

Never a production key: who needs a public certificate uses an ACME client.
"""
