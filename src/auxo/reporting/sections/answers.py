"""Images beside their right and their given answers, where answers are images."""

from collections.abc import Sequence

import numpy as np

from auxo.evaluation import title_measure
from auxo.explain import ShownAnswer, lay_over
from auxo.reporting.blocks import AnsweredImage, AnsweredImages, Block, Numbers, Section, SectionPart
from auxo.reporting.images import heat_uri, image_uri
from auxo.reporting.judgement import Judgement, Omission, ShownSet
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.words import counted, percent

_SIDE = 160  # pixels of an image
_HEADS = ("image", "right", "answer", "doubt")
_TITLES = {
    "worst": "Answered worst",
    "middle": "In the middle: as many are answered worse as better",
    "best": "Answered best",
}


def answers_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Section | None:
    """Return images of each run beside their answers; nothing where no task has answers that are images.

    Args:
        runs: at least one.
        judgements: one per run.
    """
    parts = []
    for run, judgement in zip(runs, judgements, strict=True):
        title, shown = run.name if len(runs) > 1 else "", judgement.shown
        if isinstance(shown, Omission):
            parts.append(SectionPart(title, [f"Left out: {shown.reason}."]))
        elif shown is not None:
            parts.append(SectionPart(title, [_describe_shown(shown)], _show_images(shown)))
    return Section("answers", "Images and answers", parts) if parts else None


def _describe_shown(shown: ShownSet) -> str:
    """Return which images are shown, and what of them."""
    worst, best = (choose(shown.answers, key=lambda each: each.value) for choose in (min, max))
    text = (
        f"{counted(len(shown.answers), 'image')} of the {shown.n:,} of {shown.split}, by the "
        f"{title_measure(shown.measure)} of each alone: from {worst.said} to {best.said}."
    )
    if worst.doubt is None:
        return text
    return f"{text} Doubt is the entropy of the probabilities, yellow where it is that of guessing."


def _show_images(shown: ShownSet) -> list[Block]:
    """Return the images of each kind, and their numbers as a table."""
    swatches = [(name, f"#{bytes(colour).hex()}") for name, colour in shown.legend.items()]
    blocks: list[Block] = []
    for kind in dict.fromkeys(each.kind for each in shown.answers):
        own = [_make_image(each) for each in shown.answers if each.kind == kind]
        blocks.append(AnsweredImages(_TITLES[kind], _HEADS, own, () if blocks else swatches))
    names = list(dict.fromkeys(name for each in shown.answers for name in each.parts))
    lines = [
        (
            each.image,
            each.kind,
            each.said,
            *(percent(each.parts[name]) if name in each.parts else "-" for name in names),
        )
        for each in shown.answers
    ]
    columns = ["image", "shown as", title_measure(shown.measure), *names]
    return [*blocks, Numbers("The images by class", columns, lines)]


def _make_image(shown: ShownAnswer) -> AnsweredImage:
    """Return an image with its answers."""
    truth, answer = (np.moveaxis(each, -1, 0) for each in lay_over(shown))
    addresses = [image_uri(each, side=_SIDE) for each in (shown.pixels, truth, answer)]
    texts = [shown.image, "its right answer over it", f"the given answer over it, {shown.said}"]
    if shown.doubt is not None:
        addresses.append(heat_uri(shown.doubt, side=_SIDE))
        texts.append("where the network is in doubt")
    return AnsweredImage(addresses, texts, f"{shown.said}: {shown.image}")
