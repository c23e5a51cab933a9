"""Clusters of an encoder's maps: which map, which network, and how labels come to the size of images."""

import pytest
import torch
from torch.nn import functional

from auxo.errors import OptionError
from auxo.pretexts.labellers._directions import Directions, choose_nearest, enlarge_similarities
from auxo.pretexts.labellers.encoder import Encoder, _choose_layer


def test_labels__of_the_methods_own_backbone__follow_from_its_weights(make_stage):
    stage = make_stage()
    before = stage.make(Encoder.Config())
    with torch.no_grad():
        stage.method.backbone.convolution.weight.mul_(torch.linspace(-2, 2, 16).view(16, 1, 1, 1))
    assert not torch.equal(before, stage.make(Encoder.Config()))


def test_labels__of_a_source__follow_from_that_network(stage):
    own, one, other = (stage.make(Encoder.Config(source=source)) for source in ("", "a", "bb"))
    assert not torch.equal(own, one)
    assert not torch.equal(one, other)


def test_source__a_folder__is_the_same_from_every_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    assert Encoder.Config(source="run").source == str(tmp_path / "run")
    assert Encoder.Config(source="timm:resnet18").source == "timm:resnet18"


@pytest.mark.parametrize(("size", "layer", "expected"), [(24, "", "stage3"), (24, "stage2", "stage2")])
def test_layer__by_default__is_the_coarsest_that_is_fine_enough(stage, size, layer, expected):
    network = stage.method.backbone  # maps of 1, 1/2 and 1/4 of the image
    assert _choose_layer(network, torch.zeros(1, 3, size, size), (size, size), layer) == expected
    assert _choose_layer(network, torch.zeros(1, 3, size, size), (4 * size, 4 * size), layer) == "stage2"


def test_layer__where_no_map_is_fine_enough__is_the_finest(stage):
    assert _choose_layer(stage.method.backbone, torch.zeros(1, 3, 8, 8), (200, 200), "") == "stage1"


def test_layer__that_is_not_there__is_refused_by_name(stage):
    with pytest.raises(OptionError, match=r"stage1, stage2, stage3.*'layer9'"):
        stage.make(Encoder.Config(layer="layer9"))


def test_compare__with_components_that_keep_all__are_the_cosines_of_the_maps():
    generator = torch.Generator().manual_seed(0)
    maps, centroids = torch.randn(2, 6, 3, 4, generator=generator), torch.randn(5, 6, generator=generator)
    centroids = functional.normalize(centroids)
    expected = functional.cosine_similarity(maps[:, None], centroids[None, :, :, None, None], dim=2)
    torch.testing.assert_close(Directions(centroids).compare(maps), expected)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=generator)).Q
    turned = Directions(centroids @ turn.T, turn)
    torch.testing.assert_close(turned.compare(maps), expected)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(turned.compare(maps), expected)


def test_enlarge_similarities__over_the_middle_of_an_image__go_on_at_the_rim():
    similarities = torch.tensor([[[[0.0, 1.0]]]])
    found = enlarge_similarities(similarities, (2, 8), covered=(1, 4))
    torch.testing.assert_close(found[0, 0, 0], torch.tensor([0, 0, 0, 0.25, 0.75, 1, 1, 1]))
    torch.testing.assert_close(found[0, 0, 1], found[0, 0, 0])


def test_choose_nearest__similarities_within_the_margin__have_no_label():
    similarities = torch.tensor([[0.9, 0.5], [0.1, 0.45], [0.2, 0.1]]).view(1, 3, 1, 2)
    assert choose_nearest(similarities, margin=0.0).flatten().tolist() == [0, 0]
    assert choose_nearest(similarities, margin=0.1).flatten().tolist() == [0, -1]
