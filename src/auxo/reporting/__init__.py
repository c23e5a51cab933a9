"""Reports of finished runs: one HTML page that opens without a network."""

from auxo.reporting.blocks import Page
from auxo.reporting.judgement import Judgement, Omission, judge
from auxo.reporting.page import render_page
from auxo.reporting.report import build_page
from auxo.reporting.run_record import RunRecord, read_run_record, run_names

__all__ = [
    "Judgement",
    "Omission",
    "Page",
    "RunRecord",
    "build_page",
    "judge",
    "read_run_record",
    "render_page",
    "run_names",
]
