# SPDX-License-Identifier: Apache-2.0
"""Softmax and its relatives on CPUs: at the speed of memory, exact, the same bits everywhere."""

from typing import TYPE_CHECKING, Any

from ._activations import activations
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
from ._generated import *  # noqa: F403
from ._generated import __all__ as _GENERATED
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
from ._losses import (
    smooth_adversarial_comp_sum_loss,
    smooth_adversarial_comp_sum_loss_and_grad,
)
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
        """In a source tree, where the build has not written the stub of `_generated`."""


__version__ = _version()

__all__ = [
    "ExpSum",
    "SphericalOutput",
    "__version__",
    "activations",
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
    "smooth_adversarial_comp_sum_loss",
    "smooth_adversarial_comp_sum_loss_and_grad",
    "softmax",
    "softmax_vjp",
    "spherical_softmax",
    "spherical_softmax_vjp",
    "stablemax",
    "stablemax_vjp",
    "taylor_softmax",
    "taylor_softmax_vjp",
    *_GENERATED,
]
