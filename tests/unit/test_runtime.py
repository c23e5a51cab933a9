"""One process on the CPU: steps, gradients, devices."""

import pytest
import torch
from torch import nn

from auxo.errors import ConfigError, DeviceError
from auxo.runtime import Runtime, RuntimeConfig, naming_memory, open_runtime


@pytest.fixture
def runtime():
    return Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))


@pytest.fixture(autouse=True)
def _one_process(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))


def loss_of(module):
    return module(torch.linspace(-1, 1, 2 * 3 * 64).view(2, 3, 8, 8)).square().mean()


def test_step__sgd__is_what_backward_and_step_do(runtime):
    ours, theirs = network(), network()
    for module, step in ((ours, runtime.step), (theirs, None)):
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
        for _ in range(3):
            loss = loss_of(module)
            if step is not None:
                step(optimizer, loss)
                continue
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-7)


def test_step__parameter_that_the_loss_does_not_reach__keeps_no_gradient_and_its_value(runtime):
    module, idle = network(), nn.Parameter(torch.ones(2))
    idle.grad = torch.ones(2)
    optimizer = torch.optim.SGD([*module.parameters(), idle], lr=0.1, momentum=0.9, weight_decay=0.5)
    for _ in range(2):
        runtime.step(optimizer, loss_of(module))
    assert idle.grad is None
    assert torch.equal(idle, torch.ones(2))
    assert idle not in optimizer.state


def test_step_together__two_optimisers__moves_each_as_it_would_alone(runtime):
    ours, theirs = network(), network()
    halves = [[[*module[0].parameters()], [*module[1:].parameters()]] for module in (ours, theirs)]
    optimizers = [torch.optim.SGD(half, lr=lr) for half, lr in zip(halves[0], (0.1, 0.3), strict=True)]
    runtime.step_together(optimizers, loss_of(ours))
    gradients = torch.autograd.grad(loss_of(theirs), [*theirs.parameters()])
    rates = [0.1] * len(halves[1][0]) + [0.3] * len(halves[1][1])
    for mine, before, gradient, rate in zip(ours.parameters(), theirs.parameters(), gradients, rates, strict=True):
        torch.testing.assert_close(mine, before - rate * gradient)


def test_step__parameter_outside_the_optimiser__is_neither_moved_nor_given_a_gradient(runtime):
    module = network()
    before = module[0].weight.detach().clone()
    marker = torch.full_like(module[0].weight, 3.0)
    module[0].weight.grad = marker
    runtime.step(torch.optim.SGD(module[3].parameters(), lr=0.1), loss_of(module))
    assert module[0].weight.grad is marker
    assert module[0].bias.grad is None
    assert torch.equal(module[0].weight, before)
    assert module[3].weight.grad is not None


def test_step__weights_stored_channels_last__gradients_and_momentum_have_their_layout(runtime):
    module = network()
    runtime.prepare(module, networks=[module])
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    runtime.step(optimizer, loss_of(module))
    for parameter in module.parameters():
        assert parameter.grad.stride() == parameter.stride()
        assert optimizer.state[parameter]["momentum_buffer"].stride() == parameter.stride()


def test_prepare__compiled__compiles_every_network_and_nothing_else():
    class Layer(torch.nn.Linear):
        is_compiled = False

        def compile(self):  # torch's own warns of what torch itself does
            self.is_compiled = True

    runtime = Runtime(config=RuntimeConfig(device="cpu", compile=True), device=torch.device("cpu"))
    module = torch.nn.ModuleDict({name: Layer(2, 2) for name in ("first", "second", "head")})
    runtime.prepare(module, networks=[module["first"], module["second"]])
    assert [name for name, each in module.items() if each.is_compiled] == ["first", "second"]


@pytest.mark.parametrize("channels_last", [True, False])
def test_to_device__images__have_the_memory_format_of_the_run(channels_last):
    config = RuntimeConfig(device="cpu", channels_last=channels_last)
    runtime = Runtime(config=config, device=torch.device("cpu"))
    images = torch.zeros(2, 3, 4, 5, dtype=torch.uint8)
    moved = runtime.to_device(images)
    assert moved.is_contiguous(memory_format=torch.channels_last) == channels_last
    assert torch.equal(moved, images)


def test_mean__one_process__gives_everything_back(runtime):
    tensors = [torch.ones(2), None, torch.tensor(3.0, dtype=torch.float64)]
    means = runtime.mean(tensors)
    assert [mean is tensor for mean, tensor in zip(means, tensors, strict=True)] == [True] * 3
    assert runtime.mean(iter([])) == []


