"""One process of a shared evaluation: reads RANK and WORLD_SIZE, writes the rows of sets of given sizes as JSON."""

import json
import sys
from pathlib import Path

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline, TestSplit
from auxo.data.fake import SHAPES, oriented_shapes
from auxo.evaluation import Reader
from auxo.methods.ossl import OSSL
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification


def main(destination: Path, sizes: list[int]) -> None:
    task = Classification(SHAPES, channels=3, height=28, width=28)
    pipeline = InputPipeline.from_source(oriented_shapes(50, size=28, seed=0))
    method = OSSL.Config().build(Networks(BackboneConfig(), task, seed=0))
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        splits = [TestSplit(oriented_shapes(size, size=28, seed=1)) for size in sizes]
        reader = Reader(method=method, pipeline=pipeline, runtime=runtime, batch_size=16)
        rows = [row for split in splits for row in reader.evaluate(split)]
    destination.write_text(json.dumps([row.to_record() for row in rows]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
