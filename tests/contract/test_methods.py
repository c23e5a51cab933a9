"""What every registered method must do, whatever it is."""

from dataclasses import fields, replace

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.data import InputPipeline
from auxo.data.fake import oriented_shapes
from auxo.data.splits import TrainSplit
from auxo.errors import ConfigError
from auxo.evaluation.images import ImageReader
from auxo.gates.dwa import DWAGate
from auxo.gates.frozen import FrozenGate
from auxo.gates.gcs import GCSGate
from auxo.gates.gradnorm import GradNormGate
from auxo.gates.hypergradient import HypergradientGate
from auxo.gates.torchjd import TorchJDGate
from auxo.gates.uncertainty import UncertaintyGate
from auxo.gates.uniform import UniformGate
from auxo.interfaces import StageStart, TrainState
from auxo.layers.decoders.deeplab import DeepLab
from auxo.layers.decoders.linear import Linear
from auxo.losses import LDAM, Focal, PixelLossConfig
from auxo.losses.invariance.group_dro import GroupDRO
from auxo.losses.invariance.hsic import HSIC
from auxo.losses.invariance.irm import IRM
from auxo.losses.invariance.mmd import MMD
from auxo.losses.invariance.none import NoPenalty
from auxo.losses.invariance.vrex import VREx
from auxo.losses.kernels.energy import Energy
from auxo.methods.auxilearn import AuxiLearn
from auxo.methods.bissl import BiSSL
from auxo.methods.dtg_auxl import DTGAuxL
from auxo.methods.fixmatch import FixMatch
from auxo.methods.gssl import GSSL
from auxo.methods.joint_training import JointTraining
from auxo.methods.linear_probe import LinearProbe
from auxo.methods.maxl import MAXL
from auxo.methods.multi_pretext import FineTuningConfig, MultiPretext
from auxo.methods.ossl import OSSL, ImplicitConfig
from auxo.methods.pixel_contrast import PixelContrast
from auxo.methods.pretrain import Pretraining
from auxo.methods.segmenter import Segmenter
from auxo.methods.shortcut_removal import ShortcutRemoval
from auxo.methods.supervised import Supervised
from auxo.optimizers import TuningConfig
from auxo.options import find_member
from auxo.pretexts import GatedPretextsConfig, GivenTasksConfig
from auxo.pretexts.byol import BYOL
from auxo.pretexts.fusions import FusionConfig
from auxo.pretexts.fusions.attention import Attention
from auxo.pretexts.labellers.segmenter import Segmenter as SegmenterLabels
from auxo.pretexts.labelling import InventedTaskConfig
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from auxo.pretexts.rotation import Rotation
from auxo.pretexts.simclr import SimCLR
from auxo.pretexts.vicreg import VICReg
from auxo.registry import entries
from auxo.runs import Networks
from auxo.runs.checkpoint import Checkpoints, Progress
from auxo.runs.document import from_json, load_recipe, to_json
from auxo.runs.experiment import Transfer
from auxo.runtime import Runtime, RuntimeConfig
from auxo.solvers.layerwise import LayerwiseSolver
from auxo.solvers.mfac import MFACSolver
from auxo.tasks import Classification, Segmentation, Target
from auxo.training.tuning import FrozenStart, scale_backbone_rates, update_in_parts
from auxo.types import MASK, Batch, Column

