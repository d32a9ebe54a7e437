"""Which local users may submit mail, see the queue, flush it: authorized_submit_users and its like.

    await allowed(settings, "authorized_flush_users", uid)

Lists of login names, files and tables as in main.cf; "static:anyone" lets everybody. root and mail_owner always may
see and flush. A table that cannot be asked means no.
"""

import pwd
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings


def user_name(uid: int) -> str:
    """"unknown" for a uid without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "unknown"


async def allowed(settings: "Settings", name: str, uid: int) -> bool:
    """Whether the parameter's list has the user."""
    text = settings.text(name)
    if text.strip() == "static:anyone":
        return True
    user = user_name(uid)
    if name != "authorized_submit_users" and (uid == 0 or user == settings.text("mail_owner")):
        return True
    # Late: commands start without the table code where everybody may.
    from mailsuite.maps.maps import MapSource
    from mailsuite.maps.matchlist import NameList
    try:
        return await NameList(text, MapSource(settings, "postdrop"), name=name).matches(user)
    except TemporaryError:
        return False
