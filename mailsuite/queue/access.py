"""Which local users may submit mail, see the queue, flush it: authorized_submit_users and its like.

    await allowed(settings, "authorized_flush_users", uid)
    await refused_sender(settings, uid, "a@b.test") -> "" or why not        local_login_sender_maps

Lists of login names, files and tables as in main.cf; "static:anyone" lets everybody. root and mail_owner always may
see and flush. A table that cannot be asked means no.
"""

import pwd
from typing import TYPE_CHECKING

from mailsuite.base.errors import TemporaryError
from mailsuite.queue.params import EMPTY_ADDRESS_LOCAL_LOGIN_KEY, LOCAL_LOGIN_SENDER_MAPS

if TYPE_CHECKING:
    from mailsuite.config.settings import Settings

UNKNOWN_SENDERS = "cannot find out which senders are allowed (local_login_sender_maps)"


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


async def refused_sender(settings: "Settings", uid: int, sender: str) -> str:
    """Why a local user may not submit mail with this envelope sender; "" when he may. sender: "" is the null sender."""
    text = settings[LOCAL_LOGIN_SENDER_MAPS]
    if text.strip() == "static:*":
        return ""
    from mailsuite.address.syntax import split_domain, split_extension
    from mailsuite.maps.maps import MapSource, open_maps
    user = user_name(uid)
    try:
        found = await open_maps(text, MapSource(settings, "postdrop")).find(user if user != "unknown" else f"uid:{uid}")
    except TemporaryError:
        return UNKNOWN_SENDERS
    local, domain = split_domain(sender)
    local = split_extension(local, settings.text("recipient_delimiter"))[0]
    wanted = {"*", f"@{domain}" if domain else "*",
              f"{local}@{domain}" if domain else local or settings[EMPTY_ADDRESS_LOCAL_LOGIN_KEY]}
    patterns = {pattern.lower() for pattern in (found or "").replace(",", " ").split()}
    return "" if patterns & {one.lower() for one in wanted} else f"not authorized to use sender='{sender}'"
