"""Files that are written whole or not at all, and signals between two writes."""

from auxo.files.atomic import AppendedFile, delete_file, make_folder, prepare_place, require_place, write_atomically
from auxo.files.lock import locked_folder
from auxo.files.signals import StopRequest, stop_on_signal
from auxo.files.temporary import is_unused, remove_temporaries
from auxo.files.tensor_file import TensorFile, read_tensor_file, require_finite, write_tensor_file

__all__ = [
    "AppendedFile",
    "StopRequest",
    "TensorFile",
    "delete_file",
    "is_unused",
    "locked_folder",
    "make_folder",
    "prepare_place",
    "read_tensor_file",
    "remove_temporaries",
    "require_finite",
    "require_place",
    "stop_on_signal",
    "write_atomically",
    "write_tensor_file",
]
