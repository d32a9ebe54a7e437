"""auth_verbose_passwords."""

import pytest

from mailsuite.base.errors import ConfigError
from mailsuite.base.secret import Secret
from mailsuite.sasl.shown import shown_password


@pytest.mark.parametrize(("setting", "want"), [
    ("no", ""), ("plain", " (given password: wr\u00f6ng?)"), ("yes", " (given password: wr\u00f6ng?)"),
    ("plain:2", " (given password: wr)"), ("sha1:6", " (SHA1 of given password: 92c0b1)"),
    ("md5", None), ("plain:", None), ("plain:x", None), ("sha1:0", None)])
def test_shown(setting: str, want: str | None) -> None:
    if want is None:
        with pytest.raises(ConfigError):
            shown_password(setting)
        return
    shown = shown_password(setting)
    assert shown(Secret("wr\u00f6ng\n".encode())) == want and shown(None) == ""
