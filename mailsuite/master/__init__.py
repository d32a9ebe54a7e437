"""The first process: reads the configuration, opens sockets, forks services, restarts and reloads them.

    services.py    which code stands behind a command name of master.cf or a Dovecot service
    plan.py        settings -> ServicePlan list: processes, sockets, rights; all errors at once
    sockets.py     binds what a plan asks for, keeps it across reload
    prepare.py     folders of the queue and of base_dir, accounts, pid file
    supervise.py   the loop: fork, reap, throttle, on-demand starts, stop, reload
    child.py       from fork to the service's `serve`: rights, log, event loop, control channel
    control.py     what `mailsuite start|stop|reload|status|check|run` does
    logging.py     log targets from maillog_file, syslog_*, log_path

The master reads no network input and holds no key or password of users. It is one thread without an event loop, so
that it can fork at any time. Everything a service needs is imported before its rights are dropped: the interpreter
may lie where mail_owner cannot read.

What can go wrong: a service that dies (restarted; at once the first time, then later and later up to
service_throttle_time), a reload with errors (the old configuration stays in force, all errors are logged), a master
that is killed (children see the end of their control channel and stop; the next start takes the queue over).
"""
