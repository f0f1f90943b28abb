"""Predictive coding as estimators of scikit-learn.

from pcxx.sklearn import PCClassifier

model = PCClassifier(hidden_layer_sizes=(64,)).fit(X, y)
stream = PCClassifier(rule="kpc")  # no learning rate
stream.partial_fit(X[:1], y[:1], classes=[0, 1])
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(f"pcxx.sklearn needs scikit-learn 1.6 or later: {error}") from None

from ._core import UserError
from ._network import Network
from ._training import Optimizer, Rule, Trainer

__all__ = ["PCClassifier", "PCRegressor"]

Array = np.ndarray[Any, Any]


class _Learner(BaseEstimator):  # type: ignore[misc]
    """What both estimators have in common."""

    _loss = ""  # where none is given

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (64,),
        *,
        activation: str = "relu",
        bias: bool = True,
        init: str = "kaiming",
        loss: str | None = None,
        dtype: str = "float64",
        network: Network | None = None,
        rule: str | Any = "pc",
        rule_keys: Mapping[str, Any] | None = None,
        optimizer: str = "adam",
        learning_rate: float = 0.01,
        rescaling: str | Any = "none",
        optimizer_keys: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        shuffle: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.bias = bias
        self.init = init
        self.loss = loss
        self.dtype = dtype
        self.network = network
        self.rule = rule
        self.rule_keys = rule_keys
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.rescaling = rescaling
        self.optimizer_keys = optimizer_keys
        self.epochs = epochs
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.random_state = random_state

    def _start(self, outputs: int) -> None:
        """A new training of a new network."""
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.network_ = self._new_network(outputs)
        optimizer = None if self._has_no_rate() else self._new_optimizer()
        self.trainer_ = Trainer(self.network_, self._new_rule(), optimizer)

    def _new_network(self, outputs: int) -> Network:
        sizes = self.hidden_layer_sizes
        if self.network is None:
            return Network(
                [self.n_features_in_, *([sizes] if isinstance(sizes, int) else sizes), outputs],
                architecture="relu",
                activation=self.activation,
                bias=self.bias,
                init=self.init,
                loss=self.loss or self._loss,
                dtype=self.dtype,
                seed=self._seed,
            )
        network = copy.deepcopy(self.network)
        ends = network.widths[0], network.widths[-1]
        if ends != (self.n_features_in_, outputs):
            raise UserError(
                f"network has {ends[0]} inputs and {ends[1]} outputs, not {self.n_features_in_} and {outputs}"
            )
        return network

    def _new_rule(self) -> Rule:
        rule = copy.deepcopy(self.rule)
        return rule if isinstance(rule, Rule) else Rule(rule, **(self.rule_keys or {}))

    def _new_optimizer(self) -> Optimizer:
        keys = dict(self.optimizer_keys or {})
        rescaling = copy.deepcopy(self.rescaling)
        return Optimizer(self.network_, self.optimizer, learning_rate=self.learning_rate, rescaling=rescaling, **keys)

    def _has_no_rate(self) -> bool:
        name = self.rule._arguments[0] if isinstance(self.rule, Rule) else self.rule
        return bool(name == "kpc")

    def _batch_size(self, samples: int) -> int:
        size = self.batch_size
        if size is None:
            size = 1 if self._has_no_rate() else 64
        if size < 1:
            raise UserError(f"batch_size = {size} is not at least 1")
        return min(samples, size)

    def _epochs(self) -> int:
        if self.epochs is not None:
            return self.epochs
        return 1 if self._has_no_rate() else 50

    def _learn(self, x: Array, y: Array) -> Self:
        """All epochs of a fit."""
        size, epochs = self._batch_size(len(x)), self._epochs()
        history = self.trainer_.fit(x, y, epochs=epochs, batch_size=size, seed=self._seed, shuffle=self.shuffle)
        return self._end([history])

    def _learn_once(self, x: Array, y: Array) -> Self:
        """One pass, each sample once, in their order."""
        size = self._batch_size(len(x))
        whole, rest = divmod(len(x), size)
        parts: list[Mapping[str, Any]] = [self.trainer_.fit(x, y, steps=whole, batch_size=size, shuffle=False)]
        if rest:
            parts.append(self.trainer_.step(x[-rest:], y[-rest:]))
        return self._end(parts)

    def _end(self, parts: Sequence[Mapping[str, Any]]) -> Self:
        names = dict.fromkeys(name for part in parts for name in part)
        self.history_ = {name: np.hstack([np.asarray(part[name]) for part in parts if name in part]) for name in names}
        if not np.isfinite(self.history_.get("train_error", np.zeros(1))).all():
            raise UserError(f"the training has diverged with learning_rate = {self.learning_rate}: take a lower one")
        return self

    def _outcome(self, x: Any) -> Array:
        check_is_fitted(self, "network_")
        x = validate_data(self, x, dtype=[np.float64, np.float32], reset=False)
        return np.asarray(self.network_.predict(x))


def _has_softmax(self: PCClassifier) -> bool:
    return (
        (self.loss or self._loss) == "cross_entropy" if self.network is None else self.network.loss == "cross_entropy"
    )


class PCClassifier(ClassifierMixin, _Learner):  # type: ignore[misc]
    """A classifier that learns by predictive coding, or by another rule of pcxx.

    hidden_layer_sizes   units of each hidden layer; a number where there is one
    activation, bias, init, loss, dtype
                         as pcxx.Network has them; without, the loss is "cross_entropy", and only with that one
                         there is `predict_proba`
    network              a pcxx.Network to start from, in place of all of these; each fit takes a copy
    rule, rule_keys      as pcxx.Rule has them: "pc", "bp", "ipc", "kpc" or an object of your own, and a dict of keys
    optimizer, learning_rate, rescaling, optimizer_keys
                         as pcxx.Optimizer has them; "kpc" takes its steps as they are, and needs none
    epochs, batch_size   without: 50 epochs in batches of 64, and with "kpc" one pass, sample by sample
    shuffle              whether the order changes in each epoch of `fit`
    random_state         of the first weights and the order

    After fitting: network_, a pcxx.Network; trainer_, a pcxx.Trainer; classes_; history_, numbers of every step of the
    last call by name, such as train_error; n_features_in_. Throws UserError, a ValueError, for keys that there are not
    and for a training that diverges.
    """

    _loss = "cross_entropy"

    def fit(self, X: Any, y: Any) -> Self:
        """Trains a new network on X [N, n_0] and labels y [N]."""
        X, y = self._checked(X, y, reset=True)
        self.classes_ = unique_labels(y)
        self._start(len(self.classes_))
        return self._learn(X, self._labels(y))

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> Self:
        """Goes on with one pass over X and y in their order. The first call names all classes."""
        first = not hasattr(self, "network_")
        X, y = self._checked(X, y, reset=first)
        if first:
            if classes is None:
                raise UserError("classes must be given in the first call of partial_fit")
            self.classes_ = unique_labels(classes)
            self._start(len(self.classes_))
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise UserError(f"classes = {list(classes)} are not those of the first call, {list(self.classes_)}")
        return self._learn_once(X, self._labels(y))

    def predict(self, X: Any) -> Array:
        """The class of each row of X."""
        outcome = self._outcome(X)
        best: Array = self.classes_[outcome.argmax(axis=1)]
        return best

    @available_if(_has_softmax)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """Probabilities [N, classes], in the order of classes_; where the loss is the cross-entropy."""
        return self._outcome(X)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], reset=reset)
        check_classification_targets(y)
        return X, y

    def _labels(self, y: Array) -> Array:
        """As places in classes_, int64."""
        places = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[places] != y
        if unknown.any():
            raise UserError(f"y has a label {y[unknown][0]}, which is none of the classes {list(self.classes_)}")
        return places.astype(np.int64)


class PCRegressor(RegressorMixin, _Learner):  # type: ignore[misc]
    """A regressor of one or several targets that learns by predictive coding, or by another rule of pcxx. Its
    arguments and what it has after fitting are those of PCClassifier, with the squared error as the loss where none is
    given. Targets are best scaled, as by sklearn.compose.TransformedTargetRegressor."""

    _loss = "squared_error"

    def fit(self, X: Any, y: Any) -> Self:
        """Trains a new network on X [N, n_0] and targets y [N] or [N, n_L]."""
        X, y = self._checked(X, y, reset=True)
        self._start(y.shape[1])
        return self._learn(X, y)

    def partial_fit(self, X: Any, y: Any) -> Self:
        """Goes on with one pass over X and y in their order."""
        first = not hasattr(self, "network_")
        X, y = self._checked(X, y, reset=first)
        if first:
            self._start(y.shape[1])
        return self._learn_once(X, y)

    def predict(self, X: Any) -> Array:
        """Predictions [N], or [N, n_L] for a network that has learnt targets of two dimensions."""
        outcome = self._outcome(X)
        return outcome[:, 0] if self._is_flat else outcome

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Array, Array]:
        kinds = [np.float64, np.float32]
        X, y = validate_data(self, X, y, dtype=kinds, reset=reset, multi_output=True, y_numeric=True)
        if reset:
            self._is_flat = y.ndim == 1
        y = np.asarray(y, dtype=np.float64)
        return X, y.reshape(-1, 1) if y.ndim == 1 else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
