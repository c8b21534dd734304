# SPDX-License-Identifier: Apache-2.0
"""Softmax and its relatives on CPUs: at the speed of memory, exact, the same bits everywhere."""

from typing import TYPE_CHECKING, Any

from ._activations import FUNCTIONS as _ACTIVATIONS
from ._core.context import version as _version
from ._expsum import ExpSum
from ._fourier import (
    fourier_bins,
    fourier_bins_vjp,
    fourier_cdf,
    fourier_cross_entropy,
    fourier_cross_entropy_and_grad,
    fourier_density,
    fourier_log_bins,
    fourier_log_bins_vjp,
    fourier_mean,
    fourier_nll,
    fourier_nll_and_grad,
    fourier_sample,
    fourier_variance,
)
from ._installation import (
    available_isas,
    get_include,
    get_library_dir,
    get_num_threads,
    isa,
    num_threads,
    set_num_threads,
    show_config,
)
from ._linear import (
    linear_cross_entropy,
    linear_cross_entropy_and_grad,
    linear_logsumexp,
    linear_topk,
)
from ._losses import FUNCTIONS as _LOSSES
from ._positive import (
    log_stablemax,
    log_stablemax_vjp,
    spherical_softmax,
    spherical_softmax_vjp,
    stablemax,
    stablemax_vjp,
    taylor_softmax,
    taylor_softmax_vjp,
)
from ._softmax import (
    exp_sum,
    log_softmax,
    log_softmax_vjp,
    logsumexp,
    softmax,
    softmax_vjp,
)
from ._spherical import SphericalOutput

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """The losses and activations, whose names come from the registry."""


__version__ = _version()
globals().update(_LOSSES)
globals().update(_ACTIVATIONS)

__all__ = [
    "ExpSum",
    "SphericalOutput",
    "__version__",
    "available_isas",
    "exp_sum",
    "fourier_bins",
    "fourier_bins_vjp",
    "fourier_cdf",
    "fourier_cross_entropy",
    "fourier_cross_entropy_and_grad",
    "fourier_density",
    "fourier_log_bins",
    "fourier_log_bins_vjp",
    "fourier_mean",
    "fourier_nll",
    "fourier_nll_and_grad",
    "fourier_sample",
    "fourier_variance",
    "get_include",
    "get_library_dir",
    "get_num_threads",
    "isa",
    "linear_cross_entropy",
    "linear_cross_entropy_and_grad",
    "linear_logsumexp",
    "linear_topk",
    "log_softmax",
    "log_softmax_vjp",
    "log_stablemax",
    "log_stablemax_vjp",
    "logsumexp",
    "num_threads",
    "set_num_threads",
    "show_config",
    "softmax",
    "softmax_vjp",
    "spherical_softmax",
    "spherical_softmax_vjp",
    "stablemax",
    "stablemax_vjp",
    "taylor_softmax",
    "taylor_softmax_vjp",
    *_LOSSES,
    *_ACTIVATIONS,
]
