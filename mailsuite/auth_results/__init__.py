"""Who a message really comes from: SPF, DKIM, DMARC, ARC, and the header that tells the result.

spf*.py        may this address send for that domain (RFC 7208): record, macros, the check
tags.py        tag=value lists, which DKIM, ARC and DMARC share         canonical.py  what is hashed of a message
dkim*.py       signatures (RFC 6376, 8301, 8463): parsed, verified, made; their keys in DNS and in files
dmarc*.py      the domain in From: and what its owner wants (RFC 7489)   organization.py  whose domain that is
arc*.py        what earlier hops saw (RFC 8617): verified, sealed
header.py      Authentication-Results (RFC 8601)
verifier.py, signer.py     the inspectors (queue/inspection.py) that put all this into the mail
params.py      parameters; everything is off by default

DNS comes in as a `dns.Resolver`; time as an argument; message content as header fields and blocks of body.
"""
