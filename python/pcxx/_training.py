"""Rules, optimizers and trainings."""

from collections.abc import Callable
from typing import Any

from . import _core
from ._core import Equilibrium, PredictedAlignment
from ._network import Network
from ._types import ArrayLike
from ._words import Words, words


class Rule(_core.Rule):
    """A learning rule, which turns a batch into each layer's update.

        rule = pcxx.Rule("pc", inference="error_descent", inference_steps=20)
        step = rule.factors(net, x, y)

    name  "bp" (backpropagation), "pc" (predictive coding), "ipc" (incremental), "kpc" (Kalman, which has no learning
          rate), or an object of your own with `factors(net, x, y)`, which returns a pcxx.Step, and `state()` and
          `set_state(state)` where it remembers something
    keys  as in the programs' configs: inference, inference_steps, nudging, ...

    A rule with a memory is one network's. Throws UserError for a name or key that there is not.
    """

    def __init__(self, name: str | Any, **keys: Any) -> None:
        self._arguments = (name, keys)
        if not isinstance(name, str):
            if not hasattr(name, "factors") or keys:
                raise _core.UserError("a rule is a name with keys, or an object with factors(net, x, y)")
            super().__init__(name)
            return
        super().__init__(words(rule=name, **keys))

    def __reduce__(self) -> tuple[Any, ...]:
        name, keys = self._arguments
        return _rule, (name, keys), _copies(self.state())

    def __setstate__(self, state: Any) -> None:
        if state:
            self.set_state(state)

    def __repr__(self) -> str:
        return _text("Rule", *self._arguments)


class Optimizer(_core.Optimizer):
    """A first-order optimizer of one network's parameters, fed with rescaled directions.

        optimizer = pcxx.Optimizer(net, "adam", learning_rate=1e-3, rescaling="decorrelation")
        optimizer.step(rule.factors(net, x, y))

    optimizer      "sgd", "adam", "adamw", "rmsprop", or a torch.optim.Optimizer of net.parameters()
    learning_rate  above 0; of an optimizer of torch its own
    rescaling      "none", "alpha", "decorrelation", "projection", ..., or an object of your own with
                   `directions(layers)`, which returns for the factors of each layer a direction of its weight, or a
                   pair of those of weight and bias
    keys           as in the programs' configs: options of optimizer and rescaling

    Throws UserError for a name or key that there is not.
    """

    def __init__(
        self,
        net: _core.Network,
        optimizer: str | Any = "sgd",
        *,
        learning_rate: float | None = None,
        rescaling: str | Any = "none",
        **keys: Any,
    ) -> None:
        self._arguments = (optimizer, {"learning_rate": learning_rate, "rescaling": rescaling, **keys})
        named, rescales_by_name = isinstance(optimizer, str), isinstance(rescaling, str)
        if named and learning_rate is None:
            raise _core.UserError(f"optimizer = '{optimizer}' needs a learning_rate, such as 0.1")
        if not named and (learning_rate is not None or not hasattr(optimizer, "step")):
            raise _core.UserError("an optimizer is a name with a learning_rate, or an object with step()")
        if not rescales_by_name and not hasattr(rescaling, "directions"):
            raise _core.UserError("a rescaling is a name, or an object with directions(layers)")
        own = words(
            optimizer=optimizer if named else None,
            learning_rate=None if learning_rate is None else float(learning_rate),
            rescaling=rescaling if rescales_by_name else None,
            **keys,
        )
        super().__init__(net, own, None if named else optimizer, None if rescales_by_name else rescaling)

    def __reduce__(self) -> tuple[Any, ...]:
        optimizer, keys = self._arguments
        if not isinstance(optimizer, str):
            raise TypeError("an optimizer of torch is pickled by its own state_dict")
        return _optimizer, (self.net, optimizer, keys), _copies(self.state())

    def __setstate__(self, state: Any) -> None:
        self.set_state(state)

    def __repr__(self) -> str:
        return _text("Optimizer", *self._arguments)


