"""What commands cost before and beside their work: processor seconds of fresh processes of one thread.

    python benchmarks/start_up.py /tmp/base .      medians of five, for any number of checkouts
    python benchmarks/start_up.py --quick .        one process each

Seconds are user and system time of ``getrusage``. Checkouts take turns. Each has bytecode of its own, as an installed
package has; the processes that write it are not counted.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

_ROUNDS = 5
_TRAIN = "train supervised --epochs 1 --training.no-tensorboard --device cpu --out RUN"
_CASES = {
    "`import torch`": ["-c", "import torch"],
    "`import auxo.training`": ["-c", "import auxo.training"],
    "a mistyped recipe": "train osl",
    "`auxo train ossl --help`": "train ossl --help",
    "`auxo compare --help`": "compare --help",
    "a mistyped option": "train ossl --epocs 3",
    "`auxo predict` on 10 images": "predict RUN IMAGES --out RUN/predictions.csv",
    "`auxo evaluate`": "evaluate RUN",
    "`auxo report`": "report RUN",
}


def main() -> None:
    """Print the medians of each checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path, help="folders with src/auxo")
    parser.add_argument("--quick", action="store_true", help="one process each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(" | ".join(["what", *map(str, asked.checkouts)]))
        for title, seconds in measure_cases(asked.checkouts, Path(folder), rounds=1 if asked.quick else _ROUNDS):
            print(" | ".join([title, *(f"{each:.2f}" for each in seconds)]), flush=True)


def measure_cases(checkouts: list[Path], folder: Path, *, rounds: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the median processor seconds of each case in each checkout."""
    draws = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(10):
        pixels = draws.integers(0, 256, (28, 28, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
    for number, checkout in enumerate(checkouts):
        measure_process(_TRAIN, checkout, folder / str(number))
    for title, words in _CASES.items():
        found: list[list[float]] = [[] for _ in checkouts]
        for turn in range(rounds + 1):
            for number, checkout in enumerate(checkouts):
                seconds = measure_process(words, checkout, folder / str(number))
                if turn:  # the first writes bytecode
                    found[number].append(seconds)
        yield title, [median(each) for each in found]


def measure_process(words: str | list[str], checkout: Path, run: Path) -> float:
    """Return the processor seconds of a fresh process.

    Args:
        words: of the command auxo, or for Python.
        checkout: folder with src/auxo.
        run: stands for RUN among the words; bytecode lies beside it.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "PYTHONPATH": str(checkout.resolve() / "src"),
        "PYTHONPYCACHEPREFIX": str(run.with_name(f"{run.name}-bytecode")),
        "OMP_NUM_THREADS": "1",
    }
    if isinstance(words, str):
        text = words.replace("RUN", str(run)).replace("IMAGES", str(run.with_name("images")))
        words = ["-m", "auxo", *text.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2) or "Traceback" in done.stderr:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
