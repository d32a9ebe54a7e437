"""Which address is meant, and where it goes: functions over tables.

rewriter.py  Rewriter, what others call        trivial.py   standard form: myorigin, source routes, bang paths
resolve.py   class, transport, nexthop         transport.py transport_maps
mapping.py   canonical, generic, bcc           virtual.py   virtual alias expansion
masquerade.py, domains.py (address classes), validate.py (is the recipient known), params.py (parameters)
"""