class Trainer(_core.Trainer):
    """A network, a rule and an optimizer that train together, with the memory of all.

        trainer = pcxx.Trainer(net, "pc", pcxx.Optimizer(net, learning_rate=0.1))
        history = trainer.fit(x, y, epochs=3)
        trainer.step(x[:64], y[:64])

    The rule "kpc" takes its steps as they are, and needs no optimizer. Throws UserError for parts that do not go
    together.
    """

    def __init__(self, net: _core.Network, rule: str | Any, optimizer: _core.Optimizer | None = None) -> None:
        if not isinstance(rule, _core.Rule):
            rule = Rule(rule)
        if optimizer is None:
            name = dict(rule._words).get("rule")
            if name != "kpc":
                raise _core.UserError(
                    f"rule = '{name}' needs an optimizer, such as pcxx.Optimizer(net, 'sgd', learning_rate=0.1)"
                )
            optimizer = Optimizer(net, "sgd", learning_rate=1.0)
        super().__init__(net, rule, optimizer)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.net, self.rule, self.optimizer)

    def __repr__(self) -> str:
        return f"Trainer({self.net}, {self.rule}, {self.optimizer})"


class Inference:
    """A way of finding the equilibrium of predictive coding.

        equilibrium = pcxx.Inference("lbfgs", inference_steps=50).infer(net, x, y)
        print(equilibrium.report)

    name  "auto" (the closed form in linear networks, otherwise "lbfgs"), "closed_form", "lbfgs", "error_descent",
          "state_descent"
    keys  as in the programs' configs: inference_steps, inference_tolerance, ...
    """

    def __init__(self, name: str = "auto", **keys: Any) -> None:
        self._words: Words = words(inference=name, **keys)
        self._arguments = (name, keys)

    def infer(self, net: _core.Network, x: ArrayLike, y: ArrayLike) -> Equilibrium:
        """Activities and errors at, or near, the minimum of the energy with x [B, n_0] and y [B, n_L] (or labels int64
        [B]) clamped. Numerical trouble is a value of the report. Throws UserError for keys that do not fit."""
        return _core._infer(self._words, net, x, y)

    def __repr__(self) -> str:
        return _text("Inference", *self._arguments)


def fit(
    net: Network,
    rule: str | Any,
    optimizer: _core.Optimizer | None,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epochs: int = 1,
    batch_size: int = 64,
    steps: int | None = None,
    seed: int = 0,
    shuffle: bool = True,
    callback: Callable[[int, dict[str, float]], bool | None] | None = None,
) -> dict[str, Any]:
    """Trains a network, whose loop runs in C++: Trainer(net, rule, optimizer).fit(x, y, ...), which says what the
    arguments are and what it gives. Keep a Trainer where rule or optimizer shall remember it."""
    return Trainer(net, rule, optimizer).fit(
        x, y, epochs=epochs, batch_size=batch_size, steps=steps, seed=seed, shuffle=shuffle, callback=callback
    )


def predicted_alignment(
    net: _core.Network, x: ArrayLike, y: ArrayLike, rule: str = "pc", rescaling: str = "none", **keys: Any
) -> PredictedAlignment:
    """What theory says, in a linear network, of the update that rule and rescaling will make of a batch, before it is
    made. Throws UserError where it says nothing."""
    return _core._predicted_alignment(words(rule=rule, rescaling=rescaling, **keys), net, x, y)


def _rule(name: Any, keys: dict[str, Any]) -> Rule:
    return Rule(name, **keys)


def _optimizer(net: Any, optimizer: str, keys: dict[str, Any]) -> Optimizer:
    return Optimizer(net, optimizer, **keys)


def _copies(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _text(name: str, first: Any, keys: dict[str, Any]) -> str:
    return f"{name}({', '.join([repr(first), *(f'{key}={value!r}' for key, value in keys.items())])})"
