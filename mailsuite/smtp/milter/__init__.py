"""Milters: programs beside the server that see mail while it comes in, over Sendmail's milter protocol.

    params.py     smtpd_milters and its kin               settings.py    what they say of one milter
    syntax.py     packets to values and back              session.py     one connection's state, without I/O
    macros.py     {client_addr} and the like              client.py      a session on a socket, with time-outs
    smtpd_server.py    the milters of an SMTP connection  content_client.py    a whole message before a milter
    local_server.py    mail without a client: the events are simulated

The protocol has no standard; its teacher is the library libmilter, and here Postfix's client, whose dialogues are
recorded in tests/smtp/milter/. Numbers are big-endian, strings end with NUL, a packet is its length (4 octets), a
letter and data.
"""
