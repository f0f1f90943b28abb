#!/usr/bin/env python3
"""One epoch of MNIST by predictive coding in PCX (JAX): 784-256-256-10, ReLU, linear output, no
biases, squared error to one-hot labels, B = 128, T = 5 and 20 steps of state descent, float32, one
core, the samples in memory.

PCX (github.com/liukidar/pcx, Apache-2.0) is run from a checkout of its own:

    python3 -m venv peers-env
    peers-env/bin/pip install jax equinox optax
    taskset -c 0 peers-env/bin/python benchmarks/peers/classifier_pcx.py --source PCX --data FOLDER

PCX is the checkout. FOLDER holds mnist/ with the four IDX files, plain or gzipped.
A step is that of PCX's examples: states from the feed-forward pass, T gradients of the energy with
respect to them for SGD, one with respect to the weights for AdamW. It is compiled as a whole:

  scan    the T steps by `pxf.scan`, the batches of an epoch by another: one compiled call an epoch
  batch   the T steps unrolled, one compiled call a batch: the way of PCX's examples
  epoch   the T steps unrolled, the batches by `pxf.scan`: one compiled call an epoch

A JSON line each: processor seconds of an epoch (shuffling included; compiling and testing not) and
test accuracy after it, over seeds. The default step sizes and rate are the best by that accuracy of
some tried: sizes 0.01, 0.03, 0.05, 0.1 and, for T = 5, 0.3, 0.5, 1; rates 0.0003, 0.001, 0.002.
"""
import argparse
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import checkout
import jax
import mnist
import optax


def build(step_size, rate):
    """(train, predict, make) by PCX: `train(way, T, ...)` is one epoch."""
    import pcx as px
    import pcx.functional as pxf
    import pcx.nn as pxnn
    import pcx.predictive_coding as pxc
    import pcx.utils as pxu

    class Network(pxc.EnergyModule):
        def __init__(self):
            super().__init__()
            self.layers = [pxnn.Linear(a, b, bias=False)
                           for a, b in zip(mnist.WIDTHS, mnist.WIDTHS[1:])]
            self.vodes = [pxc.Vode() for _ in self.layers]
            self.vodes[-1].h.frozen = True

        def __call__(self, x, y):
            for layer, vode in zip(self.layers[:-1], self.vodes[:-1]):
                x = vode(jax.nn.relu(layer(x)))
            self.vodes[-1](self.layers[-1](x))
            if y is not None:
                self.vodes[-1].set("h", y)
            return self.vodes[-1].get("u")

    states = pxc.VodeParam | pxc.VodeParam.Cache

    def free_states():  # a new mask each time: `.to` changes the mask itself
        return pxu.M_hasnot(pxc.VodeParam, frozen=True)

    def weights():
        return pxu.M(pxnn.LayerParam)

    @pxf.vmap(pxu.M(states).to((None, 0)), in_axes=(0, 0), out_axes=0)
    def forward(x, y, *, model):
        return model(x, y)

    @pxf.vmap(pxu.M(states).to((None, 0)), in_axes=0, out_axes=None, axis_name="batch")
    def energy(x, *, model):
        model(x, None)
        return jax.lax.psum(model.energy(), "batch")

    def gradient(of, x, model):
        with pxu.step(model, clear_params=pxc.VodeParam.Cache):
            differentiate = pxf.value_and_grad(of.to([False, True]), has_aux=False)
            _, found = differentiate(energy)(x, model=model)
        return found["model"]

    def learn(T, scanned, x, y, model, optim_w, optim_h):
        with pxu.step(model, (pxc.STATUS.INIT, None), clear_params=pxc.VodeParam.Cache):
            forward(x, y, model=model)
        optim_h.init(free_states()(model))
        if scanned:
            def infer(_, x, *, model, optim_h):
                optim_h.step(model, gradient(free_states(), x, model))
                return x, None

            pxf.scan(infer, xs=None, length=T)(x, model=model, optim_h=optim_h)
        else:
            for _ in range(T):
                optim_h.step(model, gradient(free_states(), x, model))
        optim_h.clear()
        optim_w.step(model, gradient(weights(), x, model), scale_by=1 / len(x))
        model.clear_params(states)

    @pxf.jit(static_argnums=0)
    def train_batch(T, rows, x, y, *, model, optim_w, optim_h):
        learn(T, False, x[rows], y[rows], model, optim_w, optim_h)

    @pxf.jit(static_argnums=(0, 1))
    def train_epoch(T, scanned, batches, x, y, *, model, optim_w, optim_h):
        def body(rows, *, model, optim_w, optim_h):
            learn(T, scanned, x[rows], y[rows], model, optim_w, optim_h)
            return (), None

        pxf.scan(body, xs=batches)(model=model, optim_w=optim_w, optim_h=optim_h)

    def train(way, T, batches, x, y, **modules):
        if way == "batch":
            for rows in batches:
                train_batch(T, rows, x, y, **modules)
        else:
            train_epoch(T, way == "scan", batches, x, y, **modules)
        jax.block_until_ready(modules["model"].layers[0].nn.weight.get())

    @pxf.jit()
    def predict(x, *, model):
        model.eval()
        with pxu.step(model, pxc.STATUS.INIT, clear_params=states):
            return forward(x, None, model=model).argmax(axis=-1)

    adamw, sgd = optax.adamw(rate), optax.sgd(step_size)

    def make_adamw():  # these objects are one key of the compiled functions: made once
        return adamw

    def make_sgd():
        return sgd

    def make(seed):
        px.RKG.seed(seed)
        model = Network()
        model.train()
        with pxu.step(model, (pxc.STATUS.INIT, None), clear_params=states):
            forward(jax.numpy.zeros((mnist.BATCH, mnist.WIDTHS[0])), None, model=model)
        return {
            "model": model,
            "optim_w": pxu.Optim(make_adamw, weights()(model)),
            "optim_h": pxu.Optim(make_sgd),
        }

    return train, predict, make


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, metavar="FOLDER")
    parser.add_argument("--data", required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 20], metavar="T")
    parser.add_argument("--ways", nargs="+", default=["scan", "batch", "epoch"], metavar="WAY")
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--step-sizes", type=float, nargs="+", default=[0.03, 0.01],
                        metavar="SIZE", help="one for each T")
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.source)
    (pixels, labels), (test_pixels, test_labels) = mnist.load(arguments.data)
    x, y = jax.numpy.asarray(pixels), jax.nn.one_hot(labels, mnist.WIDTHS[-1])
    library = f"PCX {checkout.commit(arguments.source)}, JAX {jax.__version__}"
    for T, step_size in zip(arguments.steps, arguments.step_sizes, strict=True):
        train, predict, make = build(step_size, arguments.rate)
        for way in arguments.ways:
            with mnist.Clock() as compiling:
                modules = make(0)
                train(way, T, mnist.shuffled(len(x), 0), x, y, **modules)
            runs = []
            for seed in range(arguments.seeds):
                modules = make(seed)
                with mnist.Clock() as clock:
                    train(way, T, mnist.shuffled(len(x), seed), x, y, **modules)
                accuracy = (predict(test_pixels, model=modules["model"]) == test_labels).mean()
                runs.append((clock.processor, clock.wall, accuracy))
            mnist.summary(
                runs, library=library, rule="predictive coding", way=way, steps=T,
                step_size=step_size, optimiser="AdamW", rate=arguments.rate,
                first_epoch_with_compiling=compiling.processor)


if __name__ == "__main__":
    main()
