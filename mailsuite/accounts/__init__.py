"""Users, domains and aliases: what an administrator changes every day, in the files that the configuration names.

    site = AccountSite.load("/etc/postfix")         site.py: which files those are
    plan = add_user(site, "anna@example.test", hashed)      users.py, domains.py, aliases.py; raises Refused
    plan.diff();  carry_out(plan, settings)         plan.py: under a lock, each file whole or not at all

docs/accounts.md is the administrator's page.
"""