LDAM_DRW = LDAM(class_weights="effective_number", reweight_after=0.0)
PASSES = {"train": 2, "second": 2}
BYOL = BYOL.Config(hidden=16, outputs=8)
RECIPES = {name: load_recipe(name) for name in entries("methods")}
CONFIGS = {
    name: next(s.method for s in recipe.trained_stages if type(s.method).__module__ == f"auxo.methods.{name}")
    for name, recipe in RECIPES.items()
} | {
    "auxilearn": AuxiLearn.Config.tiny(),
    "auxilearn-covers-all": replace(AuxiLearn.Config.tiny(), covers="all", gate=UncertaintyGate.Config()),
    "auxilearn-column": AuxiLearn.Config(given=GivenTasksConfig(columns=("fine",)), gate=GCSGate.Config()),
    "auxilearn-invented": AuxiLearn.Config(
        invented=InventedTaskConfig(sub_classes=(3,), every=1, split="meta", entropy_weight=0.2, mode="eval", hidden=0),
        gamma=2.0,
    ),
    "auxilearn-uniform": replace(AuxiLearn.Config.tiny(), gate=UniformGate.Config()),
    "auxilearn-dwa": replace(AuxiLearn.Config.tiny(), covers="all", gate=DWAGate.Config()),
    "auxilearn-gradnorm": replace(AuxiLearn.Config.tiny(), covers="all", gate=GradNormGate.Config()),
    "auxilearn-torchjd": replace(
        AuxiLearn.Config.tiny(), gate=TorchJDGate.Config(aggregator="mgda", gradients="weights"), covers="all"
    ),
    "auxilearn-nothing": AuxiLearn.Config(weight=0.0),
    "bissl": BiSSL.Config.tiny(),
    "bissl-mfac": replace(BiSSL.Config.tiny(), solver=MFACSolver()),
    "bissl-byol": replace(BiSSL.Config.tiny(), pretext=BYOL, solver=LayerwiseSolver(), batch_norm="move"),
    "pretrain-byol": Pretraining.Config(pretext=BYOL),
    "pretrain-vicreg": Pretraining.Config(pretext=VICReg.Config(hidden=16, outputs=8)),
    "linear_probe-with-pretext": LinearProbe.Config(warm_up_pretext=True, pretext=SimCLR.Config()),
    "linear_probe-with-rotation": LinearProbe.Config(warm_up_pretext=True, pretext=Rotation("expand")),
    "supervised-ldam-drw": Supervised.Config(class_loss=LDAM_DRW, head="cosine"),
    "supervised-focal": Supervised.Config(class_loss=Focal(), head="cosine"),
    "fixmatch-all-sure": FixMatch.Config(threshold=0.0, ema_decay=0.0),
    "fixmatch-gated": FixMatch.Config(threshold=0.0, pretexts=GatedPretextsConfig()),
    "rotation-random": JointTraining.Config(pretext=Rotation("random")),
    "rotation-unlabelled": JointTraining.Config(pretext=Rotation(), unlabelled_weight=0.5),
    "maxl-interleaved": replace(MAXL.Config.tiny(), passes="interleaved", outer="meta", entropy="class"),
    "maxl-second-order": replace(MAXL.Config.tiny(), passes="interleaved", hypergradient="second_order"),
    "maxl-frozen": replace(MAXL.Config.tiny(), labels="frozen"),
    "maxl-uniform": replace(MAXL.Config.tiny(), labels="uniform", gamma=0.0),
    "dtg_auxl": DTGAuxL.Config.tiny(),
    "dtg_auxl-features": replace(DTGAuxL.Config.tiny(), generate="features", anchor=1.0, upper="meta"),
    "dtg_auxl-sub-classes": replace(DTGAuxL.Config.tiny(), sub_classes=(2,), generate="labels"),
    "dtg_auxl-frozen": replace(DTGAuxL.Config.tiny(), generator="frozen"),
    "dtg_auxl-mixup": replace(
        DTGAuxL.Config.tiny(), generator="manifold_mixup", given=GivenTasksConfig(pretexts=("rotation",))
    ),
    "dtg_auxl-shared-head": replace(DTGAuxL.Config.tiny(), shared_head=True),
    "dtg_auxl-nothing": replace(DTGAuxL.Config.tiny(), weight=0.0),
    "pretrain-further": Pretraining.Config(
        pretext=Rotation("random"), further=("jigsaw", "byol"), first_weights="other"
    ),
    "multi_pretext-levels": MultiPretext.Config(
        trained=("first",), random=2, levels=("stage1", "pooled"), fusion=Attention.Config(heads=2, entropy_bonus=0.1)
    ),
    "multi_pretext-tuned": MultiPretext.Config(
        trained=("first", "second"), features="online", tune=FineTuningConfig(is_on=True, after_epochs=0, anchor=0.1)
    ),
    "multi_pretext-task-encoder": replace(MultiPretext.Config.tiny(), fusion=Attention.Config(query="task_encoder")),
    "multi_pretext-static": replace(MultiPretext.Config.tiny(), fusion=Attention.Config(query="static", match=0.1)),
    **{
        f"multi_pretext-{name}": replace(MultiPretext.Config.tiny(), fusion=find_member(FusionConfig, name)())
        for name in entries("pretexts.fusions")
    },
    "shortcut_removal": ShortcutRemoval.Config.tiny(),
    "shortcut_removal-conditional": ShortcutRemoval.Config(
        column="fine",
        weighting="none",
        invariance=MMD.Config(over="conditional", kernel=Energy(), estimator="unbiased"),
    ),
    "shortcut_removal-hsic": ShortcutRemoval.Config(column="fine", invariance=HSIC.Config(layer="logits")),
    "shortcut_removal-group-dro": ShortcutRemoval.Config(
        column="fine", weighting="stratified", invariance=GroupDRO.Config()
    ),
    "shortcut_removal-vrex": ShortcutRemoval.Config(column="fine", weighting="none", invariance=VREx.Config()),
    "shortcut_removal-irm": ShortcutRemoval.Config(column="fine", weighting="inverse", invariance=IRM.Config()),
    "shortcut_removal-released": ShortcutRemoval.Config(
        column="fine", invariance=MMD.Config(loss_scale="sum_unweighted")
    ),
    "shortcut_removal-nothing": ShortcutRemoval.Config(column="fine", invariance=NoPenalty.Config()),
    "ossl-head_only": OSSL.Config(scope="head_only"),
    "ossl-difference": OSSL.Config(scope="difference"),
    "ossl-implicit": OSSL.Config(scope="implicit"),
    "ossl-implicit-meta": OSSL.Config(scope="implicit", implicit=ImplicitConfig(response="meta")),
    "ossl-two-step": OSSL.Config(second_head="semantic"),
    "ossl-two-classifiers": OSSL.Config(rotation="off"),
    "gssl-frozen": GSSL.Config(pretexts=GatedPretextsConfig(gate=FrozenGate.Config(form="softmax_of_mean"))),
    "gssl-uncertainty": GSSL.Config(pretexts=GatedPretextsConfig(gate=UncertaintyGate.Config())),
    "gssl-hypergradient": GSSL.Config(pretexts=GatedPretextsConfig(gate=HypergradientGate.Config())),
    "gssl-transform-only": GSSL.Config(pretexts=GatedPretextsConfig(weight=0.0)),
    "segmenter-deeplab": Segmenter.Config(decoder=DeepLab.Config(), loss=PixelLossConfig(dice=1.0), backbone_rate=0.1),
    "segmenter-linear": Segmenter.Config(decoder=Linear.Config(map="stage2"), retint=True),
    "segmenter-joint": Segmenter.Config(auxiliary_weight=0.5, objective=Contrast.Config(outputs=8, memory=20)),
    "segmenter-self-training": Segmenter.Config(
        auxiliary_weight=1.0, labeller=SegmenterLabels.Config(), objective=CrossEntropy.Config()
    ),
    "pixel_contrast-cross-entropy": PixelContrast.Config(objective=CrossEntropy.Config(), images="labelled"),
    "pixel_contrast-linear": PixelContrast.Config(decoder=Linear.Config(), objective=Contrast.Config(num_layers=0)),
    "gssl-covers-all": GSSL.Config(covers="all", head="cosine"),
}
SIDE = 28


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture
def runtime():
    return Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


