"""The manual of main.cf and dovecot.conf: what each parameter means, and which ones nothing obeys.

tables.py (the table, text_*.py its lines), entries.py (one entry), explain.py (with the value in force), unobeyed.py
(warnings), render.py (pages), reads.py and write.py (tools for `make docs` and the tests).
"""
