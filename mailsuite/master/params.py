"""Parameters of the master itself."""

from mailsuite.config.registry import Param, boolean, declare, words

CPU_AFFINITY = declare(Param("cpu_affinity", "yes", boolean(),
    "Give each smtpd process a core of its own, and keep qmgr and virtual to the upper half of the cores: what a core "
    "has in its caches is used again. With no the kernel decides, which is better where other programs keep to cores."))
MASTER_SERVICE_DISABLE = declare(Param("master_service_disable", "", words(),
    "Services of master.cf that are switched off: TYPE (inet) or NAME/TYPE (smtp/inet); \"!\" in front spares one. The "
    "first that fits counts."))
