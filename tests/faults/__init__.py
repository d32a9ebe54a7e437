"""Nothing that was answered with 250 is lost: kills, full disks, syncs that fail, clocks that jump.

    world.py       a site that uses every delivery agent, and its mailboxes
    load.py        who sends, and the ledger of what was accepted
    far_end.py     a remote host that fails by plan
    accounting.py  what became of each accepted message, what was delivered twice
    processes.py   which processes there are, and what can be done to them
    shim.py        makes syncs, writes and clocks of a running suite misbehave (shim.c, LD_PRELOAD)
    campaign.py    kills by plan;  soak.py  the long run: make soak, make faults
"""
