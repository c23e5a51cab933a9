"""Joint data-task generation written out with plain torch, from the formulas of the page: no line of auxo's."""

import torch
import torch.nn.functional as F


def perceptron(weights, prefix, values):
    """Linear, layer normalisation, ReLU, linear; the layer normalisation by hand."""
    hidden = values @ weights[f"{prefix}.0.weight"].T + weights[f"{prefix}.0.bias"]
    centred = hidden - hidden.mean(1, keepdim=True)
    normal = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    scaled = normal * weights[f"{prefix}.1.weight"] + weights[f"{prefix}.1.bias"]
    return scaled.clamp_min(0) @ weights[f"{prefix}.3.weight"].T + weights[f"{prefix}.3.bias"]


def make_items(weights, features, labels, partners, *, num_classes, made="both", sub_classes=0, detach=False):
    """Features and soft labels of generated items, one for each image.

    Args:
        weights: of the generator by name.
        detach: cut the features' graph, which is the mistake.
    """
    one_hot = F.one_hot(labels, num_classes).to(features)
    z_i, z_j = features, features[partners]
    if detach:
        z_i, z_j = z_i.detach(), z_j.detach()
    y_i, y_j = one_hot, one_hot[partners]
    v_i, v_j = (y @ weights["embedding.weight"].T for y in (y_i, y_j))

    def whole(a, b):
        return torch.cat([a, b, v_i, v_j], 1)

    share = torch.ones(len(labels), 1, dtype=features.dtype)
    new = z_i
    if made != "labels":
        m = 1 / (1 + torch.exp(-perceptron(weights, "gate", whole(z_i, z_j))))
        step = perceptron(weights, "residual", torch.cat([z_i, z_j], 1))
        new = m * z_i + (1 - m) * z_j + weights["strength"] * step
        cut = perceptron(weights, "gate", whole(z_i.detach(), z_j.detach()))
        share = (1 / (1 + torch.exp(-cut))).mean(1, keepdim=True)
    mixed = share * y_i + (1 - share) * y_j
    if made == "features":
        return new, mixed
    logits = perceptron(weights, "labels", whole(z_i.detach(), z_j.detach()))
    if sub_classes:
        owners = [c for c in range(num_classes) for _ in range(sub_classes)]
        prior = torch.stack([mixed[:, c] for c in owners], 1)
        allowed = torch.stack([(labels == c) | (labels[partners] == c) for c in owners], 1)
    else:
        prior, allowed = mixed, torch.ones_like(mixed, dtype=torch.bool)
    unnormalised = allowed * logits.exp() * (0.99 * prior + 0.01 / prior.shape[1])
    return new, unnormalised / unnormalised.sum(1, keepdim=True)


def cross_entropy(logits, targets):
    """Mean cross-entropy with soft targets."""
    return -(targets * (logits - torch.logsumexp(logits, 1, keepdim=True))).sum(1).mean()


def instance_terms(new, targets, features, *, anchor_range=(0.1, 1.0)):
    """The three terms of the regularisation: discriminate, label information (with its sign) and anchor."""
    fixed = features.detach()
    cosines = (new / new.norm(dim=1, keepdim=True)) @ (fixed / fixed.norm(dim=1, keepdim=True)).T
    discriminate = -torch.log_softmax(cosines / 0.1, 1).diagonal().mean()
    mean = targets.mean(0)
    each = -(targets * targets.clamp_min(1e-300).log()).sum(1).mean()
    information = -(mean * mean.clamp_min(1e-300).log()).sum() - each
    distance = (new - fixed).norm(dim=1) / fixed.norm(dim=1)
    low, high = anchor_range
    anchor = ((distance - high).clamp_min(0) + (low - distance).clamp_min(0)).mean()
    return discriminate, -information, anchor


def implicit_gradient(lower, upper, theta, phi, *, scale, products):
    """``-p' d2 lower / d theta d phi`` with ``p = scale * sum_k (I - scale H)^k g``, ``k = 0..products``."""
    g = torch.autograd.grad(upper, theta, allow_unused=True)
    vector = [torch.zeros_like(t) if s is None else s.detach() for t, s in zip(theta, g, strict=True)]
    slopes = torch.autograd.grad(lower, theta, create_graph=True)
    series = [v.clone() for v in vector]
    for _ in range(products):
        inner = sum((s * v).sum() for s, v in zip(slopes, vector, strict=True))
        product = torch.autograd.grad(inner, theta, retain_graph=True, allow_unused=True)
        vector = [v if h is None else v - scale * h for v, h in zip(vector, product, strict=True)]
        series = [p + v for p, v in zip(series, vector, strict=True)]
    inner = sum((s * (scale * p)).sum() for s, p in zip(slopes, series, strict=True))
    found = torch.autograd.grad(inner, phi, allow_unused=True)
    return [torch.zeros_like(f) if d is None else -d for f, d in zip(phi, found, strict=True)]


def mixup_loss(features, labels, partners, share, weight, bias, *, num_classes):
    """Manifold mixup at the features, with a linear head: the two cross-entropies, weighted by the share."""
    logits = (share * features + (1 - share) * features[partners]) @ weight.T + bias
    log_prob = logits - torch.logsumexp(logits, 1, keepdim=True)
    rows = torch.arange(len(labels))
    assert log_prob.shape[1] == num_classes
    return -(share * log_prob[rows, labels] + (1 - share) * log_prob[rows, labels[partners]]).mean()
