"""doveadm stop, reload, config, help. There is one master here, so stop and reload are about all of the mail system."""

import os
import sys

from mailsuite.cli.doveadm import COMMANDS, EX_TEMPFAIL, EX_USAGE, Doveadm, Exit, print_usage


def _directory(doveadm: Doveadm) -> str:
    """The folder with main.cf, master.cf and dovecot.conf."""
    return os.path.dirname(os.path.abspath(doveadm.config))


def _must_run(doveadm: Doveadm) -> None:
    from mailsuite.master import control

    if control.status(_directory(doveadm), lambda text: None) != 0:
        raise Exit(EX_TEMPFAIL, f"Fatal: Dovecot is not running (read from {doveadm.socket_path('master.pid')})")


def stop(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm stop."""
    if arguments:
        doveadm.usage()
    from mailsuite.master import control
    _must_run(doveadm)
    return control.stop(_directory(doveadm))


def reload(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm reload."""
    if arguments:
        doveadm.usage()
    from mailsuite.master import control
    _must_run(doveadm)
    return control.reload(_directory(doveadm))


def config(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm config: doveconf by another name."""
    from mailsuite.cli import doveconf
    sys.argv = ["doveconf", "-c", doveadm.config, *arguments]
    doveconf.main()
    return 0


def help_(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm help: all commands, or the usage of one."""
    if not arguments:
        print_usage()
        return 0
    wanted = " ".join(arguments)
    found = [command for command in COMMANDS if command.words == wanted or command.words.startswith(wanted + " ")]
    if not found:
        raise Exit(EX_USAGE, f"doveadm: Fatal: Unknown command: {wanted}")
    for command in found:
        print(f"doveadm {command.words} {command.usage}".rstrip())
    return 0
