"""Classification and rotation prediction together: joint training with the pretext rotation."""

from auxo.methods.joint_training import JointTraining
from auxo.pretexts.rotation import Rotation
from auxo.runs.experiment import ExperimentConfig, StageConfig


def recipe() -> ExperimentConfig:
    """Return joint training with rotation, of a LeNet-5 on the built-in digits."""
    return ExperimentConfig(stages=(StageConfig(method=JointTraining.Config()),), pretext=Rotation())
