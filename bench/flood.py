"""`python -m bench.flood PORT COUNT`: that many connections that send a head byte by byte, each made anew when cut."""

import asyncio
import contextlib
import random
import socket
import struct
import sys

_HEAD = b"GET /v1/time HTTP/1.1\r\nHost: a\r\nX-Slow: "
_AGAIN_SECONDS = 1.0


async def _peer(port: int, begun: asyncio.Semaphore) -> None:
    await asyncio.sleep(random.random() * _AGAIN_SECONDS)  # noqa: S311  # only that they do not all come at once
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            # No port is kept waiting behind it: whatever is measured next needs some.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            begun.release()
            writer.write(_HEAD)
            while not reader.at_eof() and not reader.exception():
                writer.write(b"x")
                await asyncio.sleep(_AGAIN_SECONDS)
            writer.close()
        await asyncio.sleep(_AGAIN_SECONDS)


async def _main(port: int, count: int) -> None:
    begun = asyncio.Semaphore(0)
    peers = [asyncio.create_task(_peer(port, begun)) for _ in range(count)]
    for _ in range(count):
        await begun.acquire()
    print("standing", flush=True)
    await asyncio.gather(*peers)


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
