"""The rules for user names: which characters, what is put in their place, and who acts as whom."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mailsuite.config.variables import of_user
from mailsuite.sasl.mech import MechError
from mailsuite.sasl.request import AuthRequest

if TYPE_CHECKING:
    from mailsuite.config.dovecot import DovecotSettings


class BadName(MechError):
    """A user name that must not exist."""


@dataclass(frozen=True)
class NameRules:
    """auth_username_chars, _translation, _format, auth_default_realm, auth_master_user_separator."""

    chars: frozenset[str] | None
    translation: Mapping[int, str]
    format: str
    default_realm: str
    separator: str

    @classmethod
    def of(cls, settings: "DovecotSettings") -> "NameRules":
        chars, pairs = settings.text("auth_username_chars"), settings.text("auth_username_translation")
        translation = {ord(source): target for source, target in zip(pairs[::2], pairs[1::2], strict=False)}
        return cls(frozenset(chars) if chars else None, translation, settings.text("auth_username_format"),
                   settings.text("auth_default_realm"), settings.text("auth_master_user_separator"))

    def apply(self, request: AuthRequest, name: str, authzid: str = "", certified: str = "") -> None:
        """Set the request's user (and wanted_user). Raises BadName, with the name as it came left in the request.

        authzid: as whom to act; of "other*master" the first half, where the mechanism named nobody. certified: whom the
        client's certificate names, whatever the mechanism says.
        """
        if certified:
            request.original_user, name = name, certified
        else:
            if self.separator and self.separator in name:
                other, _, name = name.partition(self.separator)
                if not other and not authzid:
                    request.original_user = request.user = name
                    raise BadName("Master user login attempted to use empty login username")
                authzid = authzid or other
            request.original_user = name
        request.user = name
        try:
            wanted = self._normal(request, authzid) if authzid else ""
            request.user = self._normal(request, name)
            request.wanted_user = wanted
        except BadName:
            request.user, request.wanted_user, request.bad_name = "" if certified else name, "", True
            raise

    def _normal(self, request: AuthRequest, name: str) -> str:
        if not name:
            raise BadName("Empty username")
        if self.default_realm and "@" not in name:
            name = f"{name}@{self.default_realm}"
        if self.translation:
            name = name.translate(self.translation)
        if self.chars is not None and not self.chars.issuperset(name):
            bad = next(char for char in name if not self.chars.issuperset(char))
            raise BadName(f"Username character disallowed by auth_username_chars: 0x{ord(bad) & 0xFF:02x} "
                          f"(username: {name})")
        if self.format and self.format != "%u":
            request.user = name
            value = of_user(self.format)
            name = request.expand(self.format) if value is None else value(name)
            if not name:
                raise BadName("Empty username")
        return name
