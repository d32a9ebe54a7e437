"""Parameters of anvil, and of what counts as one client."""

from mailsuite.config.registry import Param, declare, integer, seconds

ANVIL_RATE_TIME_UNIT = declare(Param("anvil_rate_time_unit", "60s", seconds(least=1),
    "The time over which the rate limits count."))
ANVIL_STATUS_UPDATE_TIME = declare(Param("anvil_status_update_time", "600s", seconds(least=1),
    "How often anvil logs the highest counts and rates it has seen."))
ANVIL_CLIENT_LIMIT = declare(Param("anvil_client_limit", "100000", integer(least=1000),
    "Clients that anvil remembers at once; of more, those that were not heard of longest are forgotten. "
    "A client takes some 400 octets."))
SMTPD_CLIENT_IPV4_PREFIX_LENGTH = declare(Param("smtpd_client_ipv4_prefix_length", "32", integer(most=32),
    "IPv4 clients whose addresses agree in so many bits count as one client for the smtpd_client_*_limit parameters."))
SMTPD_CLIENT_IPV6_PREFIX_LENGTH = declare(Param("smtpd_client_ipv6_prefix_length", "84", integer(most=128),
    "The same for IPv6, where one customer has a network, not an address."))
