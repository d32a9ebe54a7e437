"""Parameters of our own for the TLS of outgoing mail; those of Postfix are read by name in client_tls.py."""

from mailsuite.config.registry import Param, boolean, declare, integer, seconds, string

MTA_STS = declare(Param("smtp_tls_mta_sts", "no", boolean(),
    "Obey the MTA-STS policies of domains (RFC 8461), where the level is may, encrypt or dane, and DANE says nothing."))
MTA_STS_CACHE = declare(Param("smtp_tls_mta_sts_cache", "$data_directory/mta_sts_cache", string(),
    "Where MTA-STS policies are kept, a file NAME.db; empty: only in memory."))
MTA_STS_TIMEOUT = declare(Param("smtp_tls_mta_sts_timeout", "30s", seconds(least=1),
    "How long fetching an MTA-STS policy may take."))
MTA_STS_SIZE = declare(Param("smtp_tls_mta_sts_size_limit", "65536", integer(least=1024),
    "Octets that an MTA-STS policy may have."))
TLSRPT_DATABASE = declare(Param("smtp_tlsrpt_database", "$data_directory/tlsrpt.sqlite", string(),
    "Where outcomes of TLS are counted with smtp_tlsrpt_enable; `mailsuite tlsrpt` prints them."))
TLSRPT_KEEP = declare(Param("smtp_tlsrpt_keep_time", "30d", seconds(least=86400),
    "How long the counts of a day are kept."))
TLSRPT_LIMIT = declare(Param("smtp_tlsrpt_entry_limit", "100000", integer(least=1),
    "Different outcomes of a day that are counted; further ones are left out."))
