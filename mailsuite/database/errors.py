"""What a database client may raise. The text of each is one line for the log, in Postfix's words."""


class DatabaseError(Exception):
    """str(error) is the log line; "" when there is nothing new to tell. cause: the same in two words, for postmap."""

    cause = "Application error"

    def __init__(self, text: str = "", *, cause: str = "") -> None:
        super().__init__(text)
        self.cause = cause or self.cause


class Unreachable(DatabaseError):
    """No connection to this host: try the next one, and this one not for a while."""


class Broken(DatabaseError):
    """The connection ended or fell silent in the middle. timed_out: asking again would only take as long again."""

    def __init__(self, text: str = "", *, timed_out: bool = False, cause: str = "") -> None:
        super().__init__(text, cause=cause)
        self.timed_out = timed_out


class QueryError(DatabaseError):
    """The server understood and refused: the connection is good, the question or the data is not."""


class Unavailable(DatabaseError):
    """No host could be asked; each failure was told when it happened. lost: the last one fell silent in the middle."""

    def __init__(self, text: str = "", *, cause: str = "", lost: bool = False) -> None:
        super().__init__(text, cause=cause)
        self.lost = lost


class DriverMissing(DatabaseError):
    """The Python package of a client is not installed; the text names it."""


_EXTRAS = {"psycopg": "pgsql", "pymysql": "mysql"}


def require_driver(module: str) -> None:
    """Import a client library. Raises DriverMissing, which says how to install it."""
    from importlib import import_module

    try:
        import_module(module)
    except ImportError as error:
        raise DriverMissing(f"the Python package \"{module}\" is missing: "
                            f"pip install \"mailsuite[{_EXTRAS[module]}]\" ({error})") from error
