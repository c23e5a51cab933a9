"""Files that are written whole or not at all, and signals between two writes."""

from auxo.files.atomic import AppendedFile, make_folder, remove_temporaries, require_folder_of, write_atomically
from auxo.files.lock import locked_folder
from auxo.files.signals import StopRequest, stop_on_signal
from auxo.files.tensor_file import TensorFile, read_tensor_file, write_tensor_file

__all__ = [
    "AppendedFile",
    "StopRequest",
    "TensorFile",
    "locked_folder",
    "make_folder",
    "read_tensor_file",
    "remove_temporaries",
    "require_folder_of",
    "stop_on_signal",
    "write_atomically",
    "write_tensor_file",
]
