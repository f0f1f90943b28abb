"""Ensembles of deep linear networks in PyTorch: batched tensors [R, n, n], no autograd."""

import torch


@torch.no_grad()
def train(rule, rescaling, a, weights, teacher, batches, rates, samples):
    """Curves [T + 1, R] of R members; teacher [R, n, n], batches [T][R, B, n], rates [R, 1, 1]."""
    weights = [w.clone() for w in weights]
    eye = torch.eye(teacher.shape[-1], dtype=teacher.dtype)
    curve = []
    for x in batches:
        after = [eye.expand(len(teacher), -1, -1)]
        for w in weights[::-1]:
            after.append(after[-1] @ w)
        after = after[::-1]
        curve.append((teacher - after[0]).square().mean((-2, -1)))
        xhat = [x]
        for w in weights:
            xhat.append(torch.bmm(xhat[-1], w.mT))
        residual = torch.bmm(x, teacher.mT) - xhat[-1]
        if rule == "pc":
            scaling = after[1] @ after[1].mT
            for p in after[2:]:
                scaling = scaling.baddbmm_(p, p.mT)
            chol = torch.linalg.cholesky_ex(scaling).L
            residual = torch.cholesky_solve(residual.mT, chol).mT
        errors = [torch.bmm(residual, p) for p in after[1:]]
        u = xhat[:-1]
        if rule == "pc":
            u = [x]
            for w, e in zip(weights[:-1], errors[:-1]):
                u.append(torch.baddbmm(e, u[-1], w.mT))
        for w, e, before, plain in zip(weights, errors, u, xhat):
            d = torch.bmm(e.mT, before).div_(samples)
            if rescaling != "none":
                c = torch.bmm(plain.mT, before).div_(samples)
                spectrum = torch.linalg.eigvalsh((c + c.mT) / 2)
                eps = (a * spectrum[:, -1] - spectrum[:, 0]).clamp_min_(0)
                c.diagonal(0, -2, -1).add_(eps.unsqueeze(-1))
                d = torch.linalg.solve_ex(c.mT, d.mT).result.mT
            w.addcmul_(d, rates)
    after = weights[-1]
    for w in weights[-2::-1]:
        after = after @ w
    curve.append((teacher - after).square().mean((-2, -1)))
    return torch.stack(curve)
