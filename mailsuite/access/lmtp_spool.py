"""A message's content while it comes in: in memory when it is small, else in a file without a name.

    spool = Spool("/tmp");  spool.write(octets);  spool.fd;  spool.close()

The descriptor is given to the recipients' workers. A write that fails is kept in `failed`: the message is then refused
temporarily when it is complete.
"""

import os
import tempfile

MEMORY = 256 * 1024             # octets that are kept in memory


class Spool:
    """folder: mail_temp_dir."""

    def __init__(self, folder: str) -> None:
        self._folder, self.size = folder, 0
        self.fd = os.memfd_create("lmtp", os.MFD_CLOEXEC)
        self._in_memory = True
        self.failed: OSError | None = None

    def write(self, octets: bytes) -> None:
        if self.failed is not None:
            return
        try:
            if self._in_memory and self.size + len(octets) > MEMORY:
                self._to_file()
            view = memoryview(octets)
            while view:
                view = view[os.write(self.fd, view):]
            self.size += len(octets)
        except OSError as error:
            self.failed = error

    def _to_file(self) -> None:
        with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
            file.write(os.pread(self.fd, self.size, 0))
            os.close(self.fd)
            self.fd = os.dup(file.fileno())
        self._in_memory = False

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
