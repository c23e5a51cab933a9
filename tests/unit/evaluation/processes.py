"""Programs of this folder in real processes that form a group."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_processes(program: str, folder: Path, *words: object, num_processes: int = 2) -> list[Any]:
    """Run a program that writes JSON to the path it is given first, and return what each process wrote."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []
    for rank in range(num_processes):
        variables = {"RANK": rank, "WORLD_SIZE": num_processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        command = [sys.executable, Path(__file__).with_name(program), folder / f"{rank}.json", *words]
        environment = os.environ | {key: str(value) for key, value in variables.items()}
        running.append(subprocess.Popen([str(word) for word in command], env=environment))
    assert [process.wait(timeout=1500) for process in running] == [0] * num_processes
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(num_processes)]
