"""doveadm stop, reload, config, help. There is one master here, so stop and reload are about all of the mail system."""

import os
import signal
import sys

from mailsuite.cli.doveadm import COMMANDS, EX_CONFIG, EX_TEMPFAIL, EX_USAGE, Doveadm, Exit, print_usage


def _directory(doveadm: Doveadm) -> str:
    """The folder with main.cf, master.cf and dovecot.conf."""
    return os.path.dirname(os.path.abspath(doveadm.config))


def _must_run(doveadm: Doveadm, arguments: list[str], sent: signal.Signals) -> None:
    """Raises Exit: words too many, a configuration that is wrong, no master, or one that is not ours to signal."""
    from mailsuite.base.errors import ConfigError
    from mailsuite.config.settings import Settings
    from mailsuite.master.prepare import PidFile

    if arguments:
        raise Exit(EX_USAGE, f"Error: Extraneous arguments found: {arguments[0]}")
    path = doveadm.socket_path("master.pid")
    try:
        pid = PidFile(Settings.load(_directory(doveadm), strict=False).text("queue_directory")).running()
        if not pid:
            raise Exit(EX_TEMPFAIL, f"Fatal: Dovecot is not running (read from {path})")
        os.kill(pid, 0)
    except ConfigError as error:
        raise Exit(EX_CONFIG, f"Fatal: {error.public}") from error
    except PermissionError as error:
        what = f"open({error.filename})" if error.filename else f"kill({pid}, {int(sent)})"
        raise Exit(EX_TEMPFAIL, f"Fatal: {what} failed: {error.strerror}") from error


def stop(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm stop."""
    _must_run(doveadm, arguments, signal.SIGTERM)
    from mailsuite.master import control
    return control.stop(_directory(doveadm))


def reload(doveadm: Doveadm, arguments: list[str]) -> int:
    """doveadm reload."""
    _must_run(doveadm, arguments, signal.SIGHUP)
    from mailsuite.master import control
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
