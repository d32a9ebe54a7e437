"""The one driver that runs any session on sockets, and the frame in which every service process lives.

    driver.py    asyncio.Protocol <-> base.dialogue.Session: TLS, time-outs, back-pressure, PROXY protocol
    service.py   ServiceContext: what the master gives a service (settings, sockets, stop and reload)
    tls.py       SSLContext from parameters, with SNI
    ipc.py       messages (one JSON line each) and descriptors over Unix sockets, between our own processes
    workers.py   warm worker processes, one set per uid, forked by a small root parent; worker_channel.py their end,
                 packets.py what passes between, privileges.py giving up rights
    proxy.py     PROXY protocol v1/v2, read by aiosmtpd's parser
    twisted.py   any session as a Twisted IProtocolFactory

What can go wrong: a peer that sends without end (reading pauses while a question is open and `backlog_limit` octets
wait), one that does not read (`answer` waits in Channel.drain), one that is silent (the session's timeout_s), one
that breaks the handshake (closed, one log line). A handler's unforeseen exception is logged with its traceback and
given to `Session.failed`; it ends that session only.
"""
