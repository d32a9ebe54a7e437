"""Parameters of address verification."""

from mailsuite.config.registry import Param, boolean, declare, integer, seconds, string

ADDRESS_VERIFY_SERVICE_NAME = declare(Param("address_verify_service_name", "verify", string(),
    "The service that verifies addresses, in master.cf."))
ADDRESS_VERIFY_MAP = declare(Param("address_verify_map", "btree:$data_directory/verify_cache", string(),
    "Where verified addresses are remembered, as type:name; the file belongs to mail_owner. Empty: in memory, until "
    "the service ends."))
ADDRESS_VERIFY_CACHE_SIZE_LIMIT = declare(Param("address_verify_cache_size_limit", "268435456", integer(least=1 << 20),
    "Octets that the file of address_verify_map may have; what does not fit is not remembered. In memory: a thousandth "
    "of it, in addresses."))
ADDRESS_VERIFY_SENDER = declare(Param("address_verify_sender", "$double_bounce_sender", string(),
    "The sender of probes; <> is the null sender. Mail to this address is accepted and thrown away."))
ADDRESS_VERIFY_SENDER_TTL = declare(Param("address_verify_sender_ttl", "0s", seconds(),
    "With a time, the sender of probes changes so often, so that nobody can collect it; 0 keeps it."))
POSITIVE_EXPIRE = declare(Param("address_verify_positive_expire_time", "31d", seconds(least=1),
    "After this time a good address is forgotten."))
POSITIVE_REFRESH = declare(Param("address_verify_positive_refresh_time", "7d", seconds(least=1),
    "After this time a good address is verified again, when it is asked for."))
NEGATIVE_CACHE = declare(Param("address_verify_negative_cache", "yes", boolean(),
    "Whether bad addresses are remembered."))
NEGATIVE_EXPIRE = declare(Param("address_verify_negative_expire_time", "3d", seconds(least=1),
    "After this time a bad address is forgotten."))
NEGATIVE_REFRESH = declare(Param("address_verify_negative_refresh_time", "3h", seconds(least=1),
    "After this time a bad address is verified again, when it is asked for."))
CLEANUP_INTERVAL = declare(Param("address_verify_cache_cleanup_interval", "12h", seconds(),
    "How often expired addresses are removed; 0 never."))
PENDING_LIMIT = declare(Param("address_verify_pending_request_limit", "5000", integer(least=1),
    "Probes under way at once; what is asked beyond is not known for now."))
POLL_COUNT = declare(Param("address_verify_poll_count", "${stress?{1}:{3}}", integer(least=1),
    "With address_verify_poll_delay: how long smtpd waits for a probe, before it says that the verification is in "
    "progress: (count - 1) x delay. The answer is known as soon as the probe ends."))
POLL_DELAY = declare(Param("address_verify_poll_delay", "3s", seconds(least=1),
    "See address_verify_poll_count."))
