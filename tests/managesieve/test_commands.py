"""ManageSieve after login, on a folder of scripts: where we do not differ, what Pigeonhole 0.5.19 said to the lines."""

import os
from pathlib import Path

import pytest

from mailsuite.base.dialogue import Action, Ask, Close, Send
from mailsuite.managesieve import commands
from mailsuite.managesieve.commands import COMMANDS, NOT_RUN, Context
from mailsuite.managesieve.scripts import Limits, Place, ScriptError, ScriptStore, is_valid_name
from mailsuite.managesieve.session import MAX_BAD_COMMANDS, Answer, Session


class Play:
    """A session over a folder."""

    def __init__(self, home: Path, limits: Limits | None = None) -> None:
        limits = limits or Limits()
        self.context = Context("test", "", "", lambda: ScriptStore(Place.of({}, str(home)), limits), limits.max_octets)
        self.session = Session(line_limit=8192, literal_limit=limits.max_octets)
        self.closed = ""
        self.out = b""
        self.do(self.session.opened())

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Send():
                    self.out += action.octets
                case Close():
                    self.closed = action.reason
                case Ask():
                    done = commands.run(self.context, action.question)      # type: ignore[arg-type]
                    self.do(self.session.answered(Answer(done.octets, done.bad, done.close)))

    def say(self, octets: bytes) -> bytes:
        self.out = b""
        self.do(self.session.feed(octets))
        return self.out


SCRIPT = b'require "fileinto";\r\nkeep;\r\n'
DIALOGUE = [
    (b"LISTSCRIPTS", b'OK "Listscripts completed."'),
    (b"NOOP", b'OK "NOOP Completed"'),
    (b'NOOP "x\\"y"', b'OK (TAG "x\\"y") "Done"'),
    (b"NOOP {3+}\r\nabc", b'OK (TAG "abc") "Done"'),
    (b"NOOP x", b'NO "Invalid echo tag."'),
    (b'HAVESPACE "a" 100', b'OK "Putscript would succeed."'),
    (b'HAVESPACE "a" 9999999999999', b'NO (QUOTA/MAXSIZE) "Script is too large (max 1048576 bytes)."'),
    (b'HAVESPACE "a"', b'NO "Error in MANAGESIEVE command HAVESPACE: Missing arguments."'),
    (b'HAVESPACE "a/b" 3', b'NO "Invalid script name."'),
    (b'PUTSCRIPT "one" {%d+}\r\n%b' % (len(SCRIPT), SCRIPT), b'OK "PUTSCRIPT completed."'),
    (b'PUTSCRIPT "two" "keep;"', b'OK "PUTSCRIPT completed."'),
    (b'PUTSCRIPT "a/b" "keep;"', b'NO "Invalid Sieve script name `a/b\'."'),
    (b'PUTSCRIPT "" "keep;"', b'NO "Invalid Sieve script name `\'."'),
    (b'PUTSCRIPT "x"', b'NO "Error in MANAGESIEVE command PUTSCRIPT: Invalid arguments."'),
    (b"LISTSCRIPTS", b'"one"\r\n"two"\r\nOK "Listscripts completed."'),
    (b'SETACTIVE "one"', b'OK (WARNINGS) "' + NOT_RUN.encode() + b'"'),
    (b"LISTSCRIPTS", b'"one" ACTIVE\r\n"two"\r\nOK "Listscripts completed."'),
    (b'SETACTIVE "one"', b'OK "Script is already active."'),
    (b'DELETESCRIPT "one"', b'NO (ACTIVE) "Cannot delete the active Sieve script."'),
    (b'GETSCRIPT "one"', b'{28}\r\n' + SCRIPT + b'\r\nOK "Getscript completed."'),
    (b'GETSCRIPT "none"', b'NO (NONEXISTENT) "Sieve script `none\' not found"'),
    (b'SETACTIVE "none"', b'NO (NONEXISTENT) "Sieve script `none\' not found"'),
    (b'DELETESCRIPT "none"', b'NO (NONEXISTENT) "Sieve script `none\' not found"'),
    (b'RENAMESCRIPT "two" "three"', b'OK "Renamescript completed."'),
    (b'RENAMESCRIPT "one" "three"', b'NO (ALREADYEXISTS) "A sieve script with that name already exists."'),
    (b'RENAMESCRIPT "one" "uno"', b'OK "Renamescript completed."'),
    (b'RENAMESCRIPT "none" "x"', b'NO (NONEXISTENT) "Sieve script `none\' not found"'),
    (b"LISTSCRIPTS", b'"three"\r\n"uno" ACTIVE\r\nOK "Listscripts completed."'),
    (b'SETACTIVE ""', b'OK "Active script is now deactivated."'),
    (b'SETACTIVE ""', b'OK "No scripts currently active."'),
    (b'DELETESCRIPT "uno"', b'OK "Deletescript completed."'),
    (b'CHECKSCRIPT "keep;"', b'OK (WARNINGS) "This server does not check Sieve scripts yet."'),
    (b"FOO", b'NO "Error in MANAGESIEVE command FOO: Unknown command."'),
    (b"STARTTLS", b'NO "Error in MANAGESIEVE command STARTTLS: Unknown command."'),
    ('PUTSCRIPT "\u00e4 b" "keep;"'.encode(), b'OK "PUTSCRIPT completed."'),
    (b"LISTSCRIPTS x", b'NO "Error in MANAGESIEVE command LISTSCRIPTS: Too many arguments."'),
    (b"GETSCRIPT three", b'NO "Error in MANAGESIEVE command GETSCRIPT: Invalid arguments."'),
    (b'GETSCRIPT "three', b'NO "Error in MANAGESIEVE command GETSCRIPT: Invalid quoted string."'),
    (b"LOGOUT", b'OK "Logout completed."'),
]