def test_any_barrier_main_first__one_process__do_not_wait(runtime):
    assert runtime.any(True)
    assert not runtime.any(False)
    runtime.barrier()
    with runtime.main_first():
        pass
    assert runtime.is_main
    assert not Runtime(config=runtime.config, device=runtime.device, rank=1, num_processes=2).is_main


def test_open_runtime__auto__is_a_device_that_works():
    with open_runtime(RuntimeConfig()) as runtime:
        assert torch.ones(2, device=runtime.device).sum().item() == 2
        assert (runtime.rank, runtime.num_processes) == (0, 1)


def test_open_runtime__threads__are_set():
    before = torch.get_num_threads()
    with open_runtime(RuntimeConfig(device="cpu", threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)
    with open_runtime(RuntimeConfig(device="cpu")):
        assert torch.get_num_threads() == before


@pytest.mark.parametrize(("precision", "dtype"), [("auto", None), ("float32", None), ("bf16", torch.bfloat16)])
def test_autocast__on_the_cpu__is_what_was_asked_for(precision, dtype):
    with open_runtime(RuntimeConfig(device="cpu", precision=precision)) as runtime:
        assert runtime.autocast_dtype == dtype
        with runtime.autocast():
            assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == (dtype or torch.float32)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", r"a device such as auto, cpu, cuda, cuda:1 or mps, got 'gpu'"),
        ("", r"a device such as auto"),
        ("meta", r"a device of type cpu, cuda or mps, got 'meta'"),
        ("cuda:99", r"CUDA device 99, got \d+ CUDA devices: pass --device cpu"),
    ],
)
def test_open_runtime__device_that_is_not_there__is_refused(device, message):
    with pytest.raises(DeviceError, match=message), open_runtime(RuntimeConfig(device=device)):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_open_runtime__cuda_without_a_device__says_so():
    with (
        pytest.raises(DeviceError, match="CUDA device 0, got 0 CUDA devices"),
        open_runtime(RuntimeConfig(device="cuda")),
    ):
        pass


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an MPS device")
def test_open_runtime__mps_without_a_device__says_so():
    with pytest.raises(DeviceError, match="an MPS device, got none"), open_runtime(RuntimeConfig(device="mps")):
        pass


def test_open_runtime__error_inside__passes_through():
    with pytest.raises(RuntimeError, match="inside"), open_runtime(RuntimeConfig(device="cpu")):
        raise RuntimeError("inside")


def test_config__negative_threads__are_refused():
    with pytest.raises(ConfigError, match=r"threads in \[0, 1024\], got -1"):
        RuntimeConfig(threads=-1)


def test_config__a_million_threads__are_refused():
    with pytest.raises(ConfigError, match=r"threads in \[0, 1024\], got 1000000"):
        RuntimeConfig(threads=1_000_000)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RANK", "x", r"a whole number in the environment variable RANK, got 'x': unset it"),
        ("WORLD_SIZE", "", r"environment variable WORLD_SIZE, got ''"),
        ("WORLD_SIZE", "-1", r"environment variable WORLD_SIZE, got '-1'"),
        ("WORLD_SIZE", "9" * 5000, r"environment variable WORLD_SIZE, got '9+'"),
        ("LOCAL_RANK", "1.5", r"environment variable LOCAL_RANK, got '1\.5'"),
        ("RANK", "²", r"environment variable RANK"),
        ("RANK", "3", r"RANK below WORLD_SIZE in the environment, got 3 of 1"),
        ("WORLD_SIZE", "0", r"RANK below WORLD_SIZE in the environment, got 0 of 0"),
    ],
)
def test_open_runtime__environment_of_nonsense__is_refused(monkeypatch, name, value, says):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=says), open_runtime(RuntimeConfig(device="cpu")):
        pass


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_naming_memory__none_left__says_what_it_was_for(error):
    with (
        pytest.raises(DeviceError, match=r"memory for a step, got .+: use less"),
        naming_memory("a step", fix="use less"),
    ):
        raise error


def test_naming_memory__a_real_allocation_too_large__says_what_it_was_for():
    with pytest.raises(DeviceError, match="memory for this"), naming_memory("this", fix="use less"):
        torch.empty(2**60, dtype=torch.uint8)


def test_naming_memory__another_error__passes():
    with pytest.raises(RuntimeError, match="other"), naming_memory("a step", fix=""):
        raise RuntimeError("other")
