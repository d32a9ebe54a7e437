"""Delivery agents: qmgr hands them recipients, they hand back what became of each.

    agent.py      the frame: requests from qmgr, reports, log lines, reload and stop
    virtual.py    virtual_mailbox_maps into Maildir and mbox             local.py    aliases, .forward, mailboxes
    pipe.py       a command per request                                  smtp.py     remote hosts by SMTP and LMTP
    error.py      bounce or defer all                                    discard.py  forget all
    spawn.py      a command per connection                               run_as.py   user= of pipe and spawn
    environment.py  of commands: export_environment
    mailbox.py    what a recipient's worker does with files              command.py  ... and with commands
    headers.py    Return-Path, X-Original-To, Delivered-To; loop detection
    lookups.py    tables of uids, mailboxes, transports                  params.py   declared parameters
    aliases.py    alias and .forward lines to destinations               expansion.py  one recipient to deliveries
    sessions.py   connections to remote hosts, kept for more             content.py   what remote hosts get of a message
    header_checks.py  smtp_header_checks and its kin                     exits.py     exit statuses to status codes
    status_filter.py  *_delivery_status_filter                           passing.py   to another agent
    forward.py    new mail made by local                                 passwd.py   accounts of the machine

local, virtual and pipe are small root parents without threads; whatever touches a recipient's files or runs commands
happens in a worker (net/workers.py) that has only the recipient's rights. Agents change nothing in the queue.
"""
