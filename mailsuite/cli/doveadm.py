"""doveadm [-Dv] [-c FILE] [-f FORMATTER] [-o SETTING=VALUE] COMMAND [ARGUMENTS]: Dovecot's administration command.

Each command is one entry of COMMANDS: its words, its usage, and where its code is; the code is imported when the
command is called. Exit statuses are Dovecot's: 64 usage, 65 bad data, 67 no such user, 68 not found, 75 temporary,
77 not permitted, 89 configuration.
"""

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings

EX_USAGE, EX_DATAERR, EX_NOUSER, EX_NOTFOUND, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG = 64, 65, 67, 68, 75, 77, 89
DEFAULT_CONFIG = "/etc/dovecot/dovecot.conf"


class Command(NamedTuple):
    """usage: what follows the words; entry: "module:function", below mailsuite.cli."""

    words: str
    usage: str
    entry: str


_SYNC = ("[-1fPRU] [-l <secs>] [-r <rawlog path>] [-m <mailbox>] [-g <mailbox guid>] [-n <namespace> | -N] "
         "[-x <exclude>] [-a <all mailbox>] [-s <state>] [-T <secs>] [-t <start date>] [-e <end date>] "
         "[-O <sync flag>] [-I <max size>] -d|<dest>")
_MAIL = "[-u <user>|-A] [-S <socket_path>] "
_CHANGES = "[--mailbox-guid guid] [--uid-validity uid] [--min-next-uid uid] [--min-first-recent-uid uid] " \
           "[--min-highest-modseq seq] [--min-highest-pvt-modseq seq] <mailbox>"


def _mail(words: str, usage: str) -> Command:
    """A command on users' mail."""
    return Command(words, _MAIL + usage, "doveadm_mail:mail")


