"""Runs scripts of this folder one after another, as one of two processes, and then alone where this is the first.

    python run_scripts.py RANK FOLDER [SCRIPT PORT NUMBER]...

NUMBER is how many images the joined batch has, or -. All run in
one process for each rank, because starting one costs more than most scripts do.
"""

import importlib
import os
import sys
from pathlib import Path


def main(rank, folder, *scripts):
    """Run every script, with its number of images, into a folder of its own."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": rank, "LOCAL_RANK": rank}
    for size in ("2", "1") if rank == "0" else ("2",):
        for name, port, number in zip(scripts[::3], scripts[1::3], scripts[2::3], strict=True):
            os.environ |= {"WORLD_SIZE": size, "MASTER_PORT": port}
            place = Path(folder) / name
            place.mkdir(exist_ok=True)
            importlib.import_module(name).main(place, *([int(number)] if number != "-" else []))


if __name__ == "__main__":
    main(*sys.argv[1:])
