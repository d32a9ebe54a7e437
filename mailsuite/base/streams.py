"""Writing to a stream whose other end may be gone.

    put(writer, octets)

A StreamWriter of uvloop raises RuntimeError when it is written to after its connection was lost, asyncio's own loop
drops the octets. What callers are prepared for is the ConnectionError of a lost connection.
"""

import asyncio


def put(writer: asyncio.StreamWriter, octets: bytes) -> None:
    """Write without waiting. Raises ConnectionResetError when the connection is gone."""
    if writer.transport.is_closing():
        raise ConnectionResetError("the connection is gone")
    writer.write(octets)