def predicts_pixels(config):
    """Whether a method can learn no classes of images, but those of pixels."""
    return not any(issubclass(Classification, kind) for kind in config.serves)


def make(config, seed=0, *, smoothing=0.0):
    names = ("arrow", "l", "t", "wedge")
    columns = {"fine": Target("fine", ("p", "q", "r"))}
    if predicts_pixels(config):
        task = Segmentation(names, channels=3, height=SIDE, width=SIDE, pixel_counts=(9, 7, 5, 3))
        method = config.build(Networks(BackboneConfig(name="conv4"), task, seed=seed)).train()
        return method, TrainState(method.optimizers(), seed=seed)
    task = Classification(class_names=names, channels=3, height=SIDE, width=SIDE, class_counts=(6, 6, 6, 6))
    task = task.with_smoothing(smoothing)
    method = config.build(Networks(BackboneConfig(), task, seed=seed, columns=columns)).train()
    start = StageStart({"train": read_training(method)}, seed, torch.device("cpu"))
    prepared = method.begin(start).tensors if config.learned_columns else {}
    return method, TrainState(method.optimizers(), seed=seed, prepared=prepared)


def read_training(method):
    """Training images, two of each class with each value of a further column."""
    source = oriented_shapes(24, size=SIDE, seed=5)
    label, values = source.columns["label"], torch.arange(24)
    source = source.with_columns(
        {"label": label._replace(values=values % 4), "fine": Column(values % 3, ("p", "q", "r"))}
    )
    pipeline, runtime = (
        InputPipeline.from_source(source),
        Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu")),
    )
    return ImageReader(method, TrainSplit(source), pipeline=pipeline, runtime=runtime, batch_size=12)