COMMANDS = (
    _mail("altmove", "[-r] <search query>"),
    Command("acl", "", "doveadm_mail:plugin"),
    *(Command(f"acl {words}", _MAIL + usage, "doveadm_mail:plugin") for words, usage in (
        ("add", "<mailbox> <id> <right> [<right> ...]"), ("debug", "<mailbox>"), ("delete", "<mailbox> <id>"),
        ("get", "[-m] <mailbox>"), ("recalc", ""), ("remove", "<mailbox> <id> <right> [<right> ...]"),
        ("rights", "<mailbox>"), ("set", "<mailbox> <id> <right> [<right> ...]"))),
    Command("auth cache flush", "[-a <master socket path>] [<user> [...]]", "doveadm_auth:cache_flush"),
    Command("auth login", "[-a <auth-login socket path>] [-m <auth-master socket path>] [-x <auth info>] "
            "[-M <master user>] <user> [<password>]", "doveadm_auth:login"),
    Command("auth lookup", "[-a <userdb socket path>] [-x <auth info>] [-f field] <user> [<user> [...]]",
            "doveadm_auth:lookup"),
    Command("auth test", "[-a <auth socket path>] [-x <auth info>] [-M <master user>] <user> [<password>]",
            "doveadm_auth:test"),
    Command("backup", _SYNC.replace("[-1fPRU]", "[-fPRU]"), "doveadm_sync:sync"),
    Command("config", "[doveconf parameters]", "doveadm_control:config"),
    Command("dump", "[-t <type>] <path> [<type-specific args>]", "doveadm_local:dump"),
    Command("exec", "<binary> [binary parameters]", "doveadm_local:exec_"),
    Command("help", "[<cmd>]", "doveadm_control:help_"),
    _mail("copy", "<destination> [user <source user>] <search query>"),
    _mail("deduplicate", "[-m] <search query>"),
    _mail("export", "<destination mail location> <search query>"),
    _mail("expunge", "[-m] <search query>"),
    _mail("fetch", "<fields> <search query>"),
    _mail("flags add", "<flags> <search query>"),
    _mail("flags remove", "<flags> <search query>"),
    _mail("flags replace", "<flags> <search query>"),
    _mail("force-resync", "[-f] <mailbox mask>"),
    _mail("import", "[-U source-user] [-s] <source mail location> <dest parent mailbox> <search query>"),
    _mail("index", "[-q] [-n <max recent>] <mailbox mask>"),
    _mail("mailbox cache decision", "<mailbox> [...]"),
    _mail("mailbox cache purge", "<mailbox> [...]"),
    _mail("mailbox cache remove", "<search string>"),
    _mail("mailbox create", "[-s] [-g <guid>] <mailbox> [...]"),
    _mail("mailbox delete", "[-e] [-r] [-s] [-Z] <mailbox> [...]"),
    _mail("mailbox list", "[-7|-8] [-s] [<mailbox mask> [...]]"),
    _mail("mailbox metadata get", "[-s] <mailbox> <key>"),
    _mail("mailbox metadata list", "[-s] [-p] <mailbox> [<key prefix>]"),
    _mail("mailbox metadata set", "[-s] <mailbox> <key> <value>"),
    _mail("mailbox metadata unset", "[-s] <mailbox> <key>"),
    Command("mailbox mutf7", "[-7|-8] <name> [...]", "doveadm_mail:mutf7"),
    _mail("mailbox path", "[-t <type>] <mailbox>"),
    _mail("mailbox rename", "[-s] <old name> <new name>"),
    _mail("mailbox status", "<fields> <mailbox> [...]"),
    _mail("mailbox subscribe", "<mailbox> [...]"),
    _mail("mailbox unsubscribe", "<mailbox> [...]"),
    _mail("mailbox update", _CHANGES),
    _mail("fts lookup", "<search query>"),
    _mail("fts optimize", "[<namespace>]"),
    _mail("fts rescan", "[<namespace>]"),
    _mail("fts tokenize", "<text>"),
    _mail("move", "<destination> [user <source user>] <search query>"),
    _mail("purge", ""),
    Command("kick", "[-a <anvil socket path>] <user mask>[|]<ip/bits>", "doveadm_who:kick"),
    Command("log errors", "[-s <min_timestamp>]", "doveadm_log:errors"),
    Command("log find", "[<dir>]", "doveadm_log:find"),
    Command("log reopen", "", "doveadm_log:reopen"),
    Command("log test", "", "doveadm_log:test"),
    Command("penalty", "[-a <anvil socket path>] [<ip/bits>]", "doveadm_auth:penalty"),
    Command("process status", "[<service>]", "doveadm_process:process_status"),
    Command("proxy kick", "[-a <ipc socket path>] [-f <passdb field>] [-h <host> [...] | <user> [...]]",
            "doveadm_who:proxy_kick"),
    Command("proxy list", "[-a <ipc socket path>]", "doveadm_who:proxy_list"),
    Command("pw", "[-l] [-p plaintext] [-r rounds] [-s scheme] [-t hash] [-u user] [-V]", "doveadm_pw:pw"),
    Command("quota", "", "doveadm_mail:plugin"),
    Command("quota get", "", "doveadm_mail:plugin"),
    Command("quota recalc", "", "doveadm_mail:plugin"),
    Command("rebuild attachments", _MAIL + "<search query>", "doveadm_local:rebuild"),
    Command("reload", "", "doveadm_control:reload"),
    _mail("save", "[-m mailbox]"),
    _mail("search", "<search query>"),
    Command("service status", "[<service> [...]]", "doveadm_process:service_status"),
    Command("service stop", "<service> [<service> [...]]", "doveadm_process:service_stop"),
    Command("stats add", "<name> <filter>", "doveadm_who:not_here"),
    Command("stats dump", "[-s <stats socket path>] [-r] [-f <fields>]", "doveadm_who:stats_dump"),
    Command("stats remove", "<name>", "doveadm_who:not_here"),
    Command("stop", "", "doveadm_control:stop"),
    Command("sync", _SYNC, "doveadm_sync:sync"),
    Command("user", "[-a <userdb socket path>] [-x <auth info>] [-f field] [-e <value>] [-u] "
            "<user mask> [<user mask> [...]]", "doveadm_user:user"),
    Command("who", "[-a <anvil socket path>] [-1] [<user mask>] [<ip/bits>]", "doveadm_who:who"),
)


