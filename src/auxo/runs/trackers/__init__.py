"""Trackers: services that show the curves of many runs side by side, one module each, chosen by name."""

from auxo.runs.trackers._forgiving import ForgivingTracker
from auxo.runs.trackers._interface import AbstractTracker, TrackedRun
from auxo.runs.trackers._opening import TRACKERS_FILE, check_trackers, open_trackers, read_trackers

__all__ = [
    "TRACKERS_FILE",
    "AbstractTracker",
    "ForgivingTracker",
    "TrackedRun",
    "check_trackers",
    "open_trackers",
    "read_trackers",
]
