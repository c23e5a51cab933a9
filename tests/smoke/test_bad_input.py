"""Whatever a user gets wrong: one line that says what was expected, what came and what to do; nothing half-written."""

import json

import pytest

RECIPE = """
from dataclasses import dataclass
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods.supervised import Supervised

class Mine(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        pass

def recipe():
    return ExperimentConfig(stages=(StageConfig(method=Mine.Config()),))

def returns_a_number():
    return 3

def fails():
    raise KeyError("left out")
"""

OLD = """
from dataclasses import dataclass
from auxo.interfaces import AbstractMethod, MethodConfig

class Old(AbstractMethod):
    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        def build(self, backbone, task, *, seed):
            return Old(self, backbone, task, seed=seed)

    def __init__(self, config, backbone, task, *, seed):
        super().__init__()
"""

# Options of "auxo train ossl", and what the refusal says.
OPTIONS = {
    "unknown_option": ("--epoch 3", r"unrecognized.* --epoch.*did you mean --epochs"),
    "unknown_nested_option": ("--data.trian x", r"unrecognized.* --data\.trian.*did you mean --data\.train"),
    "extra_word": ("now", r"unrecognized.* now"),
    "wrong_type_integer": ("--epochs three", r"epochs.*three"),
    "wrong_type_float": ("--method.optimizer.lr fast", r"lr.*fast"),
    "missing_value": ("--epochs", r"epochs"),
    "invalid_choice": ("--method.scope upper", r"upper.*reference"),
    "epochs_zero": ("--epochs 0", r"expected --epochs >= 1, got 0"),
    "batch_size_zero": ("--batch-size 0", r"expected --batch-size in \[1, 65536\], got 0"),
    "learning_rate_negative": ("--method.optimizer.lr -1", r"optimizer.lr > 0, got -1"),
    "learning_rate_not_a_number": ("--method.optimizer.lr nan", r"optimizer.lr > 0, got nan"),
    "learning_rate_above_float32": (
        "--method.optimizer.lr 1e39",
        r"expected --method.optimizer.lr > 0, and at most 3.40282e\+38, got 1e\+39",
    ),
    "learning_rate_infinite": ("--method.optimizer.lr inf", r"optimizer.lr > 0, and at most .*, got inf"),
    "momentum_one": ("--method.optimizer.momentum 1", r"momentum in \[0, 1\), got 1"),
    "milestone_two": ("--method.optimizer.milestones 0.5 2", r"milestones in \(0, 1\)"),
    "fraction_of_two": ("--data.val-fraction 2", r"val-fraction in \(0, 1\), got 2"),
    "fractions_of_all": (
        "--data.val-fraction 0.5 --data.test-fraction 0.6",
        r"expected --data.val-fraction \+ test-fraction < 1, got 1.1",
    ),
    "threads_negative": ("--runtime.threads -2", r"threads in \[0, 1024\], got -2"),
    "seed_negative": ("--seed -1", r"seed in \[0, 9\.22337e\+18\], got -1"),
    "workers_negative": ("--data.workers -1", r"workers in \[0, 256\], got -1"),
    "log_every_zero": ("--training.log-every 0", r"log-every >= 1, got 0"),
    "proximal_zero": ("--method.implicit.proximal 0", r"expected --method.implicit.proximal > 0, got 0"),
    "response_weight_infinite": ("--method.implicit.weight inf", r"implicit.weight > 0 and finite, got inf"),
    "unknown_backbone": (
        "--backbone.name resnet21",
        r"one of auxo's backbones, got 'resnet21': did you mean .*resnet20",
    ),
    "unknown_device": ("--runtime.device gpu", r"a device such as auto, cpu, cuda"),
    "device_not_there": ("--device cuda:99", r"CUDA device 99, got \d+ CUDA devices"),
    "pretrained_lenet5": ("--backbone.pretrained", r"published weights.*'lenet5'.*efficientnet_lite0, hf:\*, timm:\*"),
    "weights_not_safetensors": ("--backbone.weights resnet50.pth", r"a .safetensors file.*'resnet50.pth'.*save_file"),
    "weights_missing": ("--backbone.weights gone.safetensors", r"a file at gone.safetensors.*nothing there"),
    "head_only_with_semantic": ("--method.scope head_only --method.second-head semantic", r"scope reference"),
    "shared_upright_with_random": ("--method.rotation random --method.shared-upright", r"rotation expand"),
    "nesterov_without_momentum": ("--method.optimizer.momentum 0", r"momentum > 0 with nesterov"),
    "too_small_a_split": ("--data.val-fraction 0.001", r"images in '.*' to cut a val set from"),
    "split_smaller_than_classes": ("--data.val-fraction 0.01", r"parts of at least 4 images, one per class"),
    "too_many_images_asked_for": ("--data.num-train 1000", r"at most \d+ training images"),
    "batch_larger_than_epoch": ("--batch-size 1000 --drop-last", r"at least 1000 images, one batch"),
    "meta_split_missing": ("--method.scope implicit --method.implicit.response meta", r"a meta split.*meta-fraction"),
    "backbone_cannot_take_size": ("--data.image-size 20", r"28 or 32 pixels.*lenet5, got 20x20"),
    "missing_own_test_set": ("--data.test nowhere", r"'nowhere', which is not there"),
}

