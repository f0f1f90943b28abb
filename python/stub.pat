pcxx._core.__prefix__:
    from collections.abc import Callable
    from pcxx._types import ArrayLike

