# SPDX-License-Identifier: Apache-2.0
"""The losses and activations that are made from the registries.

The build writes their typed signatures beside this file, as `_generated.pyi`.
"""

from __future__ import annotations

from typing import Any

from . import _activations, _losses
from ._core.signatures import generated

_FUNCTIONS: dict[str, Any] = {**_losses.FUNCTIONS, **_activations.FUNCTIONS}

__all__ = [name for name, _ in generated()]
globals().update({name: _FUNCTIONS[name] for name in __all__})
