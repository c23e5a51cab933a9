"""Latents of the images without labels: a small convolutional autoencoder, trained before the first step."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from auxo.interfaces import AbstractImageReader, StageStart
from auxo.random import derive_seed, global_seed
from auxo.types import Images

# Ours: of the published baseline it is known that it clusters latents of an autoencoder, and no more.
_SIDE, _LATENTS, _WIDTHS = 32, 32, (16, 32)
_STEPS, _BATCH, _RATE, _CHUNK = 400, 64, 2e-3, 500


class Autoencoder(nn.Module):
    """Two convolutions of stride 2 to a vector, and the way back.

    Args:
        channels: of the images.
        height: pixels.
        width: pixels.
        num_latents: length of the vector.
    """

    def __init__(self, channels: int, *, height: int, width: int, num_latents: int = _LATENTS) -> None:
        super().__init__()
        first, second = _WIDTHS
        small = second, -(-height // 4), -(-width // 4)
        count = small[0] * small[1] * small[2]
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, first, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(count, num_latents),
        )
        self.decoder = nn.Sequential(
            nn.Linear(num_latents, count),
            nn.ReLU(),
            nn.Unflatten(1, small),
            nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(first, channels, 4, stride=2, padding=1),
        )

    def forward(self, images: Images) -> Images:
        """Return the images anew, of the same shape."""
        made: Tensor = self.decoder(self.encoder(images))
        return made[..., : images.shape[2], : images.shape[3]]  # sides that four does not divide


def encode_images(images: AbstractImageReader, start: StageStart, *, steps: int = _STEPS) -> Float[Tensor, "n latents"]:
    """Return latents of all images of a split, float32 on the CPU, from an autoencoder that is trained on them.

    Images of more than 32 pixels are shrunk first. Squared error of pixels in [0, 1], 400 steps of Adam at 0.002 on
    64 images. Every process does the same.

    Args:
        images: of the split.
        start: of the stage, for seed and device.
        steps: how many to take.

    Cost: 400 steps of a network of 0.1 million parameters, some ten seconds of one core, however many images there are.
    """
    small = _read_small(images)
    with global_seed(derive_seed(start.seed, "init", "autoencoder")):
        network = Autoencoder(small.shape[1], height=small.shape[2], width=small.shape[3]).to(start.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    draws = start.generator("autoencoder")
    for _ in range(steps):
        chosen = small[torch.randint(len(small), (_BATCH,), generator=draws)].to(start.device) / 255
        optimizer.zero_grad()
        functional.mse_loss(network(chosen), chosen).backward()
        optimizer.step()
    with torch.no_grad():
        return torch.cat([network.encoder(part.to(start.device) / 255).cpu() for part in small.split(_CHUNK)])


def _read_small(images: AbstractImageReader) -> UInt8[Tensor, "n channels height width"]:
    """Return all images, none of their sides longer than 32 pixels, in a shape that all share."""
    found = []
    for positions in torch.arange(len(images)).split(_CHUNK):
        pixels = images.pixels(positions)
        height, width = (min(side, _SIDE) for side in pixels.shape[2:])
        small = functional.interpolate(pixels.float(), size=(height, width), mode="area")
        found.append(small.round().to(torch.uint8))
    return torch.cat(found)
