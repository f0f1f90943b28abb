"""Predictive coding of deep linear networks by the public JPC library: its closed-form update
`update_linear_equilib_energy_params`, one network at a time.

  loop  jitted, called once a step from Python, as its notebooks do
  scan  the same call inside jax.lax.scan, all steps of a network in one compiled call
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jpc
import optax


def make_model(weights, dtype):
    width = weights[0].shape[0]
    model = jpc.make_mlp(jax.random.PRNGKey(0), width, width, len(weights), width, "linear")
    leaves, structure = jax.tree_util.tree_flatten(eqx.filter(model, eqx.is_array))
    assert len(leaves) == len(weights)
    arrays = jax.tree_util.tree_unflatten(structure, [jnp.asarray(w, dtype) for w in weights])
    return eqx.combine(arrays, model)


def map_error(model, teacher):
    product = jnp.eye(teacher.shape[0], dtype=teacher.dtype)
    for leaf in jax.tree_util.tree_leaves(eqx.filter(model, eqx.is_array)):
        product = leaf @ product
    return jnp.mean((teacher - product) ** 2)


def update(model, optimizer, state, x, y):
    result = jpc.update_linear_equilib_energy_params((model, None), optimizer, state, x, y)
    return result["model"], result["opt_state"]


def loop(model, teacher, batches, rate):
    """Curve [T + 1] of one network."""
    optimizer = optax.sgd(rate)
    state = optimizer.init((eqx.filter(model, eqx.is_array), None))
    curve = [map_error(model, teacher)]
    for x in batches:
        model, state = update(model, optimizer, state, x, x @ teacher.T)
        curve.append(map_error(model, teacher))
    return jnp.stack(curve)


@eqx.filter_jit
def scan(model, teacher, batches, rate):
    optimizer = optax.sgd(rate)
    state = optimizer.init((eqx.filter(model, eqx.is_array), None))
    arrays, static = eqx.partition(model, eqx.is_array)

    def step(carry, x):
        arrays, state = carry
        model, state = update(eqx.combine(arrays, static), optimizer, state, x, x @ teacher.T)
        arrays = eqx.filter(model, eqx.is_array)
        return (arrays, state), map_error(arrays, teacher)

    _, curve = jax.lax.scan(step, (arrays, state), batches)
    return jnp.concatenate([map_error(arrays, teacher)[None], curve])
