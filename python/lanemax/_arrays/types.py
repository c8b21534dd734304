# SPDX-License-Identifier: Apache-2.0
"""Types of the public functions' arguments."""

from __future__ import annotations

from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias

import numpy.typing as npt


class SupportsDLPack(Protocol):
    """An object whose memory the DLPack protocol shows."""

    def __dlpack__(self, *args: Any, **options: Any) -> Any: ...

    def __dlpack_device__(self) -> Any: ...


Array: TypeAlias = npt.NDArray[Any]
ArrayLike: TypeAlias = npt.ArrayLike | SupportsDLPack
Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
Reduction: TypeAlias = Literal["mean", "sum", "none"]
