"""Predictive coding on LibTorch: networks, learning rules, inference, rescalings and whole trainings in C++.

    import pcxx

    x, y = pcxx.data.drawn_digits(6000)
    net = pcxx.Network([784, 128, 10], activation="relu")
    optimizer = pcxx.Optimizer(net, "sgd", learning_rate=0.1)
    pcxx.fit(net, "pc", optimizer, x, y, epochs=3)
    print(pcxx.accuracy(net, x, y))

Tensors are those of torch, numpy arrays are taken too. Keyword arguments are the keys of the programs' configs. What a
user can mend is a UserError, one sentence; a tensor of the wrong kind inside a part of one's own is a RuntimeError, as in
torch.
"""

from . import _torch  # isort: skip  (torch before what needs its libraries)
from . import data, weights
from ._core import (
    Equilibrium,
    LayerFactors,
    PredictedAlignment,
    Report,
    Step,
    TargetAlignment,
    UserError,
    accuracy,
    add_layer,
    confusion_matrix,
    map_error,
    mean_error,
    target_alignment,
    version,
)
from ._network import Network, load
from ._run import Run, Trained, load_run, run
from ._toml import Range, linspace, logspace
from ._training import Inference, Optimizer, Rule, Trainer, fit, predicted_alignment

Rescaled = Optimizer  # as it is called in C++
__version__ = version

del _torch, version

__all__ = [
    "Equilibrium",
    "Inference",
    "LayerFactors",
    "Network",
    "Optimizer",
    "PredictedAlignment",
    "Range",
    "Report",
    "Rescaled",
    "Rule",
    "Run",
    "Step",
    "TargetAlignment",
    "Trained",
    "Trainer",
    "UserError",
    "__version__",
    "accuracy",
    "add_layer",
    "confusion_matrix",
    "data",
    "fit",
    "linspace",
    "load",
    "load_run",
    "logspace",
    "map_error",
    "mean_error",
    "predicted_alignment",
    "run",
    "target_alignment",
    "weights",
]
