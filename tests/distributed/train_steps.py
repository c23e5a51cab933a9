"""Takes steps of several methods in float64 and saves their weights; one of the processes the environment names."""

import dataclasses

import torch
from safetensors.torch import save_file

from auxo.backbones import BackboneConfig
from auxo.data import InMemorySource, InputPipeline, Loader, PlaceMap
from auxo.data.fake import oriented_shapes
from auxo.gates.gcs import GCSGate
from auxo.gates.uncertainty import UncertaintyGate
from auxo.interfaces import TrainState
from auxo.layers.cell_weights import independence_weights
from auxo.layers.decoders.deeplab import DeepLab
from auxo.losses import LDAM, PixelLossConfig
from auxo.losses.invariance.group_dro import GroupDRO
from auxo.losses.invariance.hsic import HSIC
from auxo.losses.invariance.irm import IRM
from auxo.losses.invariance.mmd import MMD
from auxo.losses.invariance.vrex import VREx
from auxo.losses.kernels.rbf import RBF
from auxo.methods.auxilearn import AuxiLearn
from auxo.methods.bissl import BiSSL
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.methods.fixmatch import FixMatch
from auxo.methods.joint_training import JointTraining
from auxo.methods.maxl import MAXL
from auxo.methods.multi_pretext import FineTuningConfig, MultiPretext
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.pixel_contrast import PixelContrast
from auxo.methods.pretrain import Pretraining
from auxo.methods.segmenter import Segmenter
from auxo.methods.shortcut_removal import ShortcutRemoval
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import GatedPretextsConfig, GivenTasksConfig
from auxo.pretexts.byol import BYOL
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.fusions.relation_distillation import RelationDistillation
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.labelling import InventedTaskConfig
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.solvers.conjugate_gradient import ConjugateGradientSolver
from auxo.solvers.mfac import MFACSolver
from auxo.tasks import Classification, Segmentation, Target
from auxo.types import Column

LDAM_DRW = LDAM(class_weights="effective_number", reweight_after=0.25)
SURE = FixMatch.Config(threshold=0.3, ratio=2)
CASES = {
    "fixmatch": (SURE, "resnet8"),
    "fixmatch-gated": (dataclasses.replace(SURE, pretexts=GatedPretextsConfig()), "lenet5"),
    "supervised-ldam-drw": (Supervised.Config(class_loss=LDAM_DRW, head="cosine"), "lenet5"),
    "ossl-without-batch-norm": (OSSL.Config(), "lenet5"),
    "ossl-synchronised-batch-norm": (OSSL.Config(), "resnet8"),
    "rotation-random": (JointTraining.Config(pretext=Rotation("random")), "lenet5"),
    "ossl-implicit": (OSSL.Config(scope="implicit", implicit=ImplicitConfig(newton_steps=6, iterations=40)), "lenet5"),
}
TAUGHT = MAXL.Config(passes="interleaved", hidden=16, sub_classes=(3,), gamma=2.0, entropy="class", alpha=0.1)
CASES |= {
    "maxl": (TAUGHT, "lenet5"),
    "maxl-second-order": (dataclasses.replace(TAUGHT, hypergradient="second_order", entropy="batch"), "lenet5"),
    "maxl-image-rewards": (dataclasses.replace(TAUGHT, image_rewards=True), "lenet5"),
    "maxl-meta-two-passes": (dataclasses.replace(TAUGHT, outer="meta", passes="two", monitor_every=2), "lenet5"),
}
INVENTED = InventedTaskConfig(sub_classes=(3,), every=2, hidden=16, entropy_weight=0.2, weight=1.0)
CASES |= {
    "auxilearn": (
        AuxiLearn.Config(
            given=GivenTasksConfig(pretexts=("rotation", "jigsaw")),
            invented=INVENTED,
            gate=UncertaintyGate.Config(),
            covers="all",
            monitor_every=2,
        ),
        "lenet5",
    ),
    "auxilearn-hypergradient": (
        AuxiLearn.Config(given=GivenTasksConfig(pretexts=("jigsaw",)), invented=INVENTED, covers="all"),
        "lenet5",
    ),
    "auxilearn-gcs": (
        AuxiLearn.Config(
            given=GivenTasksConfig(pretexts=("flip",)), invented=INVENTED, gate=GCSGate.Config(), monitor_every=3
        ),
        "lenet5",
    ),
}
# Scaled so that steps at random weights stay small: rounding must not grow from step to step.
SLOW = OptimizerConfig(lr=1e-4)
TWO_LEVELS = dataclasses.replace(
    BiSSL.Config.tiny(),
    optimizer=SLOW,
    lower_optimizer=SLOW,
    solver=ConjugateGradientSolver(iterations=2, damping=1000.0),
    coupling=1.0,
)
NARROW = BYOL.Config(hidden=16, outputs=8)
CASES |= {
    "bissl": (TWO_LEVELS, "resnet8"),
    "bissl-mfac": (dataclasses.replace(TWO_LEVELS, solver=MFACSolver()), "resnet8"),
    "bissl-rotation": (dataclasses.replace(TWO_LEVELS, pretext=Rotation("random")), "resnet8"),
    "pretrain-byol": (Pretraining.Config(optimizer=SLOW, pretext=NARROW), "lenet5"),
    "pretrain-jigsaw": (Pretraining.Config(optimizer=SLOW, pretext=Jigsaw(2)), "lenet5"),
}
TWO = MultiPretext.Config.tiny()
CASES |= {
    "multi_pretext": (
        dataclasses.replace(TWO, fusion=Attention.Config(heads=2, entropy_bonus=0.1, match=0.1), features="online"),
        "lenet5",
    ),
    "multi_pretext-tuned": (
        dataclasses.replace(TWO, features="online", tune=FineTuningConfig(is_on=True, after_epochs=1)),
        "lenet5",
    ),
    "multi_pretext-relations": (
        dataclasses.replace(TWO, optimizer=SLOW, fusion=RelationDistillation.Config(weighting="uncertainty")),
        "resnet8",
    ),
    "pretrain-further": (
        Pretraining.Config(optimizer=SLOW, pretext=Rotation("random"), further=("jigsaw", "simclr")),
        "lenet5",
    ),
}
GENERATED = dataclasses.replace(DTGAuxL.Config.tiny(), optimizer=SLOW, anchor=0.5, upper_every=2)
GIVEN = GivenTasksConfig(pretexts=("rotation",))
MIXED = dataclasses.replace(GENERATED, generator="manifold_mixup")
CASES |= {
    "dtg_auxl": (dataclasses.replace(GENERATED, given=GIVEN), "lenet5"),
    "dtg_auxl-batch-norm": (dataclasses.replace(GENERATED, sub_classes=(2,)), "resnet8"),
    "dtg_auxl-mixup": (MIXED, "lenet5"),
}
SHORTCUT = ShortcutRemoval.Config(column="fine", optimizer=SLOW)
CASES |= {
    f"shortcut_removal-{name}": (dataclasses.replace(SHORTCUT, invariance=invariance), backbone)
    for name, invariance, backbone in (
        ("mmd", MMD.Config(kernel=RBF(sigma=None)), "lenet5"),
        ("batch-norm", MMD.Config(over="conditional", estimator="unbiased"), "resnet8"),
        ("hsic", HSIC.Config(layer="logits"), "lenet5"),
        ("group-dro", GroupDRO.Config(), "lenet5"),
        ("vrex", VREx.Config(), "lenet5"),
        ("irm", IRM.Config(), "lenet5"),
    )
}
PIXELS = Segmenter.Config(optimizer=SLOW, loss=PixelLossConfig(dice=0.5, class_weights="inverse_frequency"))
CASES |= {
    "segmenter": (dataclasses.replace(PIXELS, classifier_rate=10.0), "conv4"),
    "segmenter-deeplab": (dataclasses.replace(PIXELS, decoder=DeepLab.Config()), "conv4"),
    "segmenter-joint": (
        dataclasses.replace(PIXELS, auxiliary_weight=0.5, auxiliary_after_epochs=1, retint=True),
        "conv4",
    ),
    "pixel_contrast": (PixelContrast.Config(optimizer=SLOW, objective=Contrast.Config(outputs=8, memory=9)), "conv4"),
}
PASSES = {"train": 2, "second": 2}
STEPS = 4  # a convolution in float64 is slow; two levels take turns within four steps, and so do two passes