def batches(config, step=0):
    """A batch for each view that a step reads: of the split's images, no two views alike."""
    source = oriented_shapes(24, size=SIDE, seed=5)
    images, labels = source.images.float() / 127.5 - 1, source.columns["label"].values.clamp(max=3)
    # Of the pixels: the class on bright ones and the next beside them, three unknown rows; and two labels of others.
    bright = (images.mean(1) > 0).long()
    masks = ((labels[:, None, None] + bright) % 4).to(torch.uint8)
    masks[:, :3] = 255
    of_pixels = (2 * bright - 1 + labels[:, None, None] % 2).to(torch.int16)
    places = {"train": torch.arange(16), "meta": torch.arange(16, 24), "unlabelled": torch.arange(8, 24)}
    places["images"] = places["unlabelled"]
    made = {}
    for number, (name, view) in enumerate(config.required_views().items()):
        chosen = places[view.split]
        is_known = view.split in ("train", "meta")
        targets = {
            "label": labels[chosen] if is_known else torch.full_like(chosen, -1),
            "fine": chosen % 3,
            MASK: masks[chosen] if is_known else torch.full_like(masks[chosen], 255),
            "pixel_labels": of_pixels[chosen],
        }
        made[name] = Batch(images[chosen] * (1 - 0.1 * number), targets, chosen)
    return {name: made[name] for name in config.plan(step, PASSES).batches}


def advance(method, state, runtime, count):
    for _ in range(count):
        state.kind = method.config.plan(state.step, PASSES).kind
        metrics = method.update(state, batches(method.config, state.step), runtime)
        state.step += 1
    return metrics


def test_update__every_trainable_parameter__gets_a_finite_gradient_and_moves_or_is_listed_frozen(config, runtime):
    method, state = make(config)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    seen = set()

    class Watch(Runtime):
        def apply(self, optimizer, gradients, *, max_norm=None):
            super().apply(optimizer, gradients, max_norm=max_norm)
            for name, p in method.named_parameters():
                if p.grad is not None:
                    assert torch.isfinite(p.grad).all(), name
                    seen.add(name)

    advance(method, state, Watch(config=runtime.config, device=runtime.device), 4)
    frozen = set(method.frozen_parameters())
    assert seen == set(before) - frozen
    still = {name for name, p in method.named_parameters() if torch.equal(p, before[name])}
    assert still <= frozen


def test_update__metrics__are_detached_finite_scalars(config, runtime):
    method, state = make(config)
    metrics = advance(method, state, runtime, 1)
    assert any(name.endswith("_loss") for name in metrics)
    for name, value in metrics.items():
        assert value.shape == (), name
        assert not value.requires_grad, name
        assert torch.isfinite(value), name


def test_update__same_seed__same_numbers(config, runtime):
    runs = []
    for _ in range(2):
        method, state = make(config)
        advance(method, state, runtime, 4)
        runs.append(method.state_dict())
    assert all(torch.equal(tensor, runs[1][name]) for name, tensor in runs[0].items())


def test_checkpoint__saved_and_restored_midway__continues_to_the_same_bits(config, runtime, tmp_path):
    method, state = make(config)
    checkpoints = Checkpoints(tmp_path, "train", "digest")
    advance(method, state, runtime, 2)
    path = checkpoints.save(method, state, Progress(train_seconds=1.5, images=32, steps={"step": 2}))
    advance(method, state, runtime, 2)

    other, restored = make(config, seed=1)
    restored.seed = state.seed
    progress = checkpoints.restore(path, other, restored)
    assert (restored.step, progress.train_seconds, progress.images) == (2, 1.5, 32)
    advance(other, restored, runtime, 2)
    for name, tensor in method.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    for name, optimizer in state.optimizers.items():
        ours = optimizer.state_dict()["state"]
        theirs = restored.optimizers[name].state_dict()["state"]
        assert ours.keys() == theirs.keys()
        for number, kept in ours.items():
            assert all(
                torch.equal(torch.as_tensor(kept[k]), torch.as_tensor(theirs[number][k]))
                for k in kept
                if kept[k] is not None
            )


def test_prediction__before_and_after__leaves_state_untouched(config, runtime):
    method, state = make(config)
    advance(method, state, runtime, 1)
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    method.eval()
    images = next(iter(batches(config).values())).images
    with torch.inference_mode():
        heads = method.head_logits(images)
        if heads:
            assert torch.equal(method.predict(images), next(iter(heads.values())))
        else:
            with pytest.raises(ConfigError, match="a head that predicts"):
                method.predict(images)
        for head in method.pretext_heads().values():
            assert head.answer(images).shape == (16, head.pretext.num_outputs)
    shape = (16, 4, SIDE, SIDE) if predicts_pixels(config) else (16, 4)
    assert all(logits.shape == shape for logits in heads.values())
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())


