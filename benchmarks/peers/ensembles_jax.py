"""Ensembles of deep linear networks in JAX: vmap over seeds and rates, scan over steps, jit.

`trainer(model, rates)` trains one seed at some rates from samples [T, B, n]: the sums over samples
are products of [B, n] matrices, as anybody would write them.
"""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import cho_factor, cho_solve


def factors(weights, x, y, rule):
    """Errors and presynaptic activities of every layer, and the map."""
    xhat = [x]
    for w in weights:
        xhat.append(xhat[-1] @ w.T)
    after = [jnp.eye(weights[-1].shape[0], dtype=x.dtype)]  # W_L ... W_{l+1}
    for w in weights[::-1]:
        after.append(after[-1] @ w)
    after = after[::-1]  # after[l], l = 0..L
    residual = y - xhat[-1]
    if rule == "pc":
        scaling = sum(p @ p.T for p in after[1:])
        residual = cho_solve(cho_factor(scaling, lower=True), residual.T).T
    errors = [residual @ p for p in after[1:]]
    u = xhat[:-1]
    if rule == "pc":
        u = [x]
        for w, e in zip(weights[:-1], errors[:-1]):
            u.append(u[-1] @ w.T + e)
    return errors, u, xhat[:-1], after[0]


def direction(e, u, xhat, samples, rescaling, a):
    d = e.T @ u / samples
    if rescaling == "none":
        return d
    c = xhat.T @ u / samples
    spectrum = jnp.linalg.eigvalsh((c + c.T) / 2)
    eps = jnp.maximum(0, a * spectrum[-1] - spectrum[0])
    return jnp.linalg.solve((c + eps * jnp.eye(c.shape[0], dtype=c.dtype)).T, d.T).T


def trainer(rule, rescaling, a, samples):
    def one(weights, teacher, batches, rate):
        def step(weights, x):
            errors, u, xhat, product = factors(weights, x, x @ teacher.T, rule)
            new = [
                w + rate * direction(e, before, plain, samples, rescaling, a)
                for w, e, before, plain in zip(weights, errors, u, xhat)
            ]
            return new, jnp.mean((teacher - product) ** 2)

        weights, curve = jax.lax.scan(step, weights, batches)
        _, _, _, product = factors(weights, batches[0], batches[0] @ teacher.T, rule)
        return jnp.append(curve, jnp.mean((teacher - product) ** 2))

    over_rates = jax.vmap(one, (None, None, None, 0))
    over_seeds = jax.vmap(over_rates, (None, 0, 0, None))
    return jax.jit(over_seeds)


def arrange(task, dtype, seeds):
    """Inputs of trainer() for the first `seeds` seeds."""
    weights = [jnp.asarray(w, dtype) for w in task.weights]
    maps = jnp.asarray(task.maps[:seeds], dtype)
    batches = jnp.asarray(task.inputs[:, :seeds].swapaxes(0, 1), dtype)
    return weights, maps, batches


def moments(batches):
    """[S, T, B, n] samples as n columns with the same second moments, times sqrt(B / n)."""
    gram = jnp.einsum("stbi,stbj->stij", batches, batches)
    return jnp.linalg.cholesky(gram).swapaxes(-1, -2)
