"""What the tables of a comparison say besides their numbers."""

import pytest

from auxo.comparison import Contents, MethodEntry, Result, accuracy_table, compare_results, difference_table, notes_of


@pytest.fixture
def compare():
    """Compare methods whose runs all cost the same, each named with its accuracies in percent by seed."""

    def made(**accuracies):
        methods = {name: MethodEntry(name, 7, tuple(values)) for name, values in accuracies.items()}
        contents = Contents("own", "equal", 1e9, "as given", {}, None, methods)
        results = [
            Result(name, seed, "semantic", {"test": accuracy}, {"test": 50}, (3,), 2.0, 150, 1e9, None)
            for name, values in accuracies.items()
            for seed, accuracy in values.items()
        ]
        return compare_results(contents, results)

    return made


def test_notes_of__no_seed_in_common__method_is_named_and_not_compared(compare):
    comparison = compare(first={0: 80.0, 1: 82.0}, second={2: 90.0, 3: 92.0})
    assert notes_of(comparison) == ["no seed in common with first, so not compared with it: second"]
    assert difference_table(comparison) is None


def test_tables__same_seeds_and_cost__nothing_to_note(compare):
    comparison = compare(first={0: 80.0, 1: 82.0}, second={0: 81.0, 1: 85.0})
    assert notes_of(comparison) == []
    table = accuracy_table(comparison)
    assert [line[:2] for line in table.lines] == [("first", "81.0 ± 1.4"), ("second", "83.0 ± 2.8")]
    assert "seconds (wall-clock" in table.caption
