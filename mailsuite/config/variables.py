"""Dovecot's %-variables: %u, %{user}, with modifiers as in %Ln, %2.1u, %N.64d, %{sha256:user}.

    expand_variables("maildir:%h/%Ln", {"home": "/home/a", "username": "A"}) -> "maildir:/home/a/a"
    user_variables("a@b.test", service="imap", home="/home/a") -> values with user, username, domain, ...

values has long names (user, username, domain, home, service, lip, rip, pid, session...) or the one-letter ones; both
find each other. An unknown long name gives "UNSUPPORTED_VARIABLE_name", as Dovecot does; an unknown letter stays out.
"""

from collections.abc import Mapping


def user_variables(user: str, *, service: str = "", home: str | None = None, local_ip: str = "", remote_ip: str = "",
                   pid: int | None = None, session: str = "", uid: int | None = None, gid: int | None = None,
                   extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The values for a user's variables by long name; user may have a domain."""
    raise NotImplementedError


def expand_variables(text: str, values: Mapping[str, str]) -> str:
    """text with all %-variables replaced. Raises ConfigError for a bad modifier."""
    raise NotImplementedError
