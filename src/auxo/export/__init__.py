"""Trained networks as files for use elsewhere: safetensors, torch.export and ONNX, each with a model card."""

from auxo.export.answer_file import encode_answer, encode_overlay
from auxo.export.description import Description
from auxo.export.folder import FORMATS, Export, ExportFormat, export_run, is_export
from auxo.export.network import DeployedNetwork, capture, takes_any_size
from auxo.export.onnx_file import open_onnx, to_onnx
from auxo.export.predictor import AnsweredImage, EncodedImage, Predictor, predictor_of
from auxo.export.program_file import open_program, to_pt2
from auxo.export.published import published
from auxo.export.weights_file import load_network, write_network
from auxo.export.windows import WindowConfig

__all__ = [
    "FORMATS",
    "AnsweredImage",
    "DeployedNetwork",
    "Description",
    "EncodedImage",
    "Export",
    "ExportFormat",
    "Predictor",
    "WindowConfig",
    "capture",
    "encode_answer",
    "encode_overlay",
    "export_run",
    "is_export",
    "load_network",
    "open_onnx",
    "open_program",
    "predictor_of",
    "published",
    "takes_any_size",
    "to_onnx",
    "to_pt2",
    "write_network",
]
