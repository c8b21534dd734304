# SPDX-License-Identifier: Apache-2.0
"""An output layer that does on all of W, in float64, what `SphericalOutput` does on its factors."""

from __future__ import annotations

from typing import Any

import numpy as np


def z(o: Any, t: int, a: float = 1.0, b: float = 0.0) -> tuple[float, Any]:
    centred = o - o.mean()
    std = np.sqrt(np.mean(centred**2))
    if std**2 <= 2.0**-40 * np.mean(o**2):
        return float(np.logaddexp(0, a * b) / a), np.zeros_like(o)
    u = a * (b - centred[t] / std)
    r = 1 / (1 + np.exp(-u))
    grad = r / (o.size * std) * (1 + centred[t] / std * (centred / std))
    grad[t] -= r / std
    return float(np.logaddexp(0, u) / a), grad


def spherical(o: Any, t: int, eps: float = 1e-4) -> tuple[float, Any]:
    total, own = np.sum(o**2) + o.size * eps, o[t] ** 2 + eps
    grad = 2 * o / total
    grad[t] -= 2 * o[t] / own
    return float(np.log(total / own)), grad


def taylor(o: Any, t: int, order: float = 2) -> tuple[float, Any]:
    f = ((o + 1) ** 2 + 1) / 2
    grad = (1 + o) / f.sum()
    grad[t] -= (1 + o[t]) / f[t]
    return float(np.log(f.sum() / f[t])), grad


def mse(o: Any, y: Any) -> tuple[float, Any]:
    return float(np.sum((o - y) ** 2)), 2 * (o - y)


LOSSES = {"z": z, "spherical": spherical, "taylor": taylor, "mse": mse}


class DenseLayer:
    """The same arguments and results, by the definitions."""

    def __init__(self, weight: Any, loss: str = "z", **parameters: float) -> None:
        self.w = np.array(weight, np.float64)
        self.name, self.parameters = loss, parameters

    def _row(self, o: Any, target: Any, values: Any, ignored: int) -> tuple[float, Any]:
        if self.name != "mse":
            return LOSSES[self.name](o, int(target[0]), **self.parameters)  # type: ignore[operator]
        y = np.zeros(o.size)
        keep = target != ignored
        np.add.at(y, target[keep], values[keep])
        s = self.parameters.get("label_smoothing", 0.0)
        return mse(o, (1 - s) * y + s / o.size)

    def loss_and_grad(
        self, hidden: Any, target: Any, values: Any = None, ignore_index: int = -100
    ) -> tuple[float, Any, Any]:
        """The mean loss, its gradient by hidden, and by the weights."""
        h = np.asarray(hidden, np.float64).reshape(-1, self.w.shape[1])
        t = np.asarray(target).reshape(len(h), -1)
        y = np.ones(t.shape) if values is None else np.asarray(values, np.float64).reshape(t.shape)
        kept = (t != ignore_index).any(axis=1)
        dhidden, dw, losses = np.zeros(h.shape), np.zeros(self.w.shape), []
        for i in np.flatnonzero(kept):
            loss, g = self._row(self.w @ h[i], t[i], y[i], ignore_index)
            losses.append(loss)
            dhidden[i] = self.w.T @ g / kept.sum()
            dw += np.outer(g / kept.sum(), h[i])
        mean = float(np.mean(losses)) if losses else float("nan")
        return mean, dhidden.reshape(np.shape(hidden)), dw

    def step(
        self,
        hidden: Any,
        target: Any,
        lr: float,
        *,
        weight_decay: float = 0.0,
        values: Any = None,
        ignore_index: int = -100,
    ) -> tuple[float, Any]:
        loss, dhidden, dw = self.loss_and_grad(hidden, target, values, ignore_index)
        self.w = (1 - lr * weight_decay) * self.w - lr * dw
        return loss, dhidden
