"""Owners and modes of the configuration, the queue and data_directory, in the words of Postfix's own `postfix check`.

Only a suite that runs as root has accounts of its own; else all belongs to one user, and only writing by others counts.
"""

import os
import stat
from collections.abc import Iterator

from mailsuite.check.finding import Finding, error, warning
from mailsuite.check.site import Site
from mailsuite.master.prepare import QUEUE_FOLDERS

WRITABLE = stat.S_IWGRP | stat.S_IWOTH
LOOKED_AT = 10_000      # entries of a folder tree
REPORTED = 20           # findings of one kind


def check_configuration_files(site: Site) -> Iterator[Finding]:
    """Whoever may write main.cf may run commands as any user."""
    for path, shown in _tree(site.directory, without=_kept_elsewhere(site)):
        try:
            found = os.lstat(path)
        except OSError:
            continue
        if site.privileged and found.st_uid != 0:
            yield _owner(path, shown, "root", warning)
        if not stat.S_ISLNK(found.st_mode):
            yield from _writable(path, shown, found)
        elif "/" in os.readlink(path) and not shown.endswith(("/./makedefs.out", "/./dovecot.conf")):
            # Another place has other rights, and a copy of the folder is not whole.
            yield warning(f"symlink leaves directory: {path}", (path, 0), f"put the file itself there, not a link to "
                          f"{os.readlink(path)}", postfix=f"symlink leaves directory: {shown}")


def check_queue_folders(site: Site) -> Iterator[Finding]:
    """What is there already; `start` makes what is missing."""
    if not site.privileged:
        return
    top, owner, group = site.text("queue_directory"), site.mail_owner(), site.setgid_group()
    for path, shown in ((top, f"{top}/."), (f"{top}/pid", f"{top}/pid")):
        found = _lstat(path)
        if found is not None:
            if found.st_uid != 0:
                yield _owner(path, shown, "root", warning)
            yield from _writable(path, shown, found)
    if owner is None:
        return                      # a strict load tells that
    for name in QUEUE_FOLDERS:
        path = f"{top}/{name}"
        found = _lstat(path)
        if found is None:
            continue
        if not stat.S_ISDIR(found.st_mode):
            yield error(f"{path} is not a folder", (path, 0), f"mv {path} {path}.old")
            continue
        if found.st_uid != owner.pw_uid:
            yield _owner(path, path, owner.pw_name, error)
        if name in ("public", "maildrop") and group is not None and found.st_gid != group:
            wanted = site.text("setgid_group")
            yield error(f"not owned by group {wanted}: {path}", (path, 0), f"chgrp {wanted} {path}",
                        postfix=f"not owned by group {wanted}: {path}")
        mode = stat.S_IMODE(found.st_mode)
        if mode & stat.S_IWOTH:
            yield error(f"writable by everybody: {path}", (path, 0), f"chmod {QUEUE_FOLDERS[name][0]:o} {path}")


def check_queue_files(site: Site) -> Iterator[Finding]:
    """Files of the queue that are not mail_owner's cannot be delivered."""
    top, owner = site.text("queue_directory"), site.mail_owner()
    if not site.privileged or owner is None:
        return
    count = 0
    for name in ("active", "incoming", "deferred", "hold", "bounce", "defer", "trace", "flush", "corrupt", "saved"):
        for path, _ in _tree(f"{top}/{name}", itself=False):
            found = _lstat(path)
            if found is None or stat.S_ISSOCK(found.st_mode) or stat.S_ISFIFO(found.st_mode):
                continue
            if found.st_uid != owner.pw_uid and (count := count + 1) <= REPORTED:
                yield _owner(path, path, owner.pw_name, error)
            if name == "corrupt" and stat.S_ISREG(found.st_mode):
                yield warning(f"damaged message: {path}", (path, 0), f"postcat {path}; then postsuper -d "
                              f"{os.path.basename(path)}", postfix=f"damaged message: corrupt/{os.path.basename(path)}")


def check_data_directory(site: Site) -> Iterator[Finding]:
    """Caches and locks of mail_owner: whoever else may write there can mislead it."""
    data, owner = site.text("data_directory"), site.mail_owner()
    if not site.privileged or owner is None or (os.path.isdir(data) and not os.listdir(data)):
        return                      # an empty one is taken over by `start`
    for path, shown in _tree(data):
        found = _lstat(path)
        if found is None:
            continue
        if found.st_uid != owner.pw_uid:
            yield _owner(path, shown, owner.pw_name, error if path == data else warning)
        if not stat.S_ISLNK(found.st_mode):
            yield from _writable(path, shown, found)


def check_mail_spool(site: Site) -> Iterator[Finding]:
    """Where local(8) makes the mailboxes of system users."""
    spool = site.text("mail_spool_directory")
    local = any(entry.command == "local" for entry in site.entries)
    if not site.privileged or not local or site.text("home_mailbox") or site.text("mailbox_command") \
            or site.text("mailbox_transport") or not site.words("mydestination"):
        return
    place = site.place("mail_spool_directory")
    found = _lstat(os.path.realpath(spool))
    if found is None:
        yield error(f"mail_spool_directory {spool} does not exist: no user can get mail", place,
                    f"mkdir {spool}; chgrp mail {spool}; chmod 2775 {spool}")
    elif found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        yield warning(f"everybody may remove others' mailboxes in {spool}", place, f"chmod o-w {spool}")


# --- helpers --------------------------------------------------------------------------------------------------------

def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None


def _kept_elsewhere(site: Site) -> frozenset[str]:
    """Folders that may lie beside main.cf (in a site of one folder) and have rules of their own."""
    paths = [site.text(name) for name in ("queue_directory", "data_directory", "virtual_mailbox_base",
                                           "dkim_key_directory")]
    paths += [os.path.dirname(site.text("maillog_file"))]
    if site.dovecot is not None:
        paths += [site.dovecot.text("base_dir"), site.dovecot.text("state_dir")]
    return frozenset(os.path.realpath(path) for path in paths if path) - {os.path.realpath(site.directory)}


def _tree(top: str, *, itself: bool = True, without: frozenset[str] = frozenset()) -> Iterator[tuple[str, str]]:
    """Paths below a folder, and as `find TOP/.` shows them."""
    if itself and os.path.isdir(top):
        yield top, f"{top}/."
    count = 0
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if os.path.realpath(os.path.join(folder, name)) not in without]
        for name in sorted([*folders, *files]):
            path = os.path.join(folder, name)
            yield path, f"{top}/.{path[len(top):]}"
            count += 1
            if count >= LOOKED_AT:
                return


def _owner(path: str, shown: str, name: str, how: object) -> Finding:
    make = error if how is error else warning
    return make(f"not owned by {name}: {path}", (path, 0), f"chown {name} {path}",
                postfix=f"not owned by {name}: {shown}")


def _writable(path: str, shown: str, found: os.stat_result) -> Iterator[Finding]:
    if found.st_mode & WRITABLE:
        make = error if found.st_mode & stat.S_IWOTH else warning
        yield make(f"group or other writable: {path}", (path, 0), f"chmod go-w {path}",
                   postfix=f"group or other writable: {shown}")
