"""What will happen to an address, step by step, before any mail is sent: `mailsuite explain`.

    explanation = await Explainer(site).explain("info@example.test", Question(client="198.51.100.7"))
    as_text(explanation), as_json(explanation)

No rule is written here a second time: the functions that smtpd, cleanup, qmgr, local and virtual call are called, as a
`sendmail -bv` probe that delivers nothing, while base/trace.py listens to what decided.

explainer.py  the order of things      judgement.py  smtpd's restrictions      ends.py  delivery agents
local.py      aliases and .forward     model.py      what is told              text.py  ... to people
"""
