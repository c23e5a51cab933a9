"""Where a run was computed, step by step."""

import torch

from auxo.runs.environment import add_environment, compare_environments, describe_environment, find_environments
from auxo.runtime import RuntimeConfig, open_runtime

ONE, OTHER = {"threads": 1}, {"threads": 2}


def test_describe_environment__this_machine__names_what_rounding_depends_on():
    with open_runtime(RuntimeConfig(device="cpu", precision="bf16")) as runtime:
        found = describe_environment(runtime)
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert (found["device"], found["processes"], found["precision"]) == ("cpu", 1, "bfloat16")
    assert torch.backends.cpu.get_cpu_capability() in found["processor"]


def test_add_environment__the_same_again__is_noted_once():
    known = []
    for step, environment in ((0, ONE), (4, ONE), (6, OTHER), (8, OTHER), (9, ONE)):
        add_environment(known, step, environment)
    assert [(each["first_step"], each["threads"]) for each in known] == [(0, 1), (6, 2), (9, 1)]


def test_find_environments__parts_of_a_stage__are_those_in_force():
    known = []
    for step, environment in ((0, ONE), (6, OTHER)):
        add_environment(known, step, environment)
    assert find_environments(known, 0, 6) == [ONE]
    assert find_environments(known, 5, 6) == [ONE]
    assert find_environments(known, 4, 8) == [ONE, OTHER]
    assert find_environments(known, 6, 8) == [OTHER]
    assert find_environments(known, 10, 10) == [OTHER]


def test_find_environments__not_recorded_from_the_start__has_an_empty_one():
    assert find_environments([], 0, 5) == [{}]
    assert find_environments([{"first_step": 4, **OTHER}], 0, 6) == [{}, OTHER]
    assert find_environments([{"first_step": 4, **OTHER}], 4, 6) == [OTHER]


def test_compare_environments__what_differs__is_told():
    assert compare_environments(ONE, ONE) == []
    assert compare_environments({**ONE, "torch": "a"}, OTHER) == [
        "threads was 1 and is 2 here",
        "torch was a and is not recorded here",
    ]
