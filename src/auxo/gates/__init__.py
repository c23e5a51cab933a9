"""Gates: weights for the losses of several tasks, one module each, built by name."""

from auxo.gates._config import GateConfig
from auxo.gates._conflicts import ConflictMonitor
from auxo.gates._interface import AbstractGate, GateResult, GateStep, TaskLosses
from auxo.gates._step import build_gate_step

__all__ = [
    "AbstractGate",
    "ConflictMonitor",
    "GateConfig",
    "GateResult",
    "GateStep",
    "TaskLosses",
    "build_gate_step",
]