# Whole command lines.
COMMANDS = {
    "unknown_command": ("trian ossl", r"a command, got 'trian': did you mean train\?"),
    "unknown_option_of_evaluate": ("evaluate run --batchsize 3", r"unrecognized.*did you mean --batch-size"),
    "unknown_option_of_doctor": ("doctor --loud", r"unrecognized.* --loud"),
    "unknown_kind_of_list": ("list methodz", r"methodz.*methods"),
    "no_run_to_evaluate": ("evaluate", r"run"),
    "no_pictures_to_predict": ("predict run", r"images, or folders of images, got none"),
    "no_recipe": ("train --epochs 1", r"one of RECIPE, --config FILE and --resume RUN, got none"),
    "recipe_behind_the_options": ("train --epochs 1 ossl", r"got none: .*RECIPE comes first"),
    "evaluate_set_without_its_option": ("evaluate run photos", r"after RUN, got photos: .*--data photos"),
    "recipe_and_config": ("train ossl --config config.json", r"one of RECIPE.*, got ossl and config.json"),
    "config_and_resume": ("train --config config.json --resume run", r"one of RECIPE.*, got config.json and run"),
    "unknown_method": ("train osls", r"one of auxo's recipes, got 'osls': did you mean ossl"),
    "unknown_scenario": ("train ossl --data.scenario digit", r"scenarios, got 'digit': did you mean digits"),
    "validation_set_without_training_set": ("train ossl --data.val x", r"data.train with data.val"),
    "resume_of_no_run": ("train --resume nothing", r"a run directory at nothing"),
    "config_that_is_not_there": ("train --config nothing.json", r"a config file, got no file nothing.json"),
    "recipe_file_missing": ("train nothing.py:recipe", r"a Python file, got no file nothing.py"),
    "recipe_module_missing": ("train no.such.module:recipe", r"an importable module, got 'no.such.module'"),
    "evaluate_no_run": ("evaluate nothing", r"a run directory at nothing"),
    "predict_no_run": ("predict nothing x.png", r"a run directory at nothing"),
}

CASES = [
    *(
        pytest.param(lambda place, words=words: place.train(*words.split()), says, id=name)
        for name, (words, says) in OPTIONS.items()
    ),
    *(
        pytest.param(lambda place, words=words: words.split() if place.run else [], says, id=name)
        for name, (words, says) in COMMANDS.items()
    ),
]


def case(says):
    """Register a function that prepares the bad input and returns the words of the command."""

    def add(prepare):
        CASES.append(pytest.param(prepare, says, id=prepare.__name__))
        return prepare

    return add


# What is wrong with the place for the results.


@case(r"a new or empty folder for --out, got .* with files in it: .*--resume")
def out_with_files(place):
    return [*place.train()[:-1], place.run]


@case(r"a new or empty folder for --out, got .*file")
def out_is_a_file(place):
    return [*place.train()[:-1], place.write("file", "text")]


@case(r"to write .*file/run.*, got not a directory: .*--out")
def out_below_a_file(place):
    return [*place.train()[:-1], place.write("file", "text") / "run"]


@case(r"to write /proc/run.*, got .*: .*--out")
def out_where_nothing_can_be_written(place):
    return [*place.train()[:-1], "/proc/run"]


@case(r"got file name too long")
def out_with_a_long_name(place):
    return [*place.train()[:-1], "x" * 300]


# What is wrong with a recipe or a config.


@case(r"mine.py to run, got SyntaxError: [^(]* at line 2")
def recipe_with_syntax_error(place):
    return place.train()[:1] + [place.write("mine.py", "x = 1\ndef recipe(:\n")]


@case(r"mine.py to run, got ZeroDivisionError: division by zero at line 2")
def recipe_file_that_raises(place):
    return ["train", place.write("mine.py", "x = 1\nx / 0\n")]


@case(r"mine.py to run, got KeyError: 'left out' at line \d+")
def recipe_that_raises(place):
    return ["train", f"{place.write('mine.py', RECIPE)}:fails"]


@case(r"a method of auxo, got 'mine': did you mean mine.py\?")
def recipe_file_without_its_ending(place):
    place.write("mine.py", RECIPE)
    return ["train", "mine"]


