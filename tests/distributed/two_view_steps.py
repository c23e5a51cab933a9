"""Loss, gradient and Hessian product of every pretext on two views in float64; one of the processes named outside."""

import torch
from safetensors.torch import save_file
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import PretextConfig
from auxo.options import find_member
from auxo.pretexts import Pair, gather_from
from auxo.pretexts.byol import BYOL
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Classification
from auxo.types import Batch

CASES = {name: find_member(PretextConfig, name)(hidden=8, outputs=6) for name in ("simclr", "barlow_twins", "vicreg")}
CASES |= {"byol": BYOL.Config(hidden=8, outputs=6, momentum=0.5, momentum_schedule="constant")}
STEPS, SIDE = 2, 12


def shared_out(count, runtime, seed):
    """This process's part of two views of ``count`` images; the first process has one more where they are odd."""
    generator = torch.Generator().manual_seed(seed)
    images, noise = (torch.randn(count, 3, SIDE, SIDE, generator=generator, dtype=torch.float64) for _ in range(2))
    middle = -(-count // runtime.num_processes)
    first, end = (0, middle) if runtime.rank == 0 else (middle, count)
    indices = torch.arange(first, end)
    part = Batch(images[first:end], {"label": indices}, indices, first, count, runtime.num_processes)
    return Pair(part.images, part.images + 0.3 * noise[first:end], gather_from(runtime, part))


def main(folder, count):
    torch.set_num_threads(1)
    with open_runtime(RuntimeConfig(device="cpu", channels_last=False)) as runtime:
        for name, config in CASES.items():
            backbone = BackboneConfig(name="resnet8").build(Classification(("a", "b"), 3, SIDE, SIDE), seed=0)
            module = nn.ModuleDict({"backbone": backbone, "pretext": config.build(backbone, seed=0)}).double().train()
            runtime.prepare(module, networks=[backbone])
            backbone, pretext = module["backbone"], module["pretext"]
            named = {key: value for key, value in module.named_parameters() if value.requires_grad}
            parameters = [*named.values()]
            optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
            saved = {}
            for step in range(STEPS):
                pair = shared_out(count, runtime, seed=step)
                pretext.follow(backbone, progress=step / STEPS)
                loss = pretext(backbone, pair).loss
                gradients = torch.autograd.grad(loss, parameters, create_graph=True)
                generator = torch.Generator().manual_seed(step)
                direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
                products = torch.autograd.grad(gradients, parameters, direction)
                saved[f"{step} loss"] = loss.detach()
                averaged = [runtime.mean(part.detach() for part in parts) for parts in (gradients, products)]
                for kind, parts in zip(("gradient", "product"), averaged, strict=True):
                    saved |= {f"{step} {kind} {key}": part for key, part in zip(named, parts, strict=True)}
                for parameter, gradient in zip(parameters, averaged[0], strict=True):
                    parameter.grad = gradient
                optimizer.step()
            where = f"{name}-{runtime.rank}-of-{runtime.num_processes}.safetensors"
            tensors = {key: value.contiguous() for key, value in {**module.state_dict(), **saved}.items()}
            save_file(tensors, folder / where)
