"""postscreen: who is obviously no mail server does not get as far as smtpd.

`server.py` accepts, tests before the greeting and hands good clients' sockets to smtpd; `engine.py` speaks SMTP with
the others and with clients under test; `dnsbl.py` adds up block lists; `cache.py` remembers who passed; `access.py` is
postscreen_access_list. Replies and log lines are Postfix's.
"""
