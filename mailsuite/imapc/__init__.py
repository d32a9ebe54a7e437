"""The client side of IMAP, for moving mail from and to other servers.

`account.py` says where an account is and how to get in; `response.py` makes values of what a server says (no I/O);
`wire_client.py` is the connection (sockets, TLS, limits, time-outs), `login_client.py` gets in, `connection_client.py`
gives commands, of which `folder_client.py`, `fetch_client.py` and `client.py` have those that a synchronization needs.
Everything blocks: it runs in a thread of its own.
"""
