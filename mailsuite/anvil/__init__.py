"""anvil: how often a client comes, counted once for all processes of the suite.

`counts.py` counts; `server.py` is the service (master.cf's `anvil`); `client.py` is what smtpd has of it;
`board.py` is the shared memory by which a connection costs no question; `client_key.py` says what counts as one client.
"""
