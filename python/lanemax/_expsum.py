# SPDX-License-Identifier: Apache-2.0
"""Sums of exponentials that neither overflow nor underflow, and merge."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._core import exp_sum
from ._core.calls import SUM


class ExpSum:
    """Sums of exponentials as ``mantissa * 2**exponent``, one per row, that can be merged.

    Made by `exp_sum`; ``a + b`` is the sum over the elements of both, so that a row can be summed
    in pieces: chunk by chunk from disk, or machine by machine.  `softmax` and `log_softmax` take
    one as ``total=``.

    Attributes
    ----------
    shape : tuple of int
        The shape of the input of `exp_sum` without its reduced axes.
    mantissa : numpy.ndarray of float64
        In [0.5, 1), as `numpy.frexp` gives it.  0 for nothing (an empty row, or only -inf); inf
        and NaN stand here for a row that holds +inf or NaN.
    exponent : numpy.ndarray of int64
        0 where the mantissa is 0, inf or NaN.

    Notes
    -----
    The sum is right to about twice the digits of the type it was computed in (2**-29 for float32
    and the 16-bit types, 2**-56 for float64), and beside the mantissa a tail is kept, so merging
    in any grouping agrees to 2 ULP of float64.  The sum of the terms as `softmax` rounds them is
    kept too: ``softmax(x, total=exp_sum(x))`` has the bits of ``softmax(x)``.  Folding the
    16,384-element chunks of a row from left to right has the bits of one call.  Logits beyond
    2**52 in magnitude, whose exponent an int64 could not hold, are kept relative to the largest of
    them; `log` is right for them too.

    Examples
    --------
    >>> import numpy as np
    >>> import lanemax as lm
    >>> x = np.array([0.5, -1.25, 2.0, 0.0, -3.5])
    >>> total = lm.exp_sum(x[:2]) + lm.exp_sum(x[2:])
    >>> print(f"{float(total.mantissa):.6f} * 2**{int(total.exponent)}")
    0.647155 * 2**4
    >>> bool(np.isclose(total.log(), np.log(np.sum(np.exp(x)))))
    True
    """

    __slots__ = ("_sums",)
    __hash__ = None  # type: ignore[assignment]  # holds arrays
    __array_ufunc__ = None  # numpy arrays leave `array + ExpSum` to us, and it is an error

    _sums: Any

    def __init__(self, mantissa: Any, exponent: Any) -> None:
        m, e = np.broadcast_arrays(np.asarray(mantissa, np.float64), np.asarray(exponent))
        if e.dtype.kind not in "iu":
            raise TypeError(f"exponent: expected integers, got dtype {e.dtype}")
        if (m < 0).any():
            raise ValueError("mantissa: must not be negative")
        part, shift = np.frexp(m)
        ordinary = (m != 0) & np.isfinite(m)
        self._sums = np.zeros(m.shape, SUM)
        self._sums["mantissa"] = part
        self._sums["exponent"] = np.where(ordinary, e.astype(np.int64) + shift, 0)

    @classmethod
    def _of(cls, sums: Any) -> ExpSum:
        new = cls.__new__(cls)
        new._sums = sums
        return new

    @classmethod
    def empty(cls, shape: int | tuple[int, ...] = ()) -> ExpSum:
        """Sums of nothing, to start a fold with.

        Parameters
        ----------
        shape : int or tuple of int
            How many.

        Returns
        -------
        ExpSum
            Mantissa 0 and exponent 0 throughout.

        Examples
        --------
        >>> import lanemax as lm
        >>> lm.ExpSum.empty((2,)).log()
        array([-inf, -inf])
        """
        return cls._of(np.zeros(shape, SUM))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._sums.shape)

    @property
    def ndim(self) -> int:
        return int(self._sums.ndim)

    @property
    def size(self) -> int:
        return int(self._sums.size)

    @property
    def mantissa(self) -> Any:
        return self._sums["mantissa"].copy()[()]

    @property
    def exponent(self) -> Any:
        return self._sums["exponent"].copy()[()]

    def log(self) -> Any:
        """The logarithm of the sums: log-sum-exp, in float64.

        Returns
        -------
        numpy.ndarray of float64, or a scalar
            -inf for nothing.  Within 1 ULP, or 1.2e-16 where the result is near 0.

        Examples
        --------
        >>> import numpy as np
        >>> import lanemax as lm
        >>> float(lm.exp_sum(np.array([1000.0, 1000.0])).log())
        1000.6931471805599
        """
        out = np.empty(self.shape, np.float64)
        exp_sum.log(np.ascontiguousarray(self._sums), out)
        return out[()]

    def __add__(self, other: object) -> ExpSum:
        if not isinstance(other, ExpSum):
            return NotImplemented
        a, b = np.broadcast_arrays(self._sums, other._sums)
        out = np.empty(a.shape, SUM)
        exp_sum.merge(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
        return ExpSum._of(out)

    def __radd__(self, other: object) -> ExpSum:
        """0, which `sum` begins with, is a sum of nothing."""
        if type(other) is int and other == 0:
            return self
        return NotImplemented

    def __getitem__(self, index: Any) -> ExpSum:
        return ExpSum._of(np.array(self._sums[index], SUM))

    def __reduce__(self) -> Any:
        return ExpSum._of, (np.array(self._sums),)

    def __repr__(self) -> str:
        return f"ExpSum(mantissa={self.mantissa!r}, exponent={self.exponent!r})"
