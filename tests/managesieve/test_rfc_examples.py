"""The examples of RFC 5804 section 2, after the login; the texts are Pigeonhole's."""

from pathlib import Path

import pytest

from tests.managesieve.test_commands import Play
from tests.support.dialogues import talk

EXAMPLES = [
    pytest.param("""
        C: CAPABILITY
        S: ...
        S: OK{.*}
        C: HAVESPACE "myscript" 99999999999
        S: NO (QUOTA/MAXSIZE) "{.*}"
        C: HAVESPACE "foobar" 435
        S: OK "{.*}"
        """, id="sections 2.4 and 2.5: CAPABILITY, HAVESPACE"),
    pytest.param("""
        C: Putscript "mysievescript" {99+}
        C: require ["fileinto"];
        C:
        C: if envelope :contains "to" "tmartin+sent" {
        C:   fileinto "INBOX.sent";
        C: }
        C:
        S: OK{.*}
        C: Getscript "mysievescript"
        S: {{}99}
        S: require ["fileinto"];
        S:
        S: if envelope :contains "to" "tmartin+sent" {{}
        S:   fileinto "INBOX.sent";
        S: }
        S:
        S: OK{.*}
        """, id="sections 2.6 and 2.9: PUTSCRIPT, GETSCRIPT"),
    pytest.param("""
        C: Listscripts
        S: OK{.*}
        C: Putscript "summer_script" "keep;"
        S: OK{.*}
        C: Putscript {13+}
        C: clever"script "keep;"
        S: OK{.*}
        C: Putscript "main_script" "keep;"
        S: OK{.*}
        C: Setactive "main_script"
        S: OK{.*}
        C: Listscripts
        S: "clever\\"script"
        S: "main_script" ACTIVE
        S: "summer_script"
        S: OK{.*}
        C: listscripts
        S: ...
        S: OK{.*}
        C: Setactive "vacationscript"
        S: NO (NONEXISTENT) "{.*}"
        C: Setactive ""
        S: OK{.*}
        C: Setactive "baz"
        S: NO (NONEXISTENT) "{.*}"
        """, id="sections 2.7 and 2.8: LISTSCRIPTS, SETACTIVE"),
    pytest.param("""
        C: Putscript "foo" "keep;"
        S: OK{.*}
        C: Putscript "baz" "discard;"
        S: OK{.*}
        C: Setactive "baz"
        S: OK{.*}
        C: Deletescript "foo"
        S: OK{.*}
        C: Deletescript "baz"
        S: NO (ACTIVE) "{.*}"
        C: Putscript "foo" "keep;"
        S: OK{.*}
        C: Renamescript "foo" "bar"
        S: OK{.*}
        C: Renamescript "baz" "bar"
        S: NO (ALREADYEXISTS) "{.*}"
        C: Renamescript "baz" "new"
        S: OK{.*}
        C: Listscripts
        S: "bar"
        S: "new" ACTIVE
        S: OK{.*}
        """, id="sections 2.10 and 2.11: DELETESCRIPT, RENAMESCRIPT; the active script stays active"),
    pytest.param("""
        C: NOOP
        S: OK "{.*}"
        C: NOOP "STARTTLS-SYNC-42"
        S: OK (TAG "STARTTLS-SYNC-42") "Done"
        C: UNAUTHENTICATE
        S: NO{.*}
        C: Nonsense
        S: NO{.*}
        C: Logout
        S: OK{.*}
        """, id="sections 2.3, 2.13 and 1.4: NOOP, LOGOUT, what is not known"),
]


@pytest.mark.parametrize("dialogue", EXAMPLES)
def test_dialogue(dialogue: str, tmp_path: Path) -> None:
    play = Play(tmp_path)
    talk(dialogue, play.say)
