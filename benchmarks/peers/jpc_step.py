#!/usr/bin/env python3
"""One predictive coding step of the linear network 512-512-512 in JPC, float64, B = 128, one core.

JPC (github.com/thebuckleylab/jpc) is installed from its repository, into an environment of its own:

    python3 -m venv peers-env
    peers-env/bin/pip install git+https://github.com/thebuckleylab/jpc.git
    taskset -c 0 peers-env/bin/python benchmarks/peers/jpc_step.py

Three ways to the same update, each compiled as a whole (`eqx.filter_jit`), with optax's plain SGD:

  shortcut      jpc.update_linear_equilib_energy_params: what JPC ships for this, the gradient of
                the equilibrated energy by automatic differentiation
  Hessian       jpc.compute_linear_activity_solution, then jpc.compute_pc_param_grads
  closed form   S by jpc.compute_linear_equilib_rescaling, eps*_L = S^-1 r by Cholesky, the hidden
                activity from it, then jpc.compute_pc_param_grads: our algorithm in its functions

The three gradients are compared before anything is timed.
"""
import os

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import jpc
import optax
from jax.scipy.linalg import cho_factor, cho_solve

jax.config.update("jax_enable_x64", True)

WIDTH, BATCH, REPETITIONS = 512, 128, 60
OPTIMIZER = optax.sgd(0.0)  # rate 0: the same work, and the network stays the one that is measured


def shortcut(params, state, x, y):
    result = jpc.update_linear_equilib_energy_params(params, OPTIMIZER, state, x, y)
    return result["grads"], (result["model"], result["skip_model"]), result["opt_state"]


def update(params, state, activities, x, y):
    grads = jpc.compute_pc_param_grads(params, activities, y, x=x)
    updates, state = OPTIMIZER.update(grads, state, params)
    return grads, eqx.apply_updates(params, updates), state


def weights(params):
    return [layer.weight for sequence in params[0] for layer in sequence if hasattr(layer, "weight")]


@eqx.filter_jit
def hessian(params, state, x, y):
    activities = jpc.compute_linear_activity_solution(params[0], x, y)
    return update(params, state, activities, x, y)


@eqx.filter_jit
def closed_form(params, state, x, y):
    w1, w2 = weights(params)
    hidden = x @ w1.T
    scaling = jpc.compute_linear_equilib_rescaling(params, x)
    error = cho_solve(cho_factor(scaling, lower=True), (y - hidden @ w2.T).T).T
    activity = hidden + error @ w2
    return update(params, state, [activity, y], x, y)


def once(step, arguments):
    start = time.process_time()
    jax.block_until_ready(step(*arguments))
    return 1e3 * (time.process_time() - start)


def main():
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    model = jpc.make_mlp(keys[0], WIDTH, WIDTH, 2, WIDTH, "linear")
    model = jax.tree_util.tree_map(
        lambda leaf: leaf.astype(jnp.float64) if eqx.is_array(leaf) else leaf, model)
    params = (model, None)
    state = OPTIMIZER.init((eqx.filter(model, eqx.is_array), None))
    x = jax.random.normal(keys[1], (BATCH, WIDTH), jnp.float64)
    y = jax.random.normal(keys[2], (BATCH, WIDTH), jnp.float64)
    arguments = (params, state, x, y)

    steps = {"shortcut": shortcut, "Hessian": hessian, "closed form": closed_form}
    gradients = {name: weights(step(*arguments)[0]) for name, step in steps.items()}
    for name, found in gradients.items():
        for ours, theirs in zip(found, gradients["closed form"]):
            difference = jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(theirs)
            assert difference < 1e-10, (name, difference)

    times = {name: [] for name in steps}
    for _ in range(REPETITIONS):  # in turn, so that all see the same noise
        for name, step in steps.items():
            times[name].append(once(step, arguments))
    print(f"jpc {jpc.__version__}, jax {jax.__version__}; ms a step")
    print("| way | minimum | median |\n| --- | ---: | ---: |")
    for name, found in times.items():
        print(f"| {name} | {min(found):.1f} | {statistics.median(found):.1f} |")


if __name__ == "__main__":
    main()
