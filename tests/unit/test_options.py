"""Options: ranges, choices, and families whose members have options of their own."""

import math
import pickle
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import pytest

from auxo.errors import ConfigError, OptionError
from auxo.gates import GateConfig
from auxo.gates.frozen import FrozenGate
from auxo.gates.learned import LearnedGate
from auxo.gates.uniform import UniformGate
from auxo.options import Options, Range, choose_member, find_member, find_range, list_owners

RANGES = {
    Range(low=0): (">= 0", (0, 5.5), (-0.1, math.inf, math.nan)),
    Range(above=0): ("> 0", (1e-9,), (0, -1, math.inf)),
    Range(high=3): ("<= 3", (3, -9), (3.1,)),
    Range(below=3): ("< 3", (2.9, -9), (3, -math.inf)),
    Range(low=0, high=1): ("in [0, 1]", (0, 1), (-0.1, 1.1)),
    Range(above=0, high=1): ("in (0, 1]", (0.1, 1), (0, 1.1)),
    Range(low=0, below=1): ("in [0, 1)", (0, 0.9), (1,)),
    Range(above=0, high=math.inf): ("> 0", (math.inf,), (0, math.nan)),
}

OUTSIDE = """
from dataclasses import dataclass

from auxo.gates import GateConfig


class Mine:
    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        push: float = 1.0

        def build(self, *, num_features, num_outputs, seed):
            return None


class Half:
    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        push: float = 1.0
"""


@dataclass(frozen=True, kw_only=True)
class Sizes(Options):
    width: Annotated[int, Range(low=1)] = 4
    most: Annotated[int | None, Range(low=2)] = None
    parts: tuple[Annotated[float, Range(above=0, below=1)], ...] = (0.5,)
    kind: Literal["a", "b"] = "a"
    either: Literal["auto"] | Annotated[int, Range(low=8)] = "auto"


@pytest.mark.parametrize("limits", RANGES, ids=str)
def test_range__value__is_inside_or_outside_as_it_says(limits):
    text, inside, outside = RANGES[limits]
    assert str(limits) == text
    assert all(value in limits for value in inside)
    assert not any(value in limits for value in outside)


def test_find_range__type__is_found_in_a_tuple_and_beside_none():
    assert find_range(Annotated[int | None, Range(low=2)]) == Range(low=2)
    assert find_range(tuple[Annotated[float, Range(above=0)], ...]) == Range(above=0)
    assert find_range(tuple[float, ...]) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 0}, "width >= 1, got 0: choose a value in that range"),
        ({"most": 1}, "most >= 2, got 1"),
        ({"parts": (0.5, 1.0)}, r"parts in \(0, 1\), got 1.0"),
        ({"either": 7}, ">= 8, got 7"),
    ],
)
def test_options__value_out_of_its_range__is_refused(values, message):
    with pytest.raises(OptionError, match=message):
        Sizes(**values)


def test_options__values_in_their_ranges__are_taken():
    made = Sizes(width=1, most=2, parts=(0.1, 0.9), kind="b", either=8)
    assert (made.most, made.either) == (2, 8)
    assert Sizes().most is None


def test_options__value_that_is_no_choice__is_refused_with_the_known_ones():
    made = Sizes()
    object.__setattr__(made, "kind", "c")  # past the type checks of the tests, which nobody else has
    with pytest.raises(OptionError, match="kind of a, b, got 'c': choose one of them"):
        made.__post_init__()


def test_option_error__further_out__names_the_whole_path_and_survives_another_process():
    error = OptionError("max_margin", ">= 0", "-1", "raise it").under("method", "class_loss")
    assert str(pickle.loads(pickle.dumps(error))) == "expected method.class-loss.max-margin >= 0, got -1: raise it"


def test_name__of_a_member__is_its_modules_and_no_argument():
    assert (LearnedGate.Config.name, UniformGate.Config().name, GateConfig.name) == ("learned", "uniform", "")
    assert "name" in {item.name for item in fields(UniformGate.Config)}
    with pytest.raises(TypeError):
        UniformGate.Config(name="learned")


def test_find_member__outside__is_named_after_its_file_and_class(tmp_path):
    place = tmp_path / "mine.py"
    place.write_text(OUTSIDE)
    kind = find_member(GateConfig, f"{place}:Mine")
    assert (kind.name, kind().push) == (f"{place}:Mine", 1.0)
    with pytest.raises(ConfigError, match=r"whole options of .*Half, got some without build"):
        find_member(GateConfig, f"{place}:Half")
    with pytest.raises(ConfigError, match=r"a class called Neither in .*, got none"):
        find_member(GateConfig, f"{place}:Neither")


def test_choose_member__options_of_both__keep_what_was_set():
    chosen = choose_member(LearnedGate.Config(form="per_sample", entropy=0.5), "frozen")
    assert chosen == FrozenGate.Config(form="per_sample")
    assert choose_member(chosen, "learned") == LearnedGate.Config(form="per_sample")


def test_choose_member__strict__refuses_to_drop_what_was_set():
    with pytest.raises(OptionError, match=r"entropy 1\.0 with the name frozen, .* got 0\.5"):
        choose_member(LearnedGate.Config(entropy=0.5), "frozen", is_strict=True)
    assert choose_member(LearnedGate.Config(), "uniform", is_strict=True) == UniformGate.Config()


def test_list_owners__option__names_the_members_that_have_it():
    assert list_owners(GateConfig, "entropy") == ["learned", "learned_scalar"]
    assert list_owners(GateConfig, "nothing") == []


def test_range__up_to_what_float32_holds__names_that_only_to_who_is_above_it():
    width = Range(above=0, high=3.4028234663852886e38)
    assert str(width) == width.describe(-1.0) == "> 0"
    assert width.describe(1e39) == "> 0, and at most 3.40282e+38"
