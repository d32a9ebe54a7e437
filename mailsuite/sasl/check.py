"""What is wrong with the authentication settings, said before anything starts.

    check_authentication(settings)          raises ConfigErrors: all of it at once
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings


def check_authentication(settings: "DovecotSettings") -> None:
    """Make what the auth service would make of them, and throw it away; no file of users is opened."""
    from mailsuite.sasl.service import AuthService

    AuthService(settings).close()
