"""Parameters of sockets and processes."""

from mailsuite.config.registry import Param, boolean, declare, integer

CPU_AFFINITY = declare(Param("cpu_affinity", "yes", boolean(),
    "Give each smtpd process a core of its own, keep qmgr and virtual to the upper half of the cores, and have the "
    "processes of logins that follow each other one by one share a core: what a core has in its caches is used again. "
    "With no the kernel decides, which is better where other programs keep to cores."))
TCP_WINDOWSIZE = declare(Param("tcp_windowsize", "0", integer(),
    "Octets of the TCP window of connections (below 65536), for routers that break window scaling; 0: the system's."))