class Exit(Exception):
    """End with a status, after a line on standard error if there is a text."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass
class Doveadm:
    """What a command may know: the global options, and the settings when it asks for them."""

    config: str = DEFAULT_CONFIG
    formatter: str = ""
    verbose: bool = False
    overrides: list[str] = field(default_factory=list)
    command: Command = COMMANDS[0]
    _settings: "DovecotSettings | None" = None

    @property
    def settings(self) -> "DovecotSettings":
        """dovecot.conf. Raises Exit."""
        if self._settings is None:
            from mailsuite.base.errors import ConfigError
            from mailsuite.config.dovecot import DovecotSettings
            try:
                self._settings = DovecotSettings.load(self.config)
            except ConfigError as error:
                raise Exit(EX_CONFIG, f"Fatal: {error.public}") from error
            if self.overrides:
                from mailsuite.config.dovecot_override import overridden
                try:
                    self._settings = overridden(self._settings, self.overrides)
                except ConfigError as error:
                    raise Exit(EX_TEMPFAIL, f"Fatal: Error reading configuration: {error.public}") from error
        return self._settings

    @property
    def _last_word(self) -> str:
        return self.command.words.rpartition(" ")[2]

    def socket_path(self, name: str) -> str:
        """A socket below base_dir, or an absolute path as it is."""
        return os.path.join(self.settings.text("base_dir"), name)

    def usage(self) -> NoReturn:
        raise Exit(EX_USAGE, f"doveadm {self.command.words} {self.command.usage}".rstrip())

    def options(self, arguments: list[str], with_value: str, flags: str = "") -> tuple[dict[str, list[str]], list[str]]:
        """getopt for a command: option letters to values ("" for flags), and the other arguments. Raises Exit."""
        found: dict[str, list[str]] = {}
        position = 0
        while position < len(arguments):
            word = arguments[position]
            if word == "--":
                position += 1
                break
            if len(word) < 2 or word[0] != "-":
                break
            position += 1
            rest = word[1:]
            while rest:
                letter, rest = rest[0], rest[1:]
                if letter in with_value:
                    if not rest:
                        if position >= len(arguments):
                            raise Exit(EX_USAGE, f"{self._last_word}: option requires an argument -- '{letter}'")
                        rest = arguments[position]
                        position += 1
                    found.setdefault(letter, []).append(rest)
                    rest = ""
                elif letter in flags:
                    found.setdefault(letter, []).append("")
                else:
                    raise Exit(EX_USAGE, f"{self._last_word}: invalid option -- '{letter}'")
        return found, arguments[position:]


def print_usage(prefix: str = "") -> None:
    """All commands, those with a common first word in one line; or those below a word."""
    print(f"usage: doveadm [-Dv] [-f <formatter>] {prefix + ' ' if prefix else ''}<command> [<args>]", file=sys.stderr)
    lines: dict[str, list[str]] = {}
    for command in COMMANDS:
        words = command.words.removeprefix(prefix + " ") if prefix else command.words
        if not command.words.startswith(prefix + " " if prefix else "") or command.words in ("acl", "quota"):
            continue
        first, _, rest = words.partition(" ")
        lines.setdefault(first, []).append(rest.partition(" ")[0] if rest else command.usage)
    for first, rest_words in sorted(lines.items()):
        print(f"  {first:<12} {'|'.join(dict.fromkeys(rest_words))}", file=sys.stderr)


def find_command(arguments: list[str]) -> tuple[Command, list[str]]:
    """The command with the most words that fit. Raises Exit after the usage was printed."""
    for count in (3, 2, 1):
        words = " ".join(arguments[:count])
        for command in COMMANDS:
            if command.words == words and len(arguments) >= count:
                return command, arguments[count:]
    below = [command for command in COMMANDS if arguments and command.words.startswith(arguments[0] + " ")]
    print_usage(arguments[0] if below else "")
    raise Exit(EX_USAGE)


def parse_global(arguments: list[str]) -> tuple[Doveadm, list[str]]:
    """The options before the command."""
    doveadm = Doveadm()
    rest = list(arguments)
    while rest and rest[0].startswith("-") and len(rest[0]) > 1:
        option = rest.pop(0)
        letter, value = option[1], option[2:]
        if letter in "cfo":
            if not value:
                if not rest:
                    raise Exit(EX_CONFIG, f"{sys.argv[0]}: option requires an argument -- '{letter}'")
                value = rest.pop(0)
            if letter == "c":
                doveadm.config = value
            elif letter == "f":
                doveadm.formatter = value
            else:
                doveadm.overrides.append(value)
        elif set(option[1:]) <= set("Dv"):
            doveadm.verbose = True
        else:
            raise Exit(EX_CONFIG, f"{sys.argv[0]}: invalid option -- '{letter}'")
    return doveadm, rest


def run(arguments: list[str]) -> int:
    """The command's exit status. Raises Exit."""
    doveadm, rest = parse_global(arguments)
    doveadm.command, rest = find_command(rest)
    module, _, function = doveadm.command.entry.partition(":")
    entry: Callable[[Doveadm, list[str]], int] = getattr(
        importlib.import_module(f"mailsuite.cli.{module}"), function)
    return entry(doveadm, rest)


def main() -> int:
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
        return status
    except Exit as error:
        sys.stdout.flush()
        if error.text:
            print(error.text, file=sys.stderr)
        return error.status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0


if __name__ == "__main__":
    sys.exit(main())