@case(r"mine.py to run, got SystemExit: enough at line 2")
def recipe_file_that_leaves(place):
    return ["train", place.write("mine.py", "import sys\nsys.exit('enough')\n")]


@case(r"an ExperimentConfig from .*mine.py:returns_a_number, got int")
def recipe_that_returns_something_else(place):
    return ["train", f"{place.write('mine.py', RECIPE)}:returns_a_number"]


@case(r"a function 'nothing' in .*mine.py, got none \(there are: .*recipe")
def recipe_function_missing(place):
    return ["train", f"{place.write('mine.py', RECIPE)}:nothing"]


@case(r"no other option than --epochs N with --resume.*, got --seed 3: leave it out")
def resume_with_options(place):
    return ["train", "--resume", place.run, "--seed", "3"]


@case(r"epochs above the \d+ that .* has had, got 1: name all epochs of the longer run")
def resume_with_fewer_epochs(place):
    return ["train", "--resume", place.run, "--epochs", "1"]


@case(r"no other option than --epochs N with --resume.*, got --out x: leave it out")
def resume_with_out(place):
    return ["train", "--resume", place.run, "--out", "x"]


@case(r"a run directory at .*pictures, got no config.json")
def resume_of_a_folder_that_is_no_run(place):
    return ["train", "--resume", place.pictures]


def changed_config(place, change):
    """Return the words that repeat a run whose config is changed by ``change(document)``."""
    document = json.loads((place.run / "config.json").read_text())
    change(document)
    path = place.write("changed.json", json.dumps(document))
    return ["train", "--config", path, "--out", place.out]


@case(r"options of auxo train --config .*run/config.json, got unrecognized options: --epoch")
def config_named_by_its_run(place):
    return ["train", "--config", place.run, "--epoch", "3"]


@case(r"JSON in .*broken.json, got something else at line 2: repair the file")
def config_not_json(place):
    return ["train", "--config", place.write("broken.json", '{\n"format" 1}'), "--out", place.out]


@case(r"JSON in .*binary.json, got bytes that are not UTF-8")
def config_of_bytes(place):
    return ["train", "--config", place.write("binary.json", b"\xff\xfe\x00"), "--out", place.out]


@case(r"config format 3 in .*changed.json, got 7")
def config_of_another_format(place):
    return changed_config(place, lambda document: document.update(format=7))


@case(r"known fields in .*changed.json, got 'data.trian': did you mean 'train'\?")
def config_with_unknown_field(place):
    return changed_config(place, lambda document: document["run"]["data"].update(trian="x"))


@case(r"a valid stages.*epochs in .*changed.json, got 'three', no int")
def config_with_wrong_type(place):
    return changed_config(place, lambda document: document["run"]["stages"][0].update(epochs="three"))


@case(r"expected stages.0.epochs >= 1 in .*changed.json, got 0")
def config_with_value_out_of_range(place):
    return changed_config(place, lambda document: document["run"]["stages"][0].update(epochs=0))


@case(r"a valid .*scope in .*changed.json, got 'upper', none of 'reference'")
def config_with_invalid_choice(place):
    return changed_config(place, lambda document: document["run"]["stages"][0]["method"].update(scope="upper"))


@case(r"one of auxo's methods, got 'osls': did you mean ossl")
def config_with_unknown_method(place):
    return changed_config(place, lambda document: document["run"]["stages"][0]["method"].update(type="osls"))


@case(r"a valid stages in .*changed.json, got no field 'stages'")
def config_without_stages(place):
    return changed_config(place, lambda document: document["run"].pop("stages"))


@case(r"an object 'run' in .*changed.json, got none")
def config_without_run(place):
    return changed_config(place, lambda document: document.pop("run"))


@case(r"__init__\(self, config, networks\), got build\(self, backbone, task, seed\) .*: .*docs/moving.md says what has")
def method_written_for_the_interface_of_0_1(place):
    return ["train", f"{place.write('old.py', OLD)}:recipe", "--out", place.out]


@case(r"your leave to run what is outside auxo, got .*mine.py: pass --code .*mine.py")
def config_with_method_of_an_unnamed_file(place):
    kind = f"{place.write('mine.py', RECIPE)}:Mine.Config"

    def change(document):
        optimizer = document["run"]["stages"][0]["method"]["optimizer"]
        document["run"]["stages"][0]["method"] = {"type": kind, "optimizer": optimizer}

    return changed_config(place, change)


@pytest.mark.parametrize(("prepare", "says"), CASES)
def test_command__bad_input__is_refused_in_one_line_and_nothing_is_written(assert_refused, place, prepare, says):
    assert_refused(*prepare(place), says=says)
