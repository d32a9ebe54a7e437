"""python -m certs FOLDER HOST...: make the certificates of a demo site or a test."""

import datetime
import sys
from pathlib import Path

from certs.authority import ensure_certificates
from mailsuite.base.errors import ConfigError


def main() -> int:
    """Returns the exit status."""
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 64
    try:
        made = ensure_certificates(Path(sys.argv[1]), sys.argv[2:], datetime.datetime.now(datetime.UTC))
    except ConfigError as error:
        print(error.public, file=sys.stderr)
        return 1
    print(made.chain)
    return 0


if __name__ == "__main__":
    sys.exit(main())
