"""Small class folders of images."""

import pytest
from PIL import Image

from auxo.data.fake import oriented_shapes


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder ``photos`` with the sets ``train`` and ``elsewhere``, and a CSV of the first."""
    root = tmp_path_factory.mktemp("place") / "photos"
    lines = ["file,class"]
    for name, count, seed in (("train", 80, 0), ("elsewhere", 60, 1)):
        source = oriented_shapes(count, size=28, seed=seed)
        values, names = source.columns["label"]
        for number, (image, label) in enumerate(zip(source.images, values.tolist(), strict=True)):
            path = root / name / names[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
            lines += [f"{path.relative_to(root)},{names[label]}"] if name == "train" else []
    (root / "list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root
