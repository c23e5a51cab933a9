"""The network as a ``.pt2`` file, which plain torch runs."""

import io
import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.export import ExportedProgram

from auxo.errors import CheckpointError
from auxo.export.description import Description
from auxo.export.network import describe_program
from auxo.export.predictor import Predictor
from auxo.export.quiet import quiet_logger

_DESCRIPTION = "auxo.json"


def to_pt2(program: ExportedProgram, description: Description) -> bytes:
    """Return the bytes of a ``.pt2`` file.

    The example input is left out: torch would store it as a pickle, and the rest has none.

    Args:
        program: from :func:`auxo.export.capture`; loses its example input.
        description: is stored with it, as the extra file ``auxo.json``.
    """
    program.example_inputs = None
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={_DESCRIPTION: describe_program(description, program).to_json()})
    return file.getvalue()


def open_program(path: Path, *, code: Sequence[str] = ()) -> Predictor:
    """Return what a ``.pt2`` file of :func:`to_pt2` predicts, on the CPU.

    ``torch.export.load`` reads pickles where a file has them, and evaluates expressions in its text: a file that was
    made to do harm runs whatever code it likes. Call this on files that you trust as you trust a program.

    Raises:
        CheckpointError: the file is missing, damaged, or not of auxo.
    """
    description = Description.from_json(_description_in(path), origin=str(path), code=code)
    try:
        with quiet_logger("torch.export", level=logging.ERROR):  # it would say at length what the error below says
            network = torch.export.load(path).module()
    except (RuntimeError, ValueError, LookupError, OSError, zipfile.BadZipFile) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise CheckpointError(
            f"a .pt2 file that torch {torch.__version__} can load", reason, "export it again"
        ) from error

    def logits(pixels: UInt8[Tensor, "batch c h w"]) -> Tensor:
        with torch.no_grad():
            found: Tensor = network(pixels.float() / 255)
        return found

    return Predictor(description, path, logits)


def _description_in(path: Path) -> str:
    """Return the description in the archive, which reading does not run."""
    fix = "name a model.pt2 that auxo export wrote"
    if not path.is_file():
        raise CheckpointError(f"the file {path}", "nothing there", fix)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(f"/extra/{_DESCRIPTION}")]
            return archive.read(names[0]).decode() if names else ""
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise CheckpointError(f"a whole .pt2 file at {path}", "a damaged or foreign one", fix) from error
