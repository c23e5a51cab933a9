import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from auxo.data.config import DataConfig
from auxo.data.fake import oriented_shapes
from auxo.data.loader import Loader, in_memory, ordered_batches
from auxo.data.orders import Balanced, Shuffled, Stratified
from auxo.data.readers import read_streaming
from auxo.data.sources import InMemorySource
from auxo.data.streaming import StreamingSource
from auxo.errors import ConfigError, DataError
from auxo.files.signals import STOPPING
from auxo.interfaces import AbstractOrder
from auxo.random import named_generator
from auxo.types import Batch, Column

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 and later, with workers


@pytest.fixture
def streaming(tmp_path: Path, shapes: InMemorySource, write_parquet: Callable[..., Path]) -> StreamingSource:
    return read_streaming(str(write_parquet(shapes, tmp_path / "set.parquet")), DataConfig())


@pytest.fixture
def streaming_files(tmp_path: Path, shapes: InMemorySource, write_folder: Callable[..., Path]) -> StreamingSource:
    return read_streaming(str(write_folder(shapes, tmp_path / "photos")), DataConfig())


def error_of(loader: Loader) -> str:
    """The data error met in an epoch; no traceback outlives this call, so the workers stop."""
    try:
        list(loader.batches(range(loader.steps_per_epoch)))
    except DataError as error:
        return str(error)
    return pytest.fail("no error")


def assert_equal(ours: list[Batch], theirs: list[Batch]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.indices, b.indices)
        assert (a.first, a.total, a.num_processes) == (b.first, b.total, b.num_processes)


def test_loader__one_epoch__holds_every_image_once(shapes: InMemorySource) -> None:
    loader = Loader(shapes, batch_size=12, seed=0)
    batches = list(loader.batches(range(loader.steps_per_epoch)))
    assert [len(batch) for batch in batches] == [12, 12, 12, 4]
    indices = torch.cat([batch.indices for batch in batches])
    assert torch.equal(indices.sort().values, torch.arange(40))
    assert not torch.equal(indices, torch.arange(40))
    for batch in batches:
        assert torch.equal(batch.images, shapes.images[batch.indices])
        assert torch.equal(batch.labels, shapes.columns["label"].values[batch.indices])
        assert (batch.first, batch.joined_size, batch.num_processes) == (0, len(batch), 1)


def test_loader__epochs_and_seeds__differ_in_order(shapes: InMemorySource) -> None:
    loader = Loader(shapes, batch_size=40, seed=0)
    first, second = (batch.indices for batch in loader.batches(range(2)))
    other = next(Loader(shapes, batch_size=40, seed=1).batches(range(1))).indices
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_loader__drop_last__leaves_the_short_batch_out(shapes: InMemorySource) -> None:
    loader = Loader(shapes, batch_size=12, seed=0, drop_last=True)
    assert loader.steps_per_epoch == 3
    assert [len(batch) for batch in loader.batches(range(7))] == [12] * 7


@pytest.mark.parametrize("start", [0, 1, 3, 4, 6, 11])
def test_loader__resumed_at_a_step__continues_as_if_never_stopped(shapes: InMemorySource, start: int) -> None:
    whole = list(Loader(shapes, batch_size=12, seed=5).batches(range(12)))
    assert_equal(list(Loader(shapes, batch_size=12, seed=5).batches(range(start, 12))), whole[start:])


@pytest.mark.parametrize("num_processes", [2, 3, 4])
def test_loader__several_processes__share_each_batch_in_contiguous_parts(
    shapes: InMemorySource, num_processes: int
) -> None:
    whole = list(Loader(shapes, batch_size=14, seed=2).batches(range(6)))
    shares = [
        list(Loader(shapes, batch_size=14, seed=2, rank=rank, num_processes=num_processes).batches(range(6)))
        for rank in range(num_processes)
    ]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        assert [part.first for part in parts] == [sum(sizes[:rank]) for rank in range(num_processes)]
        assert {(part.joined_size, part.num_processes) for part in parts} == {(len(batch), num_processes)}


@pytest.mark.parametrize("workers", [0, 2])
def test_loader__streaming__gives_the_batches_of_memory(
    shapes: InMemorySource, streaming: StreamingSource, workers: int
) -> None:
    memory = Loader(shapes, batch_size=12, seed=3, rank=1, num_processes=2)
    loader = Loader(streaming, batch_size=12, seed=3, rank=1, num_processes=2, workers=workers)
    assert_equal(list(loader.batches(range(1, 9))), list(memory.batches(range(1, 9))))
    half = loader.batches(range(8))
    next(half)
    half.close()
    assert_equal(list(loader.batches(range(2, 5))), list(memory.batches(range(2, 5))))
    ours = ordered_batches(streaming, batch_size=7, rank=1, num_processes=2, workers=workers)
    assert_equal(list(ours), list(ordered_batches(shapes, batch_size=7, rank=1, num_processes=2)))


