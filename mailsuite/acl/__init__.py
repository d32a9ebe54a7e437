"""Who may do what with a mailbox: Dovecot's ACLs (RFC 4314).

    rights.py    the letters and what they are called       entries.py   identifiers, lines of dovecot-acl, evaluation
    file.py      one dovecot-acl file                       everywhere.py   ACLs of the administrator, for all users
    settings.py  what plugin { } says                       namespace.py  the ACLs of a namespace for one user
    shared.py    acl_shared_dict: who shares with whom

The store asks before it acts (store/acl.py is its side of the contract).
"""
