"""One process of a shared tally: adds its own items of a set of a given size, writes those of all as JSON."""

import json
import sys
from pathlib import Path

import torch

from auxo.evaluation.tally import Tally
from auxo.runtime import RuntimeConfig, open_runtime


def scores_of(positions: torch.Tensor) -> dict[str, torch.Tensor]:
    """Scores that tell each item's place, and that float32 would round."""
    exact = positions.double() + 0.1
    return {"place": positions, "exact": exact, "both": torch.stack([exact, -exact], 1), "is_odd": positions % 2 == 1}


def main(destination: Path, size: int) -> None:
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        tally = Tally(size, runtime)
        tally.expect(scores_of(torch.arange(0, 1)))
        mine = torch.arange(runtime.rank, size, runtime.num_processes).flip(0)
        for positions in mine.split(3):
            tally.add(scores_of(positions), positions)
        merged = tally.merge()
    destination.write_text(json.dumps({name: values.tolist() for name, values in merged.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
