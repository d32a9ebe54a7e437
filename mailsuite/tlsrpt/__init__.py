"""TLS reporting (RFC 8460): what became of TLS with other domains' servers, counted by day, and the report of a day.

    outcome.py    one session's end: Outcome, and the result types
    store.py      the counts, an SQLite file
    report.py     a day's counts of a domain as the JSON that the RFC defines

`mailsuite tlsrpt` prints reports; nothing is sent.
"""
