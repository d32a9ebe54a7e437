"""Parameters of sockets."""

from mailsuite.config.registry import Param, declare, integer

TCP_WINDOWSIZE = declare(Param("tcp_windowsize", "0", integer(),
    "Octets of the TCP window of connections (below 65536), for routers that break window scaling; 0: the system's."))
