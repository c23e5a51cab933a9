"""What is done to a run that `auxo verify` is to notice, and what it said."""

import json

import torch

from auxo.files.tensor_file import read_tensor_file, write_tensor_file


def steps_of(run):
    return [int(path.stem[-8:]) for path in sorted((run / "checkpoints").glob("train-0*.safetensors"))]


def checkpoint(run, epoch):
    """The checkpoint at the end of an epoch, from 1."""
    return sorted((run / "checkpoints").glob("train-0*.safetensors"))[epoch - 1]


def forge(path, change):
    """Change a file of tensors and write a digest that fits, as somebody who knows the format can."""
    tree, header = read_tensor_file(path)
    change(tree, header)
    write_tensor_file(path, tree, header)


def flip_bit(tree, _header):
    """Change the last bit of one weight."""
    bits = next(tensor for tensor in tree["weights"].values() if tensor.ndim > 1).view(torch.int32).view(-1)
    bits[7] ^= 1


def change_rows(run, change):
    path = run / "records.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in change(rows)))


def change_config(run, change):
    path = run / "config.json"
    document = json.loads(path.read_text())
    change(document["run"])
    path.write_text(json.dumps(document))


def found(answer, status):
    """The lines of a status."""
    return [line for line in answer.out.splitlines() if line.startswith(f"{status}: ")]
