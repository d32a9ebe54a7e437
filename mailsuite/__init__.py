"""mailsuite: what Postfix and Dovecot do together, in one Python package.

The way in: docs/overview.md (the life of a message), docs/architecture.md (who talks to whom, and how).
"""

__version__ = "0.7.0"
