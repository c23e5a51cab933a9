"""What is said before a command is imported, and what is left to it."""

import pytest

from auxo.cli.early import answer_early
from auxo.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("train osl", "one of auxo's recipes, got 'osl': did you mean ossl?"),
        ("train ossl --epocs 3", "unrecognized options: --epocs: did you mean --epochs? see auxo train ossl --help"),
        ("train ossl --out runs/x --training.no-tensorbord", "did you mean --training.no-tensorboard"),
        (
            "train ossl --data.group-column x",
            "or --data.block-column",
        ),
        ("compare digits --methds ossl", "unrecognized options: --methds: did you mean --methods?"),
        ("train ossl --backbone.name=lenet", "one of auxo's backbones, got 'lenet': did you mean lenet5"),
        ("train ossl --data.scenario digitz", "one of auxo's scenarios, got 'digitz': did you mean digits?"),
        ("train joint_training --pretext.name rotat", "one of auxo's pretexts, got 'rotat'"),
        ("sweep osl --trials 3", "one of auxo's recipes, got 'osl'"),
        ("sweep ossl --trils 3", "unrecognized options: --trils"),
        ("label-quality segmentatio", "one of auxo's recipes, got 'segmentatio': did you mean segmentation"),
        ("compare digitz --methods ossl", "one of auxo's scenarios, got 'digitz'"),
        ("compare digits --methods ossl,osl", "one of auxo's recipes, got 'osl'"),
        (
            "compare digits --methods ossl --data.trian x",
            "unrecognized options: --data.trian: did you mean --data.tr",
        ),
        ("compare digits --methods ossl --sedes 3", "unrecognized options: --sedes: did you mean --seeds?"),
        ("predict", "missing from auxo predict: MODEL"),
        ("predict run images --bach-size 3", "unrecognized options: --bach-size"),
    ],
)
def test_answer_early__what_is_not_there__is_refused(words, expected):
    command, *rest = words.split()
    with pytest.raises(ConfigError) as error:
        answer_early(command, rest)
    assert expected in str(error.value)


@pytest.mark.parametrize("words", ["train ossl", "train bissl", "compare", "sweep ossl", "label-quality", "evaluate"])
def test_answer_early__help__is_shown(words, capsys):
    command, *rest = words.split()
    with pytest.raises(SystemExit) as stop:
        answer_early(command, [*rest, "--help"])
    assert stop.value.code == 0
    assert f"usage: auxo {words}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        "train ossl --epochs 3 --device cpu --training.no-tensorboard --seed -1",
        "train mine.py:recipe --anything 3",
        "train auxo.methods.ossl:cifar10_released --help",
        "train --config runs/x/config.json --anything 3",
        "train ossl --pretext.name jigsaw --pretext.grid 3 --help",
        "train joint_training --pretext.name jigsaw --pretext.grid 3",
        "train joint_training --method.pretext.name mine.py:Pretext --method.pretext.own 3",
        "train ossl --backbone.name timm:resnet18",
        "sweep ossl --search epochs=int:1,3 --epochs 3",
        "sweep ossl --config x",
        "compare digits --methods ossl,mine.py:recipe --seeds 3 --data.image-size 32",
        "label-quality segmentation --labellers encoder --labeller.encoder.clusters 3",
        "evaluate run --attack pgd --attack.pgd.steps 3",
        "predict run images --out x.csv",
        "list methods",
    ],
)
def test_answer_early__what_the_command_decides__is_left_to_it(words, capsys):
    command, *rest = words.split()
    answer_early(command, rest)
    assert capsys.readouterr().out == ""
