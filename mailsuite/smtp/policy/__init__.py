"""May this client, this sender, this recipient? Facts in, verdicts out.

    verdict.py      what a rule can say
    policy.py       the restriction lists of a configuration, and the stages at which they are run
    lists.py        a list's text -> steps; which names exist
    judge.py        runs steps for one command: warn_if_reject, deferrals, the log
    access.py       access tables: look-up orders and what their results mean
    rules_*.py      one restriction a function
    delegation.py   check_policy_service
    blocklists.py   reject_rbl_client and its kind
    resources.py    tables, DNS and numbers that rules use

A rule is `async def rule(judge, argument) -> Verdict`. It raises TemporaryError when something could not be asked: the
command is then answered 451 and nothing is let through by mistake.
"""
