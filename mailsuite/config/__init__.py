"""Configuration: declared parameters, main.cf, master.cf, dovecot.conf. Knows files and values, nothing of mail.

registry.py      Param, declare, parsers          settings.py   main.cf as typed values
maincf.py        main.cf's text and its editing   expansion.py  $name, ${name?..}, comparisons
mastercf.py      master.cf                        postfix_defaults.py  every Postfix parameter with its default
dovecot.py       dovecot.conf as typed values     dovecot_syntax.py, dovecot_defaults.py, variables.py
"""
