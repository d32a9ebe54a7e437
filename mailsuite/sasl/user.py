"""What a user database says of a user, and what becomes of it in a mail process.

    UserInfo(user="alice", uid=2001, gid=2001, home="/home/alice", mail="", fields={...})

Fields are named as Dovecot's userdb names them: "mail", "quota_rule", "acl_groups"..., those of the password database
that began with "userdb_" included. uid, gid are None where the databases name none: mail_uid and mail_gid decide then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class UserInfo:
    """One user. fields: all extra fields as they came, in their order (uid, gid, home not repeated)."""

    user: str
    uid: int | None = None
    gid: int | None = None
    home: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def mail(self) -> str:
        """The user's own mail_location, or "" where the setting decides."""
        return self.fields.get("mail", "")

    @property
    def system_groups_user(self) -> str:
        """The system user whose supplementary groups the mail process takes ("" for none)."""
        return self.fields.get("system_groups_user", "")

    def to_message(self) -> dict[str, object]:
        """As JSON between our processes."""
        return {"user": self.user, "uid": self.uid, "gid": self.gid, "home": self.home, "fields": dict(self.fields)}

    @classmethod
    def from_message(cls, message: Mapping[str, object]) -> "UserInfo":
        """The reverse of to_message. Raises KeyError, ValueError for what is none."""
        uid, gid, fields = message["uid"], message["gid"], message["fields"]
        if not (uid is None or isinstance(uid, int)) or not (gid is None or isinstance(gid, int)):
            raise ValueError("uid and gid are numbers")
        if not isinstance(fields, dict):
            raise ValueError("fields is a mapping")
        return cls(str(message["user"]), uid, gid, str(message["home"]), {str(k): str(v) for k, v in fields.items()})
