"""SMTP, both sides.

    syntax.py          octets of a command line to words, paths, parameters
    reply.py           replies to octets
    facts.py           what is known of a client and its transaction; the restrictions judge by it
    questions.py       what a session asks the world
    data.py            message content: dot-unstuffing, line ends, the end of data, in blocks
    received.py        the Received: header
    session.py         the server's dialogue: states and dispatch, no I/O
    ledger.py          counts, errors, transcript and log of a session
    commands/          one family of commands a file
    policy/            one restriction a function, access tables, the engine that runs restriction lists
    params.py          declared parameters
    server.py          smtpd: sessions on sockets; what they may touch
    client.py          the remote dialogue (SMTP and LMTP), with client_session.py

What can go wrong: a client that never ends a line, a message or a session (line_length_limit, message_size_limit,
smtpd_timeout, error limits); an intake that fails in the middle of a message (the rest is read and thrown away, the
reply says why); a table or service that cannot be asked (451, the client comes again).
"""
