"""Contrast of pixels written out: double loops from the formulas, and the steps of two released codes in plain torch.

ContrastiveSeg (github.com/tfzhou/ContrastiveSeg, lib/loss/loss_contrast.py) draws as many pixels of every class and
image, half of them from those that its classifier gets wrong, and compares all. Zhao et al.
(github.com/google-research/google-research, supervised_pixel_contrastive_loss) compare all pixels of an image, or of
two. Written from what the code does.
"""

import math

import torch


def chosen_pairs(labels, images, *, positives="all", negatives="all", own=False):
    """Lists of the positives and of the negatives of every pixel."""
    pairs = []
    for i in range(len(labels)):
        alike, different = [], []
        for j in range(len(labels)):
            near = images[i] == images[j]
            if labels[i] == labels[j]:
                fits = positives == "all" or near == (positives == "same_image")
                if (i == j and own) or (i != j and fits):
                    alike.append(j)
            elif negatives == "all" or near:
                different.append(j)
        pairs.append((alike, different))
    return pairs


def loop_loss(rows, labels, images, *, temperature, positives="all", negatives="all", form="contrastive_seg"):
    """The mean over the anchors, each the mean over its positives, by loops over numbers."""
    rows, labels, images = rows.tolist(), labels.tolist(), images.tolist()
    pairs = chosen_pairs(labels, images, positives=positives, negatives=negatives, own=form == "zhao")
    total, count = 0.0, 0
    for i, (alike, different) in enumerate(pairs):
        scores = [sum(a * b for a, b in zip(rows[i], other, strict=True)) / temperature for other in rows]
        if form == "zhao" or (alike and different):
            beside = different if form != "supcon" else alike + different
            own = 0.0 if form == "supcon" else 1.0  # the positive itself is among those beside it already
            terms = []
            for j in alike:
                rest = sum(math.exp(scores[k]) for k in beside)
                terms.append(-math.log(math.exp(scores[j]) / (own * math.exp(scores[j]) + rest)))
            total += sum(terms) / len(terms)
            count += 1
    return total / count if count else 0.0


def draw_views(features, labels, predicted, *, max_samples, max_views, generator):
    """ContrastiveSeg's draw: loops over images and classes; as many views of each, half of them hard where there are.

    Returns the views, shape ``(groups, views, channels)``, and the class of each group.
    """
    count, channels = features.shape[:2]
    rows = features.permute(0, 2, 3, 1).contiguous().view(count, -1, channels)
    labels, predicted = labels.reshape(count, -1), predicted.reshape(count, -1)
    groups = []
    for image in range(count):
        for each in torch.unique(labels[image]):
            if each >= 0 and (labels[image] == each).nonzero().shape[0] > max_views:
                groups.append((image, each))
    num_views = min(max_samples // len(groups), max_views)
    views = torch.zeros(len(groups), num_views, channels, dtype=features.dtype)
    for number, (image, each) in enumerate(groups):
        hard = ((labels[image] == each) & (predicted[image] != each)).nonzero()
        easy = ((labels[image] == each) & (predicted[image] == each)).nonzero()
        half = num_views // 2
        num_hard = min(len(hard), max(half, num_views - len(easy)))
        if len(hard) >= num_views / 2 and len(easy) >= num_views / 2:
            num_hard = half
        hard = hard[torch.randperm(len(hard), generator=generator)[:num_hard]]
        easy = easy[torch.randperm(len(easy), generator=generator)[: num_views - num_hard]]
        views[number] = rows[image, torch.cat([hard, easy], 0), :].squeeze(1)
    return views, torch.stack([each for _, each in groups]).to(features.dtype)


def contrastive_seg_loss(views, labels, *, temperature, base_temperature):
    """ContrastiveSeg's loss of views of shape ``(groups, views, channels)``, matrix after matrix as it is released."""
    num_views = views.shape[1]
    same = torch.eq(labels.view(-1, 1), labels.view(1, -1)).to(views.dtype)
    rows = torch.cat(torch.unbind(views, dim=1), dim=0)
    cosines = torch.div(torch.matmul(rows, rows.T), temperature)
    largest, _ = torch.max(cosines, dim=1, keepdim=True)
    logits = cosines - largest.detach()
    same = same.repeat(num_views, num_views)
    different = 1 - same
    others = torch.ones_like(same).scatter_(1, torch.arange(len(rows)).view(-1, 1), 0)
    same = same * others
    rest = (torch.exp(logits) * different).sum(1, keepdim=True)
    log_probs = logits - torch.log(torch.exp(logits) + rest)
    means = (same * log_probs).sum(1) / same.sum(1)
    return (-(temperature / base_temperature) * means).mean()


def zhao_loss(rows, labels, images, *, temperature, is_ignored):
    """Zhao et al.'s loss of pairs of images in one: rows of shape ``(pairs, pixels, channels)``, the rest alike."""
    logits = rows @ rows.transpose(1, 2) / temperature
    same = (labels.unsqueeze(2) == labels.unsqueeze(1)).to(rows.dtype)
    near = (images.unsqueeze(2) == images.unsqueeze(1)).to(rows.dtype)
    valid = (~(is_ignored.unsqueeze(2) | is_ignored.unsqueeze(1))).to(rows.dtype)
    alike, different = same * valid, (1 - same) * near * valid
    exponents = torch.exp(logits) * valid
    sums = exponents + (exponents * different).sum(2, keepdim=True)
    ratios = torch.where(sums == 0, torch.zeros_like(sums), exponents / sums.clamp_min(1e-300))
    terms = -torch.log(ratios * valid + (1 - valid))
    per_pixel = (terms * alike / alike.sum(2, keepdim=True).clamp_min(1e-6)).sum(2)
    counts = (alike.sum(2) > 0).to(rows.dtype)
    return ((per_pixel * counts).sum(1) / counts.sum(1).clamp_min(1e-6)).mean()
