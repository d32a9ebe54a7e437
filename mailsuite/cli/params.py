"""Parameters that only commands read."""

from mailsuite.config.registry import Param, declare, seconds

APPLICATION_EVENT_DRAIN_TIME = declare(Param("application_event_drain_time", "100s", seconds(least=1),
    "How long postkick waits for the service to read its request."))
