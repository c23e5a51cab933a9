import pytest

from auxo.data.arrays import number_values
from auxo.data.names import NameLookup, find_combined, normalise_name, refuse_alike
from auxo.errors import DataError

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def test_normalise_name__two_forms_of_one_letter__are_one_name() -> None:
    assert normalise_name(f" {DECOMPOSED}\t") == COMPOSED
    assert normalise_name(COMPOSED) == COMPOSED


def test_refuse_alike__two_forms__are_spelt_out() -> None:
    refuse_alike([COMPOSED, "cafe"], where="'mine'")
    with pytest.raises(DataError, match=r"got 'caf\\xe9' and 'cafe\\u0301' in 'mine': rename one of them"):
        refuse_alike([COMPOSED, DECOMPOSED], where="'mine'")


def test_number_values__names_that_look_alike__are_refused() -> None:
    with pytest.raises(DataError, match=r"got 'cat' and 'cat ' in 'mine'"):
        number_values("mine", "label", [0, 1], ["cat", "cat "])


def test_name_lookup__numbers_as_names__mean_the_class_of_that_name() -> None:
    lookup = NameLookup(["1", "2", "0"])
    assert [lookup.find_number(number) for number in (0, 1, 2, 3, -1)] == [2, 0, 1, None, None]
    assert [lookup.find(name) for name in ("0", "01", "+2", "two", "3")] == [2, 0, 1, None, None]


def test_name_lookup__words__take_numbers_for_positions() -> None:
    lookup = NameLookup(["cat", "dog"])
    assert [lookup.find_number(number) for number in (0, 1, 2, -1)] == [0, 1, None, None]
    assert lookup.find("0") is None


def test_name_lookup__a_number_among_words__is_a_name() -> None:
    lookup = NameLookup(["other", "1", "0"])
    assert [lookup.find_number(number) for number in (0, 1, 2)] == [2, 1, None]


def test_name_lookup__two_names_of_one_value__are_told_apart_as_written() -> None:
    lookup = NameLookup(["1", "01", "002", "02"])
    assert [lookup.find(name) for name in ("1", "01", "001", "002", "02", "2")] == [0, 1, 0, 2, 3, None]
    assert [lookup.find_number(number) for number in (1, 2)] == [0, None]


def test_name_lookup__thousands_of_digits__are_a_name() -> None:
    digits = "9" * 5000
    assert NameLookup(["1", digits]).find(digits) == 1
    assert NameLookup(["1", "2"]).find(digits) is None


@pytest.mark.parametrize(
    ("names", "known", "combined"),
    [
        (["cat", "dog", "cat,dog"], [], ["cat,dog"]),
        (["['cat', 'dog']"], ["cat", "dog"], ["['cat', 'dog']"]),
        (["a|b", "b|c", "a|c"], [], ["a|b", "a|c", "b|c"]),
        (["Shih-Tzu, toy", "Poodle"], [], []),
        (["tench, Tinca tinca", "goldfish, Carassius auratus"], [], []),
        (["cat;dog", "cat", "bird"], [], []),
        (["1", "2", "1;2"], [], ["1;2"]),
        (["a, b"], [], []),
    ],
)
def test_find_combined__parts_that_are_names_too__are_several(
    names: list[str], known: list[str], combined: list[str]
) -> None:
    assert sorted(find_combined(names, known)) == combined
