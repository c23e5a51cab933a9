"""Reports and audits of finished runs: one HTML page that opens without a network."""

from auxo.reporting.audit import Audit, AuditedColumn, audit_model, build_audit_table, list_reasons
from auxo.reporting.audit_page import build_audit_page
from auxo.reporting.blocks import Page
from auxo.reporting.judgement import Judgement, Omission, judge
from auxo.reporting.page import render_page
from auxo.reporting.report import build_page
from auxo.reporting.run_record import RunRecord, read_run_record, run_names

__all__ = [
    "Audit",
    "AuditedColumn",
    "Judgement",
    "Omission",
    "Page",
    "RunRecord",
    "audit_model",
    "build_audit_page",
    "build_audit_table",
    "build_page",
    "judge",
    "list_reasons",
    "read_run_record",
    "render_page",
    "run_names",
]
