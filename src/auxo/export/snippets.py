"""Lines of Python in a model card that run an export without auxo."""

from auxo.export.description import Description

_TORCH = """\
import json
import numpy as np
import torch
from PIL import Image, ImageOps

image = Image.open("picture.png")
{fit}
pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0) / 255
logits = torch.export.load("model.pt2").module()(pixels)
{show}
"""

_ONNX = """\
import json
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

image = Image.open("picture.png")
{fit}
pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] / 255
logits = onnxruntime.InferenceSession("model.onnx").run(["logits"], {{"images": pixels}})[0][0]
{show}
"""

_SHOW_TORCH = """\
for label, probability in zip(json.load(open("labels.json")), logits.softmax(dim=1)[0].tolist()):
    print(f"{label}: {probability:.6f}")"""

_SHOW_ONNX = """\
probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
for label, probability in zip(json.load(open("labels.json")), probabilities):
    print(f"{label}: {probability:.6f}")"""


def torch_snippet(description: Description) -> str:
    """Return lines that print the probabilities of ``picture.png`` with torch, from the folder of the export."""
    return _TORCH.format(fit=_write_resizing(description), show=_choose_lines(description, _SHOW_TORCH))


def onnx_snippet(description: Description) -> str:
    """Return lines that print the probabilities of ``picture.png`` with onnxruntime, from the folder of the export."""
    return _ONNX.format(fit=_write_resizing(description), show=_choose_lines(description, _SHOW_ONNX))


def _choose_lines(description: Description, of_classes: str) -> str:
    """Return the lines that print the outputs: as probabilities where there is one class per image."""
    target = description.task.targets[0]
    return of_classes if target.names and not target.has_places else "print(logits)"


def _write_resizing(description: Description) -> str:
    """Return the lines that bring an image to the input's size and colours."""
    upright = 'ImageOps.exif_transpose(image).convert("RGB")'
    size = description.image_size
    if size is None:
        return f"image = {upright}  # must have {description.task.width}x{description.task.height} pixels"
    draft = f"image.draft(image.mode, ({2 * size}, {2 * size}))  # reads large JPEG files at a smaller scale\n"
    return f"{draft}image = ImageOps.fit({upright}, ({size}, {size}), Image.Resampling.BILINEAR)"
