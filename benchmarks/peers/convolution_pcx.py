#!/usr/bin/env python3
"""One training step of LeNet-5 by PCX (JAX): T steps of state descent, then SGD on the weights; B = 64,
squared error, float32, one core.

PCX (github.com/liukidar/pcx, Apache-2.0) is run from a checkout of its own:

    python3 -m venv peers-env
    peers-env/bin/pip install jax equinox optax
    taskset -c 0 peers-env/bin/python benchmarks/peers/convolution_pcx.py --source PCX

PCX is the checkout. A step is that of PCX's examples, compiled as a whole: states from the
feed-forward pass, T gradients of the energy with respect to them for SGD, one with respect to the
weights. States are the pooled maps and the rectified units. The ways:

  scan      the T steps by `pxf.scan`
  unrolled  the T steps one after another in the compiled code: the way of PCX's examples

The maps are pooled by PCX's `MaxPool2d`, or with `--pool reshape` by the maximum over two axes of a
reshaped map, of which XLA makes other code. A JSON line each: least milliseconds a step, after
some steps on one batch have shown that it learns.
"""
import os
import sys

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import checkout
import jax
import lenet
import optax


def reshaped_maximum(x):
    channels, height, width = x.shape
    return x.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))


def build(T, way, pooling, step_size, rate):
    """(train, predict, make) by PCX: `train` is one step, `make` gives a model and its optimisers."""
    import pcx as px
    import pcx.functional as pxf
    import pcx.nn as pxnn
    import pcx.predictive_coding as pxc
    import pcx.utils as pxu

    pool = reshaped_maximum if pooling == "reshape" else pxnn.MaxPool2d(2, 2)

    class LeNet(pxc.EnergyModule):
        def __init__(self):
            super().__init__()
            self.convolutions = [pxnn.Conv2d(1, 6, 5, padding=2), pxnn.Conv2d(6, 16, 5)]
            self.dense = [pxnn.Linear(400, 120), pxnn.Linear(120, 84)]
            self.output = pxnn.Linear(84, lenet.CLASSES)
            self.vodes = [pxc.Vode() for _ in range(5)]
            self.vodes[-1].h.frozen = True

        def __call__(self, x, y):
            for layer, vode in zip(self.convolutions, self.vodes[:2]):
                x = vode(pool(jax.nn.relu(layer(x))))
            x = x.reshape(-1)
            for layer, vode in zip(self.dense, self.vodes[2:4]):
                x = vode(jax.nn.relu(layer(x)))
            self.vodes[-1](self.output(x))
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

    def infer(_, x, *, model, optim_h):
        optim_h.step(model, gradient(free_states(), x, model))
        return x, None

    @pxf.jit()
    def train(x, y, *, model, optim_w, optim_h):
        with pxu.step(model, (pxc.STATUS.INIT, None), clear_params=pxc.VodeParam.Cache):
            forward(x, y, model=model)
        optim_h.init(free_states()(model))
        if way == "scan":
            pxf.scan(infer, xs=None, length=T)(x, model=model, optim_h=optim_h)
        else:
            for _ in range(T):
                infer(None, x, model=model, optim_h=optim_h)
        optim_h.clear()
        optim_w.step(model, gradient(weights(), x, model), scale_by=1 / len(x))
        model.clear_params(states)

    @pxf.jit()
    def predict(x, *, model):
        with pxu.step(model, pxc.STATUS.INIT, clear_params=states):
            return forward(x, None, model=model)

    of_weights, of_states = optax.sgd(rate), optax.sgd(step_size)

    def make_of_weights():  # these objects are one key of the compiled functions: made once
        return of_weights

    def make_of_states():
        return of_states

    def make(x):
        px.RKG.seed(0)
        model = LeNet()
        model.train()
        with pxu.step(model, (pxc.STATUS.INIT, None), clear_params=states):
            forward(x, None, model=model)
        return {
            "model": model,
            "optim_w": pxu.Optim(make_of_weights, weights()(model)),
            "optim_h": pxu.Optim(make_of_states),
        }

    return train, predict, make


def make_step(T, way, rate, arguments):
    x, y = map(jax.numpy.asarray, lenet.batch())
    train, predict, make = build(T, way, arguments.pool, arguments.step_size, rate)
    modules = make(x)

    def step():
        train(x, y, **modules)
        jax.block_until_ready(modules["model"].output.nn.weight.get())

    def loss():
        return 0.5 * float(((predict(x, model=modules["model"]) - y) ** 2).sum()) / len(x)

    return step, loss


def main():
    parser = lenet.arguments(__doc__)
    parser.add_argument("--ways", nargs="+", default=["scan", "unrolled"], metavar="WAY")
    parser.add_argument("--pool", choices=["window", "reshape"], default="window")
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.source)
    library = f"PCX {checkout.commit(arguments.source)}, JAX {jax.__version__}"
    for T in arguments.steps:
        for way in arguments.ways:
            lenet.measure(library, f"{way}, pool by {arguments.pool}", T,
                          lambda rate, T=T, way=way: make_step(T, way, rate, arguments), arguments)


if __name__ == "__main__":
    main()
