"""Search over options of a run: trials by Optuna, chosen on validation images alone."""

from auxo.sweep.fields import Field, find_field, search_fields, with_values
from auxo.sweep.files import failures_of, judged_table, trial_table, write_files
from auxo.sweep.folder import Contents, check_contents, contents_of, write_contents
from auxo.sweep.results import Objective, TrialResult, ValidationScore, choose, read_test, read_trial
from auxo.sweep.samplers import SAMPLERS, Choice, Integers, Interval, Sampler, parse_sampler
from auxo.sweep.search import Sweep, make_trials, read_sweep
from auxo.sweep.space import Parameter, SearchSpace, check_builds, parse_space
from auxo.sweep.study import Strategy, Study, Trial, open_study, require_optuna

__all__ = [
    "SAMPLERS",
    "Choice",
    "Contents",
    "Field",
    "Integers",
    "Interval",
    "Objective",
    "Parameter",
    "Sampler",
    "SearchSpace",
    "Strategy",
    "Study",
    "Sweep",
    "Trial",
    "TrialResult",
    "ValidationScore",
    "check_builds",
    "check_contents",
    "choose",
    "contents_of",
    "failures_of",
    "find_field",
    "judged_table",
    "make_trials",
    "open_study",
    "parse_sampler",
    "parse_space",
    "read_sweep",
    "read_test",
    "read_trial",
    "require_optuna",
    "search_fields",
    "trial_table",
    "with_values",
    "write_contents",
    "write_files",
]
