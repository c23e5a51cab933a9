"""What a comparison costs beside its steps: processor seconds of all its processes, one run at a time, one thread each.

    python benchmarks/grid.py /tmp/base .          4 methods x 5 seeds on 1,000 digits, for any number of checkouts
    python benchmarks/grid.py --quick .            2 methods x 2 seeds

Processor seconds are user and system time of ``getrusage``; those of steps are the runs' own ``train_seconds``, which
are of a wall clock: let nothing else run beside. Weights of all checkouts are compared.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.numpy import load_file

_METHODS = ("supervised", "rotation", "ossl", "gssl")
_WORDS = "compare digits --epochs 2 --budget recipe --data.num-train 1000 --training.no-tensorboard --device cpu"
_PLACES = "--processes 1 --threads 1"


def main() -> None:
    """Print the processor seconds of a grid in each checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path, help="folders with src/auxo")
    parser.add_argument("--quick", action="store_true", help="2 methods x 2 seeds")
    asked = parser.parse_args()
    methods, seeds = (_METHODS[:2], 2) if asked.quick else (_METHODS, 5)
    print("checkout | runs | all, CPU s | steps, s | rest, CPU s | rest of a run | largest process, MB | weights")
    with tempfile.TemporaryDirectory() as folder:
        for number, checkout in enumerate(asked.checkouts):
            print(measure_grid(checkout, Path(folder) / str(number), methods, seeds), flush=True)


def measure_grid(checkout: Path, folder: Path, methods: tuple[str, ...], seeds: int) -> str:
    """Return the row of a checkout."""
    words = [*_WORDS.split(), *_PLACES.split(), "--methods", *methods, "--seeds", str(seeds)]
    run_command(checkout, folder, ["train", "supervised", "--help"])  # starts the bytecode
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_command(checkout, folder, [*words, "--out", str(folder)])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    runs = sorted(path.parent for path in folder.glob("*/model.safetensors"))
    steps = sum(read_seconds(run) for run in runs)
    weights = hash_weights(runs)
    rest = whole - steps
    memory = after.ru_maxrss / 1024
    cells = (
        len(runs),
        f"{whole:.1f}",
        f"{steps:.1f}",
        f"{rest:.1f}",
        f"{rest / len(runs):.2f}",
        f"{memory:.0f}",
        weights,
    )
    return " | ".join(map(str, (checkout, *cells)))


def hash_weights(runs: list[Path]) -> str:
    """Return the beginning of a hash of all tensors of all runs; what a file says beside them may differ."""
    hashed = hashlib.sha256()
    for run in runs:
        for name, values in sorted(load_file(run / "model.safetensors").items()):
            hashed.update(name.encode() + values.tobytes())
    return hashed.hexdigest()[:12]


def read_seconds(run: Path) -> float:
    """Return the seconds that the steps of a run took."""
    rows = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    return max(float(row.get("train_seconds", 0)) for row in rows)


def run_command(checkout: Path, folder: Path, words: list[str]) -> None:
    """Give a command of auxo; bytecode lies beside the folder, as an installed package has it."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment |= {
        "PYTHONPATH": str(checkout.resolve() / "src"),
        "PYTHONPYCACHEPREFIX": str(folder.with_name(f"{folder.name}-bytecode")),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "auxo", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")


if __name__ == "__main__":
    main()
