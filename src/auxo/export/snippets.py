"""Lines of Python in a model card that run an export without auxo."""

from auxo.data.fitting import PADDING
from auxo.export.description import Description

_TORCH = """\
import json
import numpy as np
import torch
from PIL import Image, ImageOps

image = Image.open("image.png")
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

image = Image.open("image.png")
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

_MASK = """\
Image.fromarray(mask).save("mask.png")
for number, label in enumerate(json.load(open("labels.json"))):
    print(f"{label}: {(mask == number).mean():.6f}")"""

_MASK_TORCH = f"mask = logits.argmax(dim=1)[0].byte().numpy()\n{_MASK}"

_MASK_ONNX = f"mask = logits.argmax(axis=0).astype(np.uint8)\n{_MASK}"


def torch_snippet(description: Description) -> str:
    """Return lines that print what ``image.png`` shows with torch, from the folder of the export."""
    return _TORCH.format(fit=_write_resizing(description), show=_choose_lines(description, _SHOW_TORCH, _MASK_TORCH))


def onnx_snippet(description: Description) -> str:
    """Return lines that print what ``image.png`` shows with onnxruntime, from the folder of the export."""
    return _ONNX.format(fit=_write_resizing(description), show=_choose_lines(description, _SHOW_ONNX, _MASK_ONNX))


def _choose_lines(description: Description, of_images: str, of_places: str) -> str:
    """Return the lines that print the outputs: probabilities of an image's classes, or the part that each class takes.

    Args:
        description: of the network.
        of_images: lines for one class per image.
        of_places: lines for one class per place, which also write them.
    """
    target = description.task.targets[0]
    return (of_places if target.has_places else of_images) if target.names else "print(logits)"


def _write_resizing(description: Description) -> str:
    """Return the lines that bring an image to the input's size and colours."""
    upright = 'ImageOps.exif_transpose(image).convert("RGB")'
    size, task = description.image_size, description.task
    if description.takes_any_size and not description.was_resized:
        return f"image = {upright}"
    if description.takes_any_size:
        factor = f"scale = max({task.width} / image.width, {task.height} / image.height)"
        sides = "(round(scale * image.width), round(scale * image.height))"
        resize = f"image = image.resize({sides}, Image.Resampling.BILINEAR)"
        return f"image = {upright}\n{factor}\n{resize}  # the mask has this size, too"
    if size is None:
        return f"image = {upright}  # must have {task.width}x{task.height} pixels"
    draft = f"image.draft(image.mode, ({2 * size.width}, {2 * size.height}))"
    sides = f"({size.width}, {size.height}), Image.Resampling.BILINEAR"
    calls = {
        "crop": f"ImageOps.fit({upright}, {sides})",
        "letterbox": f"ImageOps.pad({upright}, {sides}, color=({PADDING}, {PADDING}, {PADDING}))",
        "squash": f"{upright}.resize({sides})",
    }
    return f"{draft}  # reads large JPEG files at a smaller scale\nimage = {calls[size.method]}"
