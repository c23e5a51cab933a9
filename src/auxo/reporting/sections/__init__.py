"""The sections of a report, each computed from the records of runs and from what their models say now."""

from auxo.reporting.sections.answers import answers_section
from auxo.reporting.sections.asked import asked_section
from auxo.reporting.sections.cost import cost_section
from auxo.reporting.sections.curves import curves_section, gates_section, metrics_section
from auxo.reporting.sections.exhibits import exhibits_section
from auxo.reporting.sections.judged import confusion_section, reliability_section
from auxo.reporting.sections.looked_at import attention_section, points_section
from auxo.reporting.sections.pretexts import pretext_section
from auxo.reporting.sections.results import results_section
from auxo.reporting.sections.shift import describe_drop, draw_shift, shift_section

__all__ = [
    "answers_section",
    "asked_section",
    "attention_section",
    "confusion_section",
    "cost_section",
    "curves_section",
    "describe_drop",
    "draw_shift",
    "exhibits_section",
    "gates_section",
    "metrics_section",
    "points_section",
    "pretext_section",
    "reliability_section",
    "results_section",
    "shift_section",
]
