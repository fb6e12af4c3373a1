"""Every method on a device of its own: nothing of it may stay behind on the CPU."""

import copy

import pytest
import tiny
import torch
from pretended import Elsewhere, pretended

from fer_core import models


@pytest.mark.parametrize(
    "ask",
    [
        lambda here, there, device: here + there,
        lambda here, there, device: here @ there.T,
        lambda here, there, device: torch.cat([here, there]),
        lambda here, there, device: there.add_(here),
        lambda here, there, device: here[there.argmax(0)],
        lambda here, there, device: torch.nn.functional.cross_entropy(there, torch.zeros(3, dtype=torch.long)),
        lambda here, there, device: torch.nn.Linear(2, 2)(there),
        lambda here, there, device: torch.randn(3, device=device, generator=torch.Generator()),
        lambda here, there, device: there.numpy(),
    ],
)
def test_the_pretended_device_refuses_what_a_gpu_refuses(ask):
    with pretended() as device, pytest.raises((RuntimeError, TypeError), match=r"two devices|of the CPU|numpy"):
        ask(torch.ones(3, 2), torch.ones(3, 2, device=device), device)


def test_the_pretended_device_computes():
    drawn = torch.rand(3, 4)
    with pretended() as device:
        there = drawn.to(device)
        there[:, 1] *= 2
        told = (there[[2, 0]].sum() + torch.tensor([1.0, 2.0], device=device).sum() * 0.5).item()
        assert there.device == device
        assert there.cpu().numpy().shape == (3, 4)
    changed = drawn * torch.tensor([1.0, 2.0, 1.0, 1.0])
    assert told == pytest.approx(changed[[2, 0]].sum().item() + 1.5)


@pytest.mark.parametrize("name", models.names())
def test_a_step_elsewhere_is_a_step_on_the_cpu(name, tiny_clip, classes, make_batch):
    method = models.build(name, tiny_clip, classes, tiny.SETTINGS.get(name)).train()
    batch, moved = make_batch(), copy.deepcopy(method)
    expected = step(method, batch)
    with pretended() as device:
        found = step(moved.to(device), make_batch().to(device))
    assert found.keys() == expected.keys()
    for part, value in expected.items():
        assert isinstance(found[part], Elsewhere), f"{part} stayed on the CPU"
        torch.testing.assert_close(found[part].inner, value, rtol=1e-4, atol=1e-5, msg=f"{part} is another")


@pytest.mark.parametrize("name", models.names())
def test_a_clip_elsewhere_is_a_clip_on_the_cpu(name, tiny_clip, classes, make_batch):
    method = models.build(name, tiny_clip, classes, tiny.SETTINGS.get(name)).eval()
    with torch.no_grad():
        expected = method(make_batch(2, frames=3)).logits
        with pretended() as device:
            found = method.to(device)(make_batch(2, frames=3).to(device)).logits
    torch.testing.assert_close(found.inner, expected, rtol=1e-4, atol=1e-5)


def step(method, batch):
    """Logits, losses, gradients and weights of one step."""
    torch.manual_seed(0)  # of dropout and of the router's noise
    method.prepare([batch])
    output = method(batch)
    losses = method.losses(batch, output)
    found = {"logits": output.logits.detach(), "features": output.features.detach()}
    found |= {f"loss {name}": value.detach() for name, value in losses.items()}
    if losses["loss"].requires_grad:
        losses["loss"].backward()
        torch.optim.SGD(method.parameter_groups(lr=0.01, weight_decay=0.1)).step()
    for name, value in method.named_parameters():
        if value.requires_grad:
            found |= {f"gradient {name}": value.grad, name: value.detach()}
    return found | {f"buffer {name}": value for name, value in method.named_buffers()}
