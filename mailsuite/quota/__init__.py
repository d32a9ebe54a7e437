"""Quotas of users, as Dovecot's quota plugin has them.

    quota = user_quota(user, settings)                  None: `mail_plugins` does not name quota
    store = open_store(..., quota=quota)                asks it before it takes messages in (store/quota.py)

limits.py reads rules ("Trash:storage=+100M"), roots.py what plugin { } says of quota roots, maildirsize.py knows what
is used, user_quota.py decides, warnings.py calls the commands of quota_warning.

What can go wrong: settings that make no sense (StoreError at the user's login, with the reason in the log, as with
Dovecot: nobody is let past a limit because it was misspelt), a maildirsize file that is damaged or that other programs
write at the same time (counted anew), a command of quota_warning that fails (logged).
"""
