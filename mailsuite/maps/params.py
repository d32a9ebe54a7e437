"""Parameters of lookup tables as such (those of one table stand in its own file)."""

from mailsuite.config.registry import Param, declare, integer, seconds

TABLE_TIME_LIMIT = declare(Param("table_time_limit", "30s", seconds(least=1),
    "How long a look-up in a tcp: or socketmap: table may take, connecting included; then mail waits. Databases have "
    "their own `timeout`."))
TABLE_CONNECTION_LIMIT = declare(Param("table_connection_limit", "4", integer(least=1, most=1000),
    "Connections that one process opens to the server of one table; more look-ups wait for a free one. A database "
    "table's own `connection_limit` goes before it."))
TABLE_IDLE_LIMIT = declare(Param("table_idle_limit", "10s", seconds(least=1),
    "A connection to a tcp: or socketmap: server that was not used for longer is not used again."))
SOCKETMAP_MAX_REPLY_SIZE = declare(Param("socketmap_max_reply_size", "100000", integer(least=1, most=1 << 24),
    "Octets of a socketmap server's reply; a longer one is an error. As in Postfix 3.10."))