def add_maps(source):
    """The images with masks of three classes, of which every image knows another part, and labels of pixels."""
    generator = torch.Generator().manual_seed(3)
    masks = torch.randint(3, (40, 28, 28), generator=generator, dtype=torch.uint8)
    masks[torch.arange(28)[None] < torch.arange(40)[:, None] % 27] = 255
    labels = torch.randint(-1, 3, (40, 7, 7), generator=generator).to(torch.int16)
    labels = labels.repeat_interleave(4, 1).repeat_interleave(4, 2)
    maps = {"mask": PlaceMap(masks, ("p", "q", "r"), 255), "pixel_labels": PlaceMap(labels, ignore=-1)}
    return InMemorySource(source.name, source.images, source.columns, maps=maps)


def main(folder, batch_size):
    torch.set_num_threads(1)
    source = oriented_shapes(40, size=28, seed=2)
    fine = torch.arange(40) // 4 % 3
    source = source.with_columns({**source.columns, "fine": Column(fine, ("p", "q", "r"))})
    source = add_maps(source)
    counts = torch.zeros(4, 3, dtype=torch.int64).index_put_(
        (source.columns["label"].values, fine), torch.ones(40, dtype=torch.int64), accumulate=True
    )
    columns = {"fine": Target("fine", ("p", "q", "r"))}
    pipeline = InputPipeline.from_source(source, augment="crop_flip", place_fill={"mask": 255, "pixel_labels": -1})
    of_images = Classification(source.vocabulary["label"], *source.image_shape, class_counts=(4000, 300, 20, 1))
    of_pixels = Segmentation.from_source(source)
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as runtime:
        for name, (config, backbone) in CASES.items():
            views = config.required_views()
            place = {"rank": runtime.rank, "num_processes": runtime.num_processes}
            ratios = sorted({view.ratio for view in views.values()})
            loaders = [Loader(source, batch_size=batch_size * ratio, seed=7, **place) for ratio in ratios]
            task = of_pixels if Segmentation in config.serves else of_images
            networks = Networks(BackboneConfig(name=backbone), task, seed=0, columns=columns)
            method = config.build(networks).double()
            runtime.prepare(method, networks=method.networks)
            method.train()
            prepared = {"cell_weights": independence_weights(counts)}
            state = TrainState(method.optimizers(), seed=0, num_steps=STEPS, prepared=prepared)
            for fetched in zip(*(loader.batches(range(STEPS)) for loader in loaders), strict=True):
                ready = {}
                plan = config.plan(state.step, PASSES)
                state.kind = plan.kind
                for view_name in plan.batches:
                    view = views[view_name]
                    batch = pipeline(fetched[ratios.index(view.ratio)], seed=state.step, augment=view.augment)
                    images = batch.images.double()
                    ready[view_name] = dataclasses.replace(batch, images=-images if view.split == "meta" else images)
                method.update(state, ready, runtime)
                state.step += 1
            save_file(method.state_dict(), folder / f"{name}-{runtime.rank}-of-{runtime.num_processes}.safetensors")
