"""Images so few that a run of them is over in a moment."""

import pytest


@pytest.fixture(scope="session")
def small_images(tmp_path_factory, write_picture):
    """A folder of two classes with twelve images each."""
    from auxo.data.fake import oriented_shapes

    root = tmp_path_factory.mktemp("small")
    source = oriented_shapes(48, size=28, seed=0)
    names, labels = source.vocabulary["label"], source.columns["label"].values
    for number in range(48):
        if int(labels[number]) < 2:
            write_picture(root / names[int(labels[number])] / f"{number:03d}.png", source.images[number])
    return root
