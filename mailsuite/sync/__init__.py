"""Making two mail accounts alike: `doveadm sync`, `doveadm backup`, `mailsuite migrate`.

`model.py` is what a side is; `local.py` and `remote.py` are sides (a store of ours, an account on an IMAP server);
`names.py` says which folders belong together, `pairing.py` which messages, `plan.py` what is to be done, `state.py`
what was so the last time, `engine.py` and `folder.py` do it. Nothing is remembered that the mail itself does not show,
but for the state of -s: so a run that was killed is simply run again.
"""
