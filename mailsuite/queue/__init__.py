"""The mail queue: from the moment a message is ours to the moment nobody needs it any more.

    envelope.py   what is known of a message            file.py      one message on disk, its format
    ids.py        queue ids                             store.py     the folders; durable before it is said so
    cleanup.py    the way in, for every message: cleanup_header.py, cleanup_body.py, cleanup_checks.py
    submit.py     local submission by a command         pickup_server.py takes it
    server.py     qmgr: manager.py (active queue), scheduler.py (who is next), client.py (delivery agents),
                  rounds.py (what became of a message), scanner.py (what nobody told us of), limits.py
    agent.py      what qmgr and delivery agents say to each other, and the log line of a delivery
    bounce.py     notices to senders and postmaster: bounce_text.py (octets), bounce_template.py (words)
    showq_server.py   the listing, for mailq: listing.py    notify.py    tells qmgr of new mail

The file on disk is the truth: all else may die at any instant and mail is delivered twice at worst, never lost.
"""
