"""Maildir++: one file per message, UIDs and keywords in Dovecot's dovecot-uidlist and dovecot-keywords."""
