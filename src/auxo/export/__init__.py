"""Trained networks as files for use elsewhere: safetensors, torch.export and ONNX, each with a model card."""

from auxo.export.description import Description
from auxo.export.folder import FORMATS, Export, ExportFormat, export_run, is_export
from auxo.export.network import DeployedNetwork, capture
from auxo.export.onnx_file import open_onnx, to_onnx
from auxo.export.predictor import Predictor, predictor_of
from auxo.export.program_file import open_program, to_pt2
from auxo.export.published import published
from auxo.export.weights_file import load_network, write_network

__all__ = [
    "FORMATS",
    "DeployedNetwork",
    "Description",
    "Export",
    "ExportFormat",
    "Predictor",
    "capture",
    "export_run",
    "is_export",
    "load_network",
    "open_onnx",
    "open_program",
    "predictor_of",
    "published",
    "to_onnx",
    "to_pt2",
    "write_network",
]