@pytest.mark.parametrize("workers", [0, 2])
def test_in_memory__of_files__gives_the_same_batches(streaming_files: StreamingSource, workers: int) -> None:
    memory = Loader(in_memory(streaming_files, workers=workers), batch_size=16, seed=0)
    assert_equal(list(Loader(streaming_files, batch_size=16, seed=0).batches(range(3))), list(memory.batches(range(3))))
    assert memory.source.content_hashes() == streaming_files.content_hashes()


@pytest.mark.parametrize("workers", [0, 2])
def test_loader__damaged_image__is_the_data_error_it_was(
    tmp_path: Path, streaming_files: StreamingSource, workers: int
) -> None:
    Path(streaming_files.describe(20)).write_bytes(b"no image")
    message = error_of(Loader(streaming_files, batch_size=8, seed=0, workers=workers))
    assert streaming_files.describe(20) in message
    assert "\n" not in message


class Killing(StreamingSource):
    """A source whose worker dies as one without memory does."""

    def fetch(self, indices: torch.Tensor) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().fetch(indices)


def test_loader__killed_worker__is_a_data_error(streaming_files: StreamingSource) -> None:
    source = Killing("x", streaming_files.encoded, streaming_files.columns)
    message = error_of(Loader(source, batch_size=8, seed=0, workers=1))
    assert "data-loading workers that stay alive" in message
    assert "--data.workers 0" in message


