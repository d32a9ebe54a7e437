"""Parameters of the master itself."""

from mailsuite.config.registry import Param, declare, words

MASTER_SERVICE_DISABLE = declare(Param("master_service_disable", "", words(),
    "Services of master.cf that are switched off: TYPE (inet) or NAME/TYPE (smtp/inet); \"!\" in front spares one. The "
    "first that fits counts."))
