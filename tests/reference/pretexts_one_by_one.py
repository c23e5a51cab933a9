"""The pretexts' inputs rendered slowly, one image at a time, from the descriptions in the papers and released code.

Nothing of auxo is used here.
"""

from itertools import permutations

import torch

COLOUR_ORDERS = ["RGB", "RBG", "GRB", "GBR", "BRG", "BGR"]
NEIGHBOURS = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]


def quadrant_corner(quadrant, side):
    """Upper left pixel of the quadrant: top left, top right, bottom left, bottom right."""
    return [(0, 0), (0, side // 2), (side // 2, 0), (side // 2, side // 2)][quadrant]


def turn(patch, quarter_turns):
    """Turn a patch counter-clockwise: the last column becomes the first row, as often as is asked."""
    for _ in range(quarter_turns):
        patch = patch.transpose(1, 2).flip(1)
    return patch


def gssl_image(image, quadrant, quarter_turns, flipped, order, axis="horizontal"):
    """Flip one quadrant, then turn it, then exchange its channels."""
    half = image.shape[1] // 2
    row, column = quadrant_corner(quadrant, image.shape[1])
    patch = image[:, row : row + half, column : column + half]
    if flipped:
        patch = patch.flip(2) if axis == "horizontal" else patch.flip(1)
    patch = turn(patch, quarter_turns)
    if order:
        patch = torch.stack([patch["RGB".index(colour)] for colour in COLOUR_ORDERS[order]])
    changed = image.clone()
    changed[:, row : row + half, column : column + half] = patch
    return changed


def gssl_labels(quadrant, quarter_turns, flipped, order):
    """Labels of flip, rotation and channel order."""
    return [flipped, 4 * quadrant + quarter_turns, order]


def local_rotation_image(image, row, column, side, quarter_turns):
    """Turn a square anywhere."""
    changed = image.clone()
    patch = image[:, row : row + side, column : column + side]
    changed[:, row : row + side, column : column + side] = turn(patch, quarter_turns)
    return changed


def jigsaw_image(image, order, grid):
    """Fill the grid in reading order with the tiles of these numbers; what the grid does not cover stays."""
    height, width = image.shape[1] // grid, image.shape[2] // grid
    changed = image.clone()
    for place, tile in enumerate(order):
        down, right = place // grid * height, place % grid * width
        row, column = tile // grid * height, tile % grid * width
        changed[:, down : down + height, right : right + width] = image[:, row : row + height, column : column + width]
    return changed


def distant_permutations(length, count):
    """Greedy set of distant permutations, with the whole table of distances; slow."""
    everything = list(permutations(range(length)))
    chosen = [everything[0]]
    while len(chosen) < count:
        best = None
        for candidate in everything:
            distances = [sum(a != b for a, b in zip(candidate, one, strict=True)) for one in chosen]
            key = (min(distances), sum(distances))
            if best is None or key > best[0]:
                best = key, candidate
        chosen.append(best[1])
    return chosen


def patch_pair_image(image, position, corner, jitters, *, side, gap):
    """The middle patch on the left and its neighbour on the right, both twice as large, on an empty image.

    ``corner`` is the upper left pixel of the 3x3 block, ``jitters`` shift the middle patch and the neighbour.
    """
    height, width = image.shape[1:]
    step = side + gap
    canvas = torch.zeros_like(image)
    scale = min(height, width // 2) // side
    for half, (down, right) in enumerate([(0, 0), NEIGHBOURS[position]]):
        row = corner[0] + (1 + down) * step + jitters[half][0]
        column = corner[1] + (1 + right) * step + jitters[half][1]
        patch = image[:, row : row + side, column : column + side]
        patch = patch.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        top = (height - scale * side) // 2
        left = half * (width // 2) + (width // 2 - scale * side) // 2
        canvas[:, top : top + scale * side, left : left + scale * side] = patch
    return canvas


def hole_image(image, row, column, side, cells):
    """The image with an empty square, and the means of the square's cells, channel by channel, row by row."""
    hidden = image[:, row : row + side, column : column + side]
    changed = image.clone()
    changed[:, row : row + side, column : column + side] = 0
    size = side // cells
    means = [
        hidden[channel, size * down : size * (down + 1), size * right : size * (right + 1)].mean()
        for channel in range(len(image))
        for down in range(cells)
        for right in range(cells)
    ]
    return changed, torch.stack(means)
