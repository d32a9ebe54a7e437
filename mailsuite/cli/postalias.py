"""postalias: build, query and change alias databases (aliases(5)).

    postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...

As postmap, but the source has "name: value" lines.
"""

import sys

from mailsuite.cli.postmap import command

USAGE = "usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."


def main() -> int:
    """The console script."""
    return command("postalias", "Nfinoprsuvw", USAGE)


if __name__ == "__main__":
    sys.exit(main())
