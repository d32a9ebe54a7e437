"""postfix: the control command under Postfix's name. See postfix(1)."""

import argparse
import os

COMMANDS = ("start", "start-fg", "stop", "abort", "reload", "status", "check", "flush", "logrotate", "set-permissions")


def main() -> int:
    """Console script; returns the exit status."""
    parser = argparse.ArgumentParser(prog="postfix", description="Control the mail system.")
    parser.add_argument("-c", dest="directory", metavar="config_dir",
                        default=os.environ.get("MAIL_CONFIG", "/etc/postfix"))
    parser.add_argument("-v", action="count", default=0, help="accepted for Postfix's sake")
    parser.add_argument("-D", action="store_true", help="accepted for Postfix's sake")
    parser.add_argument("command", choices=COMMANDS)
    arguments = parser.parse_args()
    from mailsuite.master import control

    if arguments.command == "flush":
        os.execvp("postqueue", ["postqueue", "-c", arguments.directory, "-f"])
    act = {"start": control.start, "start-fg": control.run, "stop": control.stop, "abort": control.stop,
           "reload": control.reload, "logrotate": control.reload, "status": control.status}
    if arguments.command in act:
        return act[arguments.command](arguments.directory)
    from mailsuite.cli.check import check_command

    return check_command(arguments.directory, postfix=True)
