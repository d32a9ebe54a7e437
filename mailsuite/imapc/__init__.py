"""The client side of IMAP, for moving mail from and to other servers.

`response.py` makes values of what a server says (no I/O), `wire_client.py` is the connection (sockets, TLS, limits,
time-outs), `login_client.py` gets in, `client.py` has the commands that a synchronization needs, `account.py` says
where an account is and how to get in. Everything blocks: it runs in a thread of its own.
"""