def test_a_dialogue(tmp_path: Path) -> None:
    play = Play(tmp_path)
    assert play.out == b'OK "Logged in."\r\n'
    for line, want in DIALOGUE:
        assert play.say(line + b"\r\n") == want + b"\r\n", line
    assert play.closed == "Logged out"
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert found == ["sieve/three.sieve", "sieve/\u00e4 b.sieve"]
    assert (tmp_path / "sieve/three.sieve").stat().st_mode & 0o777 == 0o600


def test_packet_borders_do_not_matter(tmp_path: Path) -> None:
    stream = b"\r\n".join(line for line, _ in DIALOGUE) + b"\r\n"
    want = b"".join(text + b"\r\n" for _, text in DIALOGUE)
    for size in (1, 7, len(stream)):
        home = tmp_path / str(size)
        play = Play(home)
        assert b"".join(play.say(stream[at:at + size]) for at in range(0, len(stream), size)) == want


def test_the_link_is_as_pigeonhole_makes_it(tmp_path: Path) -> None:
    play = Play(tmp_path)
    play.say(b'PUTSCRIPT "one" "keep;"\r\nSETACTIVE "one"\r\n')
    assert os.readlink(tmp_path / ".dovecot.sieve") == "sieve/one.sieve"
    play.say(b'RENAMESCRIPT "one" "two"\r\n')
    assert os.readlink(tmp_path / ".dovecot.sieve") == "sieve/two.sieve"
    assert (tmp_path / ".dovecot.sieve").read_bytes() == b"keep;"


def test_a_file_that_was_written_by_hand_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".dovecot.sieve").write_text("discard;")
    play = Play(tmp_path)
    play.say(b'PUTSCRIPT "one" "keep;"\r\nSETACTIVE "one"\r\n')
    assert (tmp_path / "sieve/dovecot.orig.sieve").read_text() == "discard;"
    assert play.say(b"LISTSCRIPTS\r\n").startswith(b'"dovecot.orig"\r\n"one" ACTIVE\r\n')


@pytest.mark.parametrize(("limits", "code"), [
    (Limits(max_octets=10), b"QUOTA/MAXSIZE"),
    (Limits(max_scripts=1), b"QUOTA/MAXSCRIPTS"),
    (Limits(storage=8), b"QUOTA/MAXSTORAGE"),
])
def test_limits(tmp_path: Path, limits: Limits, code: bytes) -> None:
    play = Play(tmp_path, limits)
    assert play.say(b'PUTSCRIPT "a" "keep;"\r\n').startswith(b"OK")
    assert play.say(b'PUTSCRIPT "b" {11+}\r\nkeep; stop;\r\n').startswith(b"NO (" + code)
    assert play.say(b'PUTSCRIPT "a" "stop;"\r\n').startswith(b"OK")          # in the place of the old one


def test_a_large_script_is_read_over_and_another_large_literal_ends_the_session(tmp_path: Path) -> None:
    play = Play(tmp_path, Limits(max_octets=100))
    assert play.say(b'PUTSCRIPT "a" {5000+}\r\n' + b"x" * 5000 + b"\r\nNOOP\r\n") == (
        b'NO (QUOTA/MAXSIZE) "Script is too large (max 100 bytes)."\r\nOK "NOOP Completed"\r\n')
    assert play.say(b"NOOP {5000+}\r\n") == b'BYE "Literal size too large"\r\n' and play.closed


def test_bad_commands_and_long_lines_end_the_session(tmp_path: Path) -> None:
    play = Play(tmp_path)
    assert play.say(b"FOO\r\n" * MAX_BAD_COMMANDS).endswith(b'BYE "Too many invalid MANAGESIEVE commands."\r\n')
    assert play.closed
    play = Play(tmp_path)
    assert play.say(b"NOOP " + b"x" * 9000) == b'BYE "Input buffer full, aborting"\r\n'


@pytest.mark.parametrize("name", ["", "a/b", "a\0b", "a\nb", "\u2028", "x" * 251, "\u00e4" * 126])
def test_bad_names(name: str) -> None:
    assert not is_valid_name(name)


@pytest.mark.parametrize(("plugin", "folder", "active"), [
    ({}, "/home/a/sieve", "/home/a/.dovecot.sieve"),
    ({"sieve": "file:~/scripts;active=~/active.sieve"}, "/home/a/scripts", "/home/a/active.sieve"),
    ({"sieve": "file:/srv/sieve"}, "/srv/sieve", "/home/a/.dovecot.sieve"),
    ({"sieve": "~/.my.sieve", "sieve_dir": "~/all"}, "/home/a/all", "/home/a/.my.sieve"),
])
def test_places(plugin: dict[str, str], folder: str, active: str) -> None:
    assert Place.of(plugin, "/home/a") == Place(Path(folder), Path(active))
    if "~" in str(plugin) or not plugin:
        with pytest.raises(ScriptError):
            Place.of(plugin, "")


def test_every_command_of_the_standard_is_there() -> None:
    assert set(COMMANDS) == {"CAPABILITY", "NOOP", "LOGOUT", "LISTSCRIPTS", "HAVESPACE", "PUTSCRIPT", "CHECKSCRIPT",
                             "GETSCRIPT", "SETACTIVE", "DELETESCRIPT", "RENAMESCRIPT"}
