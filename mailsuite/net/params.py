"""Parameters of sockets and processes."""

from mailsuite.config.registry import Param, boolean, declare, integer

CPU_AFFINITY = declare(Param("cpu_affinity", "yes", boolean(),
    "Give each smtpd process a core of its own, keep qmgr and virtual to the upper half of the cores, and have the "
    "processes of logins that follow each other one by one share a core: what a core has in its caches is used again. "
    "With no the kernel decides, which is better where other programs keep to cores."))
HUGE_PAGES_AFTER = declare(Param("huge_pages_after", "500", integer(least=0),
    "So many logins or SMTP connections within a minute, and a process that has a part in them (login, auth, a user's "
    "worker; smtpd) has its memory put into huge pages: logins take a tenth to a sixth less CPU, messages a tenth "
    "less of smtpd's, and each such process some 18 MB more memory. 0: never."))
TCP_WINDOWSIZE = declare(Param("tcp_windowsize", "0", integer(),
    "Octets of the TCP window of connections (below 65536), for routers that break window scaling; 0: the system's."))
