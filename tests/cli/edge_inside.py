"""Run inside a network namespace of its own: loopback up, a local model server, and one command.

    python edge_inside.py REPORT CGROUP COMMAND…

CGROUP is a directory of a memory controller for the command alone, or `-`. REPORT gets a JSON object:
the command's exit code, its output, its peak memory, and what the server was asked. The server says that
its window is EDGE_WINDOW, and answers after EDGE_ROUNDS requests.
"""

import asyncio
import fcntl
import json
import os
import socket
import struct
import sys
from pathlib import Path

from local_kit import LocalServer
from model_helpers import Connection, sse

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def loopback_up() -> None:
    """What `ip link set lo up` does."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, SIOCGIFFLAGS, asked))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def reachable() -> list[str]:
    """Addresses outside that can be reached: there must be none."""
    found = []
    for address in ("192.0.2.1", "8.8.8.8"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.connect((address, 53))
            except OSError:
                continue
            found.append(address)
    return found


class Model:
    """Reads a long file piece by piece, then answers."""

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self, client: Connection) -> None:
        self.asked += 1
        if self.asked < int(os.environ["EDGE_ROUNDS"]):
            args = json.dumps({"path": "pumps.log", "offset": self.asked * 50, "limit": 60})
            function = {"name": "read_file", "arguments": args}
            call = {"index": 0, "id": f"c{self.asked}", "function": function}
            await client.stream(sse({"tool_calls": [call]}), sse({}, "tool_calls"), b"data: [DONE]\n\n")
        else:
            said = sse({"content": "Station 3 is 🟢."})
            await client.stream(said, sse({}, "stop"), b"data: [DONE]\n\n")


LAUNCH = """
import os, sys
cgroup, command = sys.argv[1], sys.argv[2:]
if cgroup != "-":
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))
os.execv(command[0], command)
"""


async def main(report: Path, cgroup: str, command: list[str]) -> None:
    loopback_up()
    model = Model()
    told = {"/props": {"default_generation_settings": {"n_ctx": int(os.environ["EDGE_WINDOW"])}}}
    async with LocalServer(model.answer, told) as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", LAUNCH, cgroup, *command),
            env={**os.environ, "LOOPSPEC_LOCAL_BASE": server.base},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    import resource

    report.write_text(
        json.dumps(
            {
                "code": process.returncode,
                "out": out.decode(),
                "err": err.decode(),
                "peak_kb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
                "asked": server.asked,
                "outside": reachable(),
                "tools": [len(body.get("tools", [])) for body in server.bodies],
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
