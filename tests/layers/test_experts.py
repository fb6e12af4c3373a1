"""Experts: their noise, balance and place against the equations."""

import torch
import torch.nn.functional as F

from fer_core.layers.experts import ExpertBlock, Experts
from fer_core.losses.load_balance import load_balance


def mixture(**settings):
    torch.manual_seed(0)
    experts = Experts(12, 4, **settings)
    for layer in (experts.up, experts.router, experts.noise, experts.listen):
        torch.nn.init.normal_(layer.weight)
    return experts, torch.randn(5, 7, 12), 3 * torch.randn(5, 12), torch.rand(5, 4)


def test_noise_and_balance_equal_their_equations(monkeypatch):
    experts, tokens, token, reading = mixture(dropout=0.0)
    monkeypatch.setattr(torch, "randn_like", torch.ones_like)
    experts.train()(tokens, token, reading)
    normed = F.layer_norm(token, (12,))
    clean = normed @ experts.router.weight.T + reading @ experts.listen.weight.T
    noisy = clean + F.softplus(normed @ experts.noise.weight.T)
    best, chosen = noisy.topk(2, dim=1)
    assert not torch.equal(chosen, clean.topk(2, dim=1).indices)
    expected = torch.zeros(5, 4).scatter(1, chosen, best.softmax(1))
    torch.testing.assert_close(experts.gates, expected)
    torch.testing.assert_close(experts.balance, load_balance(expected > 0, clean.softmax(1)))


def test_experts_drop_in_training_alone():
    experts, tokens, token, reading = mixture(count=1, top=1, dropout=0.5)
    experts.eval()
    assert torch.equal(experts(tokens, token, reading), experts(tokens, token, reading))
    experts.train()  # a lone expert's gate is 1, whatever the noise
    assert not torch.equal(experts(tokens, token, reading), experts(tokens, token, reading))


def test_experts_before_a_block_change_its_patches_alone():
    experts, x, *_ = mixture()
    experts.eval()
    x = 1 + 3 * x
    told = lambda token: token[:, :4].softmax(-1)  # noqa: E731
    found = ExpertBlock(experts, told, before=True).before(x, None)
    patches, mean = x[:, 1:], x[:, 1:].mean(1)
    assert torch.equal(found[:, :1], x[:, :1])
    torch.testing.assert_close(found[:, 1:], patches + experts(F.layer_norm(patches, (12,)), mean, told(mean)))
