"""An auth service with sockets in a temporary folder."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mailsuite.config.dovecot import DovecotSettings
from mailsuite.config.settings import Settings
from mailsuite.net.service import Listener, ServiceContext
from mailsuite.sasl.server import serve

USERS = """\
alice:{PLAIN}secret-alice:5000:5000::/home/alice::
slow:{SHA512-CRYPT}$6$/.GHcjHhXf1tlLeB$LM5xZKc61E1m4wJxNevx1TB7GX2.kgHjoTSjswV.6r.8Bgvi0oJokXGWxXWiudb4W9ZzkKJDOb1Vqnyti.brG/:5000:5000::/x::
nopass::5000:5000::/x::
unknown:{NOSUCH}abc:5000:5000::/x::
broken:{SSHA256}short:5000:5000::/x::
open:{PLAIN}:5000:5000::/x::nopassword
refused:{PLAIN}secret-refused:5000:5000::/x::nologin=yes reason=Come_back_later
nets:{PLAIN}secret-nets:5000:5000::/x::allow_nets=192.0.2.9/32
extra:{PLAIN}secret-extra:5000:5000::/x::foo=bar userdb_mail=x:%u baz= nodelay=y userdb_home=/h/%n
ren:{PLAIN}secret-ren:5000:5000::/x::user=alice
dom@a.test:{PLAIN}secret-dom:5000:5000::/x::domain=b.test
# a comment
short:{PLAIN}secret-short
"""
CONF = """\
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_failure_delay = 0
auth_master_user_separator = *
passdb {
  driver = passwd-file
  args = scheme=PLAIN username_format=%%u %(folder)s/users
}
passdb {
  driver = passwd-file
  args = scheme=PLAIN %(folder)s/masters
  master = yes
  result_success = continue
}
userdb {
  driver = passwd-file
  args = username_format=%%u %(folder)s/users
}
%(more)s
"""


def settings(folder: Path, more: str = "", *, conf: str = CONF) -> DovecotSettings:
    (folder / "users").write_text(USERS)
    (folder / "masters").write_text("boss:{PLAIN}secret-boss\n")
    return DovecotSettings.of(conf % {"folder": folder, "more": more})


def listener(folder: Path, name: str) -> Listener:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    sock.bind(str(folder / name))
    sock.listen(64)
    return Listener(name, sock, "unix")


@asynccontextmanager
async def auth_service(folder: Path, conf: DovecotSettings) -> AsyncIterator[ServiceContext]:
    """Runs on folder/auth, folder/auth-userdb and folder/auth-master."""
    context = ServiceContext("auth", "auth", Settings.of({}), conf)
    context.listeners = [listener(folder, name) for name in ("auth", "auth-userdb", "auth-master", "login/login")]
    ready = asyncio.Event()
    context.ready = ready.set
    task = asyncio.create_task(serve(context))
    await asyncio.wait({task, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield context
    finally:
        context.stopping.set()
        await task
        for each in context.listeners:
            each.sock.close()
