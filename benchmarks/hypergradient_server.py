"""One hypergradient in a process of its own, answering calls in lines of JSON; runs in any library's environment.

    python hypergradient_server.py LIBRARY WORKLOAD KIND COUNT

``LIBRARY`` names the module ``hypergradient_LIBRARY`` beside this file, ``WORKLOAD`` a file of
``hypergradient_problems.save_workload``. Each line of input is a JSON list, a call's name and its arguments; each gets
one line of output. What the library prints goes to the error stream, where a traceback ends the process if it fails.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hypergradient_problems import Task, load_workload
from measurement import peak_bytes, seconds

__all__ = ["Server"]


class Server:
    """A library at work on a task.

    Args:
        library: its module's name without the prefix.
        path: the problem's file.
        task: what it computes.
    """

    def __init__(self, library: str, path: Path, task: Task) -> None:
        self._prepare: Callable[..., Callable[[], Sequence[Tensor]]]
        self._prepare = importlib.import_module(f"hypergradient_{library}").prepare
        self._path, self._task = path, task
        self._step = self._prepare(load_workload(path), task)

    def version(self) -> str:
        """Return torch's version."""
        return str(torch.__version__)

    def gradients(self, dtype: str, noise: float = 0.0) -> list[list[float]]:
        """Return the hypergradient in the logits and in the log decay.

        Args:
            dtype: name of the dtype it is computed in.
            noise: standard deviation of a factor on every weight, around 1.
        """
        workload = load_workload(self._path, getattr(torch, dtype))
        torch.manual_seed(0)
        with torch.no_grad():
            for weight in workload.module.parameters():
                weight.mul_(1 + noise * torch.randn_like(weight))
        return [part.detach().reshape(-1).tolist() for part in self._prepare(workload, self._task)()]

    def time(self, count: int) -> float:
        """Return the mean seconds of ``count`` hypergradients."""
        return seconds(self._step, count=count, device=torch.device("cpu"))

    def peak(self) -> int:
        """Return the most bytes that tensors made during one hypergradient hold at once."""
        return peak_bytes(self._step, torch.device("cpu"))


def main() -> None:
    """Answer calls until the input ends."""
    torch.set_num_threads(1)
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    library, path, kind, count = sys.argv[1:]
    task: Any = {"kind": kind, "count": int(count)}
    server = Server(library, Path(path), Task(**task))
    for line in sys.stdin:
        call, *arguments = json.loads(line)
        print(json.dumps(getattr(server, call)(*arguments)), file=replies, flush=True)


if __name__ == "__main__":
    main()