@pytest.mark.parametrize("workers", [0, 1])
def test_loader__batches__leave_the_global_generator_alone(streaming: StreamingSource, workers: int) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(Loader(streaming, batch_size=8, seed=0, workers=workers).batches(range(2)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (40, {"batch_size": 3, "num_processes": 4}, "at least 4 images, one per process, got a batch of 3"),
        (40, {"batch_size": 0}, "at least 1 images, one per process, got a batch of 0"),
        (10, {"batch_size": 16, "drop_last": True}, "at least 16 images, one batch, got 10 in 'oriented-shapes'"),
        (41, {"batch_size": 8, "num_processes": 2}, r"epoch's last batch, one per process, got 1 \(41 images"),
    ],
)
def test_loader__batches_that_cannot_be_shared__are_refused(count: int, options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Loader(oriented_shapes(count, size=8, seed=0), seed=0, **options)


def test_loader__drop_last__allows_a_rest_smaller_than_the_processes() -> None:
    loader = Loader(oriented_shapes(41, size=8, seed=0), batch_size=8, seed=0, num_processes=2, drop_last=True)
    assert loader.steps_per_epoch == 5


@pytest.mark.parametrize("num_processes", [1, 3, 64])
def test_ordered_batches__any_number_of_processes__covers_all_in_order(
    shapes: InMemorySource, num_processes: int
) -> None:
    shares = [
        list(ordered_batches(shapes, batch_size=6, rank=rank, num_processes=num_processes))
        for rank in range(num_processes)
    ]
    indices = torch.cat([batch.indices for share in shares for batch in share])
    assert torch.equal(indices, torch.arange(40))
    images = torch.cat([batch.images for share in shares for batch in share])
    assert torch.equal(images, shapes.images)
    assert all(len(batch) <= 6 and batch.num_processes == 1 for share in shares for batch in share)
    if num_processes == 64:
        assert [len(share) for share in shares] == [1] * 40 + [0] * 24


BACKGROUNDS = Column(torch.tensor([0] * 30 + [1] * 10), ("land", "water"))
ORDERS = [Shuffled(), Stratified(), Stratified("background"), Balanced(), Balanced(("label", "background"))]


@pytest.fixture
def grouped(shapes: InMemorySource) -> InMemorySource:
    return shapes.with_columns({**shapes.columns, "background": BACKGROUNDS})


class Counting(InMemorySource):
    """A source that notes how many images it is asked for."""

    fetched = 0

    def fetch(self, indices: torch.Tensor) -> torch.Tensor:
        self.fetched += len(indices)
        return super().fetch(indices)


def test_loader__without_an_order__has_the_numbers_of_the_stream_called_order(shapes: InMemorySource) -> None:
    batches = [batch.indices for batch in Loader(shapes, batch_size=40, seed=3).batches(range(3))]
    expected = [torch.randperm(40, generator=named_generator(3, "order", number)) for number in range(3)]
    assert torch.equal(torch.stack(batches), torch.stack(expected))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("images", [True, False])
def test_loader__any_order__has_the_same_joined_batches_in_one_process_and_in_two(
    grouped: InMemorySource, order: AbstractOrder, images: bool
) -> None:
    options = {"batch_size": 14, "seed": 2, "order": order, "images": images}
    whole = list(Loader(grouped, **options).batches(range(9)))
    shares = [list(Loader(grouped, **options, rank=rank, num_processes=2).batches(range(9))) for rank in range(2)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([part.indices for part in parts]), batch.indices)
        assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
        for name, values in batch.targets.items():
            assert torch.equal(torch.cat([part.targets[name] for part in parts]), values)
        assert [part.first for part in parts] == [0, len(parts[0])]
    resumed = list(Loader(grouped, **options).batches(range(5, 9)))
    assert_equal(resumed, whole[5:])


def test_loader__order_of_its_own_length__decides_the_steps_of_an_epoch(shapes: InMemorySource) -> None:
    loader = Loader(shapes, batch_size=4, seed=0, order=Ends(6))
    assert loader.steps_per_epoch == 2
    assert [batch.indices.tolist() for batch in loader.batches(range(3))] == [[0, 1, 2, 3], [4, 5], [0, 1, 2, 3]]


def test_loader__without_images__fetches_nothing_and_tells_the_rest(shapes: InMemorySource) -> None:
    source = Counting("counting", shapes.images, columns={**shapes.columns, "background": BACKGROUNDS})
    with_images = list(Loader(source, batch_size=12, seed=1).batches(range(5)))
    assert source.fetched == 12 * 3 + 4 + 12
    bare = list(Loader(source, batch_size=12, seed=1, images=False, workers=2).batches(range(5)))
    assert source.fetched == 12 * 3 + 4 + 12
    for ours, theirs in zip(bare, with_images, strict=True):
        assert (ours.images.shape, ours.images.dtype) == ((len(theirs), 0, 0, 0), torch.uint8)
        assert torch.equal(ours.indices, theirs.indices)
        assert torch.equal(ours.targets["background"], BACKGROUNDS.values[theirs.indices])
        assert (len(ours), ours.joined_size) == (len(theirs), len(theirs))


def test_loader__without_images__decodes_no_file(streaming_files: StreamingSource) -> None:
    Path(streaming_files.describe(20)).write_bytes(b"no image")
    loader = Loader(streaming_files, batch_size=8, seed=0, images=False)
    assert sum(len(batch) for batch in loader.batches(range(5))) == 40


def test_loader__hidden_targets__have_their_value_and_others_stay(grouped: InMemorySource) -> None:
    for batch in Loader(grouped, batch_size=8, seed=0, hidden={"label": -1, "mask": 255}).batches(range(2)):
        assert batch.targets.keys() == {"label", "background"}
        assert (batch.labels == -1).all()
        assert torch.equal(batch.targets["background"], BACKGROUNDS.values[batch.indices])


@dataclass(frozen=True)
class Ends(AbstractOrder):
    """The first images only, or, where so many are not there, what is wrong."""

    size: int
    promised: int | None = None

    def length(self, targets: object, *, count: int) -> int:
        return self.size if self.promised is None else self.promised

    def positions(self, targets: object, *, count: int, seed: int, number: int) -> torch.Tensor:
        return torch.arange(self.size)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Ends(41), r"41 int64 positions in 0..39 from the order Ends, got torch.int64 of shape \(41,\) in 0..40"),
        (Ends(6, promised=8), r"8 int64 positions in 0..39 from the order Ends, got torch.int64 of shape \(6,\)"),
        (Ends(0), "at least 4 images, one batch, got 0 in 'oriented-shapes'"),
        (Balanced(("colour",)), "a known column to order images by, got 'colour' where there are background: name"),
        (Stratified("label"), "a known column to order images by, got 'label' where there are background: name"),
    ],
)
def test_loader__order_that_does_not_suit_the_source__is_refused_in_one_line(
    grouped: InMemorySource, order: AbstractOrder, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        list(Loader(grouped, batch_size=4, seed=0, order=order, hidden={"label": -1}).batches(range(1)))
    assert "\n" not in str(caught.value)


def test_loader__column_hidden_in_the_source__orders_nothing(grouped: InMemorySource) -> None:
    hidden = grouped.without_targets(["label"], "bare")
    with pytest.raises(ConfigError, match="got 'label' where there are background"):
        Loader(hidden, batch_size=4, seed=0, order=Balanced())


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Only what nothing refers to any more is freed; reference cycles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("is_damaged", [False, True])
def test_loader__dropped_with_batches_under_way__stops_its_workers_at_once(
    streaming_files: StreamingSource, is_damaged: bool
) -> None:
    """A reference cycle with their queues in it would keep them until it is collected; torch waits for them then."""
    loader = Loader(streaming_files, batch_size=8, seed=0, workers=2)
    batches = loader.batches(range(50))
    others = multiprocessing.active_children()
    next(batches)
    workers = [process for process in multiprocessing.active_children() if process not in others]
    assert [worker.is_alive() for worker in workers] == [True, True]
    if is_damaged:
        Path(streaming_files.describe(20)).write_bytes(b"no image")
        with pytest.raises(DataError):
            list(batches)
    del batches, loader
    assert [worker.is_alive() for worker in workers] == [False, False]


def test_loader__signal_to_the_whole_group__workers_go_on_decoding(streaming_files: StreamingSource) -> None:
    loader = Loader(streaming_files, batch_size=8, seed=0, workers=2)
    expected = [batch.images for batch in Loader(streaming_files, batch_size=8, seed=0).batches(range(3))]
    numbers, others = iter(loader.batches(range(3))), psutil.Process().children()
    found = [next(numbers).images]
    workers = [process for process in psutil.Process().children() if process not in others]
    for worker in workers:
        for number in STOPPING:
            worker.send_signal(number)
    found += [batch.images for batch in numbers]
    assert len(workers) == 2
    assert all(map(torch.equal, found, expected))
