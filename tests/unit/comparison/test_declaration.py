"""What a comparison is to decide: contrasts, endpoint, margin, and the tables that were looked at."""

import pytest

from auxo.comparison import Contents, Contrast, Declaration, MethodEntry, Question, count_looks, declare, read_margins
from auxo.errors import ConfigError

METHODS = ("plain", "ours", "off", "other")


def declared(question=None, *, methods=METHODS, earlier=None, looks=()):
    """What is declared, contrasts as pairs: those declared, and those that are exploratory."""
    made = declare(question or Question(), methods, measure="primary", earlier=earlier, looks=looks)
    kinds = {kind: [(c.method, c.baseline) for c in made.contrasts if c.is_declared is kind] for kind in (True, False)}
    return made, kinds[True], kinds[False]


def test_declare__nothing_asked__every_method_with_the_first():
    made, own, rest = declared()
    assert own == [("ours", "plain"), ("off", "plain"), ("other", "plain")]
    assert rest == []
    assert (made.margin, made.looks, made.split) == ("1", 1, None)


def test_declare__control__its_method_is_compared_with_it_and_it_with_the_baseline_for_exploration():
    _, own, rest = declared(Question(controls={"off": "ours"}))
    assert own == [("ours", "plain"), ("other", "plain"), ("ours", "off")]
    assert rest == [("off", "plain")]


def test_declare__control_of_a_method_that_is_not_compared__is_a_method_like_others():
    _, own, rest = declared(Question(controls={"off": "absent"}))
    assert ("off", "plain") in own
    assert rest == []


def test_declare__several_baselines__every_other_method_with_each():
    _, own, rest = declared(Question(baselines=("plain", "other")))
    assert own == [("ours", "plain"), ("ours", "other"), ("off", "plain"), ("off", "other")]
    assert rest == []


def test_declare__contrasts__stand_for_those_with_the_baseline():
    _, own, rest = declared(Question(contrasts=(("ours", "off"),)))
    assert own == [("ours", "off")]
    assert rest == [("ours", "plain"), ("off", "plain"), ("other", "plain")]


def test_declare__after_a_look__new_contrasts_of_seen_runs_are_exploratory_and_of_new_methods_are_not():
    before, *_ = declared(methods=METHODS[:3])
    look = dict.fromkeys(METHODS[:3], (0, 1))
    _, own, rest = declared(Question(baselines=("plain", "off")), earlier=before, looks=(look,))
    assert own == [("ours", "plain"), ("off", "plain"), ("other", "plain"), ("other", "off")]
    assert rest == [("ours", "off")]


def test_declare__before_any_look__what_was_asked_last_holds():
    before, *_ = declared(Question(margin="2", endpoint="test"))
    made, own, _ = declared(Question(contrasts=(("ours", "off"),), margin="0.5", looks=3), earlier=before)
    assert (made.margin, made.looks, made.split) == ("0.5", 3, "test")
    assert own == [("ours", "off")]


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (Question(endpoint="test"), "the endpoint that was declared before the first table, the default, got test"),
        (Question(margin="2"), "the margin that was declared before the first table, 1, got 2: leave --margin out"),
        (Question(looks=3), "the looks that was declared before the first table, 1, got 3"),
        (Question(baselines=("none",)), "a baseline among plain, ours, off, other, got 'none'"),
        (Question(baselines=("plain", "plain")), "baselines that differ"),
        (Question(contrasts=(("ours", "of"),)), "contrasts of plain, ours, off, other, got 'of'"),
        (Question(contrasts=(("ours", "ours"),)), "contrasts of two methods, got ours:ours"),
        (Question(margin="-1"), "a margin such as 1"),
        (Question(looks=0), "looks >= 1"),
    ],
)
def test_declare__what_does_not_go_or_comes_too_late__refused(question, says):
    before, *_ = declared()
    with pytest.raises(ConfigError) as error:
        declared(question, earlier=before, looks=({"plain": (0, 1), "ours": (0, 1)},))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_declare__group__may_come_after_a_look_and_then_stays():
    before, *_ = declared()
    look = ({"plain": (0, 1), "ours": (0, 1)},)
    made, *_ = declared(Question(group="writer"), earlier=before, looks=look)
    assert made.group == "writer"
    assert declared(earlier=made, looks=look)[0].group == "writer"
    with pytest.raises(ConfigError, match="the group that was declared before the first table, writer, got site"):
        declared(Question(group="site"), earlier=made, looks=look)


def test_declare__the_same_again_after_a_look__is_no_change():
    before, *_ = declared(Question(margin="2", endpoint="elsewhere"))
    made, *_ = declared(
        Question(margin="2", endpoint="elsewhere"), earlier=before, looks=({"plain": (0, 1), "ours": (0, 1)},)
    )
    assert made == before


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        (["test", "ood/a", "ood/b", "mean elsewhere"], "mean elsewhere"),
        (["test", "ood/a"], "ood/a"),
        (["test"], "test"),
        ([], None),
    ],
)
def test_choose_split__nothing_declared__the_most_that_is_from_elsewhere(sets, expected):
    assert Declaration().choose_split(sets) == expected
    assert Declaration(split="ood/b").choose_split(sets) == ("ood/b" if "ood/b" in sets else None)


def test_count_looks__tables_of_other_seeds__count_once_each_and_single_pairs_do_not():
    first, more = {"a": (0, 1, 2), "b": (0, 1, 2)}, {"a": (0, 1, 2, 3, 4), "b": (0, 1, 2, 3), "c": (0, 1)}
    assert count_looks((), "a", "b", (0, 1, 2)) == 1
    assert count_looks((first,), "a", "b", (0, 1, 2)) == 1
    assert count_looks((first, more), "a", "b", (0, 1, 2, 3)) == 2
    assert count_looks((first, more), "a", "b", (0, 1, 2, 3, 4)) == 3
    assert count_looks((first, more), "a", "c", (0, 1)) == 1
    assert count_looks(({"a": (0,), "b": (0,)},), "a", "b", (0, 1)) == 1


def test_looked_at__tables_of_the_same_runs__are_one_look():
    methods = {name: MethodEntry(name, None, (0, 1)) for name in ("a", "b")}
    contents = Contents("own", "equal", 1e9, "as given", {}, None, methods)
    runs = [("a", 1), ("a", 0), ("b", 0)]
    once = contents.looked_at(runs)
    assert once.looks == ({"a": (0, 1), "b": (0,)},)
    assert once.looked_at(runs[::-1]) == once
    assert len(once.looked_at([*runs, ("b", 1)]).looks) == 2
    assert contents.looked_at([]) == contents


def test_read_margins__of_points_and_of_measures__by_name():
    assert read_margins("1") == {"": 1.0}
    assert read_margins("nll=0.02,accuracy=3") == {"nll": 0.02, "accuracy": 3.0}
    for text in ("", "x", "0", "inf", "nan", "1,2", "=1", "nll=", "nll=1,nll=2", "1e400"):
        with pytest.raises(ConfigError, match="a margin such as"):
            read_margins(text)


def test_contrast__by_default__is_declared():
    assert Contrast("a", "b").is_declared
