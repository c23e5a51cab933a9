"""Configurations changed by words: names choose the options, options keep their ranges, errors name what was typed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
import tyro

from auxo.cli.changes import change_config
from auxo.cli.train import with_options
from auxo.errors import ConfigError, OptionError
from auxo.gates import GateConfig
from auxo.gates.frozen import FrozenGate
from auxo.gates.learned import LearnedGate
from auxo.gates.uniform import UniformGate
from auxo.losses import LDAM
from auxo.options import Options, Range, list_members
from auxo.runs.document import load_recipe

OUTSIDE = (Path(__file__).parents[2] / "outside" / "pushed.py").read_text()


@dataclass(frozen=True, kw_only=True)
class Part(Options):
    """A part with a gate."""

    gate: GateConfig = field(default_factory=LearnedGate.Config)
    """Which gate."""
    lowest: Annotated[float, Range(low=0)] = 0.5
    """The lower end."""
    highest: Annotated[float, Range(low=0)] = 1.0
    """The upper end, above the lower one."""

    def __post_init__(self):
        super().__post_init__()
        if self.highest <= self.lowest:
            raise OptionError("highest", f"> {self.lowest}", str(self.highest), "raise it")


@dataclass(frozen=True, kw_only=True)
class Whole(Options):
    """Everything."""

    first_part: Part = field(default_factory=Part)
    """A part."""
    unnamed: Annotated[Part, tyro.conf.arg(name="")] = field(default_factory=Part)
    """A part whose options stand alone."""


def change(text, whole=None, **options):
    return change_config(whole or Whole(), text.split(), command="auxo act", **options)


def test_change_config__no_words__is_the_same():
    assert change("") == Whole()


@pytest.mark.parametrize("spelling", ["--gate.name frozen", "--gate.name=frozen"])
def test_change_config__name__decides_which_options_there_are(spelling):
    assert change(f"{spelling} --gate.init kaiming").unnamed.gate == FrozenGate.Config(init="kaiming")
    assert change(f"--gate.init kaiming {spelling}").unnamed.gate == FrozenGate.Config(init="kaiming")


def test_change_config__values_that_only_fit_together__are_set_at_once():
    assert change("--first-part.lowest 3 --first-part.highest 4").first_part.highest == 4


def test_change_config__name_of_a_file__is_taken_with_its_options(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(OUTSIDE)
    monkeypatch.chdir(tmp_path)
    gate = change("--gate.name mine.py:Mine --gate.push 2.5").unnamed.gate
    assert (gate.name, gate.push) == (f"{tmp_path}/mine.py:Mine", 2.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--first-part.gate.entropy -1", r"--first-part\.gate\.entropy >= 0, got -1\.0"),
        ("--gate.entropy -1", r"expected --gate\.entropy >= 0, got -1\.0"),
        ("--first-part.highest 0.2", r"--first-part\.highest > 0\.5, got 0\.2: raise it"),
        ("--gate.name leanred", "one of auxo's gates, got 'leanred': did you mean learned"),
        ("--gate.name uniform --gate.entrop 1", "nrecognized options: --gate.entrop"),
    ],
)
def test_change_config__value_or_word_that_does_not_fit__is_named_as_typed(text, message):
    with pytest.raises(ConfigError, match=message):
        change(text)


@pytest.mark.parametrize("word", ["--first-part.gate.entropy", "--first_part.gate.entropy"])
def test_change_config__option_of_another_member__says_who_has_it(word):
    with pytest.raises(ConfigError) as error:
        change(f"--first-part.gate.name uniform {word}=0.5")
    flag = "--first-part.gate"
    assert str(error.value) == (
        f"expected {flag}.entropy with {flag}.name learned or learned_scalar only, got {flag}.name uniform: "
        f"leave it out, or pass {flag}.name learned"
    )


def test_change_config__switch_of_another_member__says_who_has_it():
    with pytest.raises(
        ConfigError, match=r"--gate\.no-normalise-losses with --gate\.name learned or learned_scalar only"
    ):
        change("--gate.name frozen --gate.no-normalise-losses")


def test_change_config__another_name__drops_what_was_set_unless_it_is_strict():
    whole = Whole(unnamed=Part(gate=LearnedGate.Config(entropy=0.5)))
    assert change("--gate.name uniform", whole).unnamed.gate == UniformGate.Config()
    with pytest.raises(ConfigError, match=r"expected --gate\.entropy 1\.0 with the name uniform, .*, got 0\.5"):
        change("--gate.name uniform", whole, is_strict=True)


def test_change_config__help__shows_the_members_options_its_ranges_and_the_names(capsys):
    with pytest.raises(SystemExit):
        change("--gate.name learned_scalar --help")
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--gate.entropy" in said
    assert "(>= 0; default: 1.0)" in said
    assert "--gate.form" not in said
    assert f"one of {', '.join(list_members(GateConfig))} or your file.py:Name" in said


def test_change_config__member_that_goes_only_with_another_option__is_set_with_it_at_once():
    run = load_recipe("supervised")
    words = "--method.class-loss.name ldam --method.head cosine --method.class-loss.max-margin 0.3"
    method = with_options(run, words.split(), command="auxo act").stages[0].method
    assert (method.class_loss, method.head) == (LDAM(max_margin=0.3), "cosine")
    with pytest.raises(ConfigError, match="a cosine head with the loss ldam, got a linear one"):
        with_options(run, ["--method.class-loss.name", "ldam"], command="auxo act")
