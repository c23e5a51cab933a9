"""What the command line costs before it does anything: processor seconds above torch's own.

    python benchmarks/start_up.py /tmp/base .      medians of five fresh processes each, for any number of checkouts

Every import runs in a process of its own; seconds are user and system time of ``getrusage``; checkouts take turns.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median

_ROUNDS = 5


def main() -> None:
    """Print the medians of each checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path, help="folders with src/auxo")
    places = parser.parse_args().checkouts
    torch, whole = ({place: [] for place in places} for _ in range(2))
    for _ in range(_ROUNDS):
        for place in places:
            torch[place].append(measure_import("torch", place))
            whole[place].append(measure_import("auxo.cli.train", place))
    print("checkout | torch | auxo.cli.train | above torch")
    for place in places:
        own, total = median(torch[place]), median(whole[place])
        print(f"{place} | {own:.2f} | {total:.2f} | {total - own:.2f}")


def measure_import(module: str, checkout: Path) -> float:
    """Return the processor seconds of a fresh process that imports a module."""
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src"), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
