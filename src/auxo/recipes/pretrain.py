"""The conventional pipeline: pretraining without labels, then fine-tuning with them."""

from auxo.data import DataConfig
from auxo.methods.pretrain import Pretraining
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig
from auxo.pretexts.simclr import SimCLR
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig


def recipe() -> ExperimentConfig:
    """Return SimCLR on the built-in digits, then fine-tuning with 250 labels."""
    fine_tuning = OptimizerConfig(lr=0.03, nesterov=False, schedule="cosine", moves="step")
    return ExperimentConfig(
        stages=(
            StageConfig(name="pretrain", method=Pretraining.Config(), epochs=15, batch_size=128),
            StageConfig(
                name="fine-tune", method=Supervised.Config(optimizer=fine_tuning), epochs=60, start_from="pretrain"
            ),
        ),
        pretext=SimCLR.Config(),
        data=DataConfig(num_labelled=250, augment="crop"),
        training=TrainingConfig(evaluate_every=10),
    )
