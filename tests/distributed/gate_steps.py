"""Takes steps of G-SSL with every gate in float64 and saves weights and metrics; one of the processes named outside."""

import dataclasses
import importlib.util

import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline, Loader
from auxo.data.fake import oriented_shapes
from auxo.gates import GateConfig
from auxo.gates.combinations.nonlinear import NonlinearCombination
from auxo.interfaces import TrainState
from auxo.losses import LDAM
from auxo.losses.attacks import PGDConfig
from auxo.methods.gssl import GSSL
from auxo.optimizers import OptimizerConfig
from auxo.options import find_member
from auxo.pretexts import GatedPretextsConfig
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification
from auxo.types import Normalisation

LDAM_DRW = LDAM(class_weights="effective_number", reweight_after=0.5)
HAS_TORCHJD = importlib.util.find_spec("torchjd") is not None
STEPS, SIDE = 3, 12  # a gate that looks back over two epochs, or begins after two steps, has done so


def gated(name, weight=1.0, **options):
    """G-SSL under a gate; the weight of one lets the gate's part be seen."""
    gate = find_member(GateConfig, name)(**options)
    pretexts = GatedPretextsConfig(gate=gate, weight=weight, shuffle_space="pixels")
    return GSSL.Config(pretexts=pretexts, optimizer=OptimizerConfig(lr=0.05))


CASES = {
    "dwa": gated("dwa", temperature=0.01),
    "frozen A": gated("frozen"),
    "frozen B": gated("frozen", form="softmax_of_mean", init="kaiming"),
    "frozen, per sample": gated("frozen", form="per_sample"),
    "gcs": gated("gcs", weighted=True),
    "gradnorm": gated("gradnorm", where="all"),
    "hypergradient": gated("hypergradient", every=2, ratio=0.5),
    "hypergradient, nonlinear, covers all": dataclasses.replace(
        gated("hypergradient", network=NonlinearCombination.Config(), rule="sgd"), covers="all"
    ),
    "learned A": gated("learned"),
    "learned B": gated("learned", form="softmax_of_mean", init="kaiming"),
    "learned, per sample": gated("learned", form="per_sample"),
    "learned scalar": gated("learned_scalar"),
    "uncertainty": gated("uncertainty"),
    "uniform": gated("uniform"),
    "covers all, LDAM-DRW": dataclasses.replace(
        gated("learned", weight=0.3), covers="all", class_loss=LDAM_DRW, head="cosine"
    ),
    "gcs, covers all, attack": dataclasses.replace(gated("gcs"), covers="all", attack=PGDConfig(steps=2)),
    "attack": dataclasses.replace(gated("learned", weight=0.3), attack=PGDConfig(steps=2)),
}
if HAS_TORCHJD:
    CASES |= {f"torchjd {name}": gated("torchjd", aggregator=name) for name in ("upgrad", "mgda", "pcgrad", "imtl_g")}


def widen(batch):
    """The batch in float64."""
    exact = Normalisation(*(part.double() for part in batch.normalisation))
    return dataclasses.replace(batch, images=batch.images.double(), normalisation=exact)


def main(folder, batch_size):
    torch.set_num_threads(1)
    source = oriented_shapes(30, size=SIDE, seed=2)
    pipeline = InputPipeline.from_source(source)
    task = Classification(source.vocabulary["label"], *source.image_shape, class_counts=(400, 30, 20, 1))
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as runtime:
        for name, config in CASES.items():
            views = config.required_views()
            loaders = {
                view: Loader(
                    source,
                    batch_size=views[view].count_images(batch_size),
                    seed=7 + len(view),
                    rank=runtime.rank,
                    num_processes=runtime.num_processes,
                )
                for view in views
            }
            method = config.build(Networks(BackboneConfig(name="resnet8"), task, seed=0)).double()
            runtime.prepare(method, networks=method.networks)
            method.train()
            state = TrainState(method.optimizers(), seed=0, num_steps=STEPS, steps_per_epoch=1)
            saved = {}
            feeds = (loader.batches(range(STEPS)) for loader in loaders.values())
            for parts in zip(*feeds, strict=True):
                batches = {view: widen(pipeline(batch, seed=None)) for view, batch in zip(views, parts, strict=True)}
                metrics = method.update(state, batches, runtime)
                averaged = runtime.mean(metrics.values())
                saved |= {f"{state.step} {key}": value for key, value in zip(metrics, averaged, strict=True)}
                state.step += 1
            where = f"{name}-{runtime.rank}-of-{runtime.num_processes}.safetensors"
            save_file({**method.state_dict(), **saved}, folder / where)
