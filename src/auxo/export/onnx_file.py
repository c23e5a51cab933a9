"""The network as an ONNX file, which onnxruntime and many other programs run."""

import importlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.export import ExportedProgram

from auxo.errors import CheckpointError, ConfigError
from auxo.export.description import Description
from auxo.export.network import describe_program
from auxo.export.predictor import Predictor
from auxo.export.quiet import quiet_logger

_DESCRIPTION = "auxo"
_INPUT, _OUTPUT = "images", "logits"


def to_onnx(program: ExportedProgram, description: Description) -> bytes:
    """Return the bytes of an ONNX file with the input ``images`` and the output ``logits``.

    It takes any batch size, and any height and width where the program has them free.

    Args:
        program: from :func:`auxo.export.capture`.
        description: is stored in the file's metadata under ``auxo``.

    Raises:
        ConfigError: onnx or onnxscript is missing, or the network has an operation that ONNX lacks.
    """
    require_onnx()
    with _quiet_exporter():
        try:
            made = torch.onnx.export(
                program, (), dynamo=True, input_names=[_INPUT], output_names=[_OUTPUT], verbose=False
            )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            fix = "export to torch-export or safetensors instead"
            raise ConfigError("a network that ONNX can express", reason, fix) from error
    assert made is not None  # it is None only under the older exporter
    made.model.metadata_props[_DESCRIPTION] = describe_program(description, program).to_json()
    content: bytes = made.model_proto.SerializeToString()
    return content


def require_onnx() -> None:
    """Refuse to go on where ONNX files cannot be written.

    Raises:
        ConfigError: onnx or onnxscript cannot be imported.
    """
    for name in ("onnx", "onnxscript"):
        _import_extra(name, purpose="to write ONNX files")


def open_onnx(path: Path, *, code: Sequence[str] = ()) -> Predictor:
    """Return what an ONNX file of :func:`to_onnx` predicts with onnxruntime, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged, or not of auxo.
        ConfigError: onnxruntime is missing.
    """
    fix = "name a model.onnx that auxo export wrote"
    if not path.is_file():
        raise CheckpointError(f"the file {path}", "nothing there", fix)
    runtime = _import_extra("onnxruntime", purpose="to run ONNX files")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    state = runtime.capi.onnxruntime_pybind11_state
    try:
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
    ) as error:
        raise CheckpointError(f"a whole ONNX file at {path}", "a damaged or foreign one", fix) from error
    text = session.get_modelmeta().custom_metadata_map.get(_DESCRIPTION, "")
    description = Description.from_json(text, origin=str(path), code=code)

    def logits(pixels: UInt8[Tensor, "batch c h w"]) -> Tensor:
        (found,) = session.run([_OUTPUT], {_INPUT: (pixels.float() / 255).numpy()})
        return torch.from_numpy(found)

    return Predictor(description, path, logits)


def _import_extra(name: str, *, purpose: str) -> ModuleType:
    """Import a package of the extra onnx."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        got = f"an import that failed ({reason})"
        raise ConfigError(f"the package {name} {purpose}", got, "pip install 'auxo[onnx]'") from error


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep two notes of torch's ONNX exporter that concern nobody here off the terminal."""
    # The first says that torchvision, which auxo does not need, is not installed.
    with quiet_logger("torch.onnx._internal.exporter._registration", level=logging.ERROR), warnings.catch_warnings():
        # The exporter copies a program, and torch rebuilds an old kind of tree while it does.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated", category=FutureWarning)
        yield