def test_config__through_json__comes_back_equal(config):
    recipe = RECIPES["supervised"]
    transfers = tuple(Transfer(stage="earlier", part="backbone", to=place) for place in config.inherited_parts)
    stage = replace(recipe.stages[0], method=config, transfers=transfers)
    whole = replace(recipe, stages=(replace(recipe.stages[0], name="earlier"), stage))
    assert from_json(to_json(whole), origin="config.json") == whole


def takes(option):
    """The methods, as their recipes have them and in a few variants, that take an option of tuning."""
    return [name for name, each in CONFIGS.items() if "-" not in name and option not in each.refused_tuning]


def test_refused_tuning__reasons__are_one_line_about_options_that_there_are(config):
    known = {item.name for item in fields(TuningConfig)}
    for option, reason in config.refused_tuning.items():
        assert option in known
        assert 2 < len(reason.split()) < 20
        assert "\n" not in reason


@pytest.mark.parametrize(
    "name", [*takes("accumulate"), "supervised-focal", "rotation-random", "linear_probe-with-rotation"]
)
def test_tuning__a_batch_in_parts__has_the_gradient_and_metrics_of_the_whole(name, runtime):
    config, gradients, told = CONFIGS[name], [], []
    for count in (1, 4):
        method, state = make(config)
        told.append(update_in_parts(method, state, batches(config), runtime, count=count))
        gradients.append({key: each.grad for key, each in method.named_parameters() if each.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, whole in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], whole, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(told[1], told[0], atol=1e-6, rtol=1e-4)


def takes_everywhere(option):
    """All configurations above that take an option of tuning."""
    return [name for name, each in CONFIGS.items() if option not in each.refused_tuning]


@pytest.mark.parametrize("name", takes_everywhere("label_smoothing"))
def test_tuning__labels_smoothed__changes_what_the_method_learns_from_them(name, runtime):
    learned = []
    for smoothing in (0.0, 0.5):
        method, state = make(CONFIGS[name], smoothing=smoothing)
        advance(method, state, runtime, 4)  # which has a step of each level
        learned.append(method.state_dict())
    assert any(not torch.equal(value, learned[1][key]) for key, value in learned[0].items())


@pytest.mark.parametrize("name", takes_everywhere("layer_decay"))
def test_tuning__layer_decay__every_weight_of_the_backbone_has_a_smaller_rate_and_no_other(name):
    method, state = make(CONFIGS[name])
    rates = {each: group["lr"] for each, group in rates_of(state.optimizers)}
    scale_backbone_rates(method, state.optimizers, TuningConfig(layer_decay=0.5))
    backbones = {*method.backbone.parameters(), *method.predicting_backbone.parameters()}
    for each, group in rates_of(state.optimizers):
        assert (group["lr"] < rates[each]) == (each in backbones)


def rates_of(optimizers):
    return [
        (each, group)
        for optimizer in optimizers.values()
        for group in optimizer.param_groups
        for each in group["params"]
    ]


@pytest.mark.parametrize("name", takes("clip_norm"))
def test_tuning__clipped__gradients_of_a_step_have_together_the_norm_that_is_allowed(name, runtime):
    method, state = make(CONFIGS[name])
    advance(method, state, replace(runtime, max_norm=1e-3), 1)
    moved = [each.grad for each in method.parameters() if each.grad is not None]
    steps = 2 if name == "ossl" else 1  # whose second step leaves its gradients in what both move
    assert 0.9e-3 < torch.nn.utils.get_total_norm(moved).item() <= 1e-3 * steps**0.5 * 1.001


@pytest.mark.parametrize("name", takes("freeze_epochs"))
def test_tuning__frozen_start__leaves_the_backbone_and_its_statistics_until_it_is_released(name, runtime):
    method, state = make(CONFIGS[name])
    frozen = FrozenStart(method, state.optimizers, 2)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    for _ in range(2):
        assert frozen.hold(state.step)
        advance(method, state, runtime, 1)
    held = {key: torch.equal(value, before[key]) for key, value in method.state_dict().items()}
    assert all(is_held for key, is_held in held.items() if key.startswith("backbone."))
    assert not all(held.values())
    assert not frozen.hold(state.step)
    advance(method, state, runtime, 1)
    weights = {key: value for key, value in method.named_parameters() if key.startswith("backbone.")}
    assert all(not torch.equal(value, before[key]) for key, value in weights.items())
