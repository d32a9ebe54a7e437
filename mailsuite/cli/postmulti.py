"""postmulti: several instances of the mail system, which mailsuite keeps apart by their folders. See postmulti(1).

    postmulti -l [-a] [-g group] [-i name]      lists the one instance of the default folder

Any other use is refused with the way to do it here. Exit: 0, 1.
"""

import sys

from mailsuite.cli.mailcommand import default_directory, fatal, load, parse

PROGRAM = "postmulti"
USAGE = "usage: postmulti -l [-v] [-a] [-g group] [-i name]"
INSTEAD = ("there is one instance in each configuration folder: make another folder with main.cf and master.cf, with "
           'its own queue_directory and data_directory, and use "mailsuite -c FOLDER start"')


def main() -> int:
    """The console script."""
    options, _ = parse(PROGRAM, sys.argv[1:], "ae:g:i:G:I:lpRvx", USAGE, 1)
    given = {option for option, _ in options}
    if "-l" not in given or given & {"-e", "-p", "-x"}:
        fatal(PROGRAM, INSTEAD, 1)
    settings = load(default_directory(), PROGRAM, 1)
    name = settings.text("multi_instance_name") or "-"
    group = settings.text("multi_instance_group") or "-"
    print(f"{name:<15} {group:<15} {'y':<9} {settings.config_directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
