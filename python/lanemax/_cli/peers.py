# SPDX-License-Identifier: Apache-2.0
"""What the benchmark compares with: each peer in its fastest form, on the same arrays.

A peer is a class with a ``name``, a ``load`` that says why it cannot take part, and one method
per operation that returns the calls it offers: ``out`` writes into an array that is kept,
``new`` returns a new one. A peer that is not installed is left out with a message.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

import lanemax as lm

from .oracle import Array
from .timing import Contender, clock

#: (variant, call) pairs: variant is "out" or "new".
Offers: TypeAlias = Iterator[tuple[str, Callable[[], object]]]

OPERATIONS = ("softmax", "log_softmax", "logsumexp", "softmax_vjp", "log_softmax_vjp")


class Unavailable(Exception):
    """A peer cannot take part; the text says why."""


def element_type(name: str) -> np.dtype[Any]:
    """Return the NumPy type called `name`; bfloat16 is that of ml_dtypes."""
    if name == "bfloat16":
        try:
            bfloat16: np.dtype[Any] = np.dtype(importlib.import_module("ml_dtypes").bfloat16)
            return bfloat16
        except ImportError:
            raise Unavailable("bfloat16 needs ml_dtypes, which is not installed") from None
    return np.dtype(name)


@dataclass(frozen=True)
class Case:
    """One operation on one array, (rows, columns), reduced over the columns."""

    operation: str
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    threads: int
    x: Array  # logits, or dy
    y: Array  # result of the forward function where the operation is a gradient, else x
    out: Array

    @property
    def elements(self) -> int:
        """Return the number of elements of x."""
        return math.prod(self.shape)

    @property
    def traffic(self) -> int:
        """Return the bytes that the operation cannot avoid to read and write."""
        arrays = 1 if self.operation == "logsumexp" else 2
        return (arrays + self.operation.endswith("_vjp")) * self.elements * self.dtype.itemsize


def make_case(operation: str, dtype: np.dtype[Any], shape: tuple[int, int], threads: int) -> Case:
    """Return a case with logits of standard deviation 3, allocated as NumPy allocates."""
    rng = np.random.default_rng(0)
    x = np.empty(shape, dtype)
    rows = max(1, 2**22 // shape[1])
    if shape[0] == 1:
        # A row may be longer than what one wants to hold twice in float32.
        for start in range(0, shape[1], 2**22):
            part = x[:, start : start + 2**22]
            part[...] = rng.standard_normal(part.shape, np.float32) * 3
    else:
        for start in range(0, shape[0], rows):
            part = x[start : start + rows]
            part[...] = rng.standard_normal(part.shape, np.float32) * 3
    y = x
    if operation.endswith("_vjp"):
        y = getattr(lm, operation.removesuffix("_vjp"))(x)
    if operation == "logsumexp":
        out = np.zeros(shape[0], np.float64 if dtype == np.float64 else np.float32)
    else:
        out = np.zeros(shape, dtype)
    return Case(operation, dtype, shape, threads, x, y, out)


# ----------------------------------------------------------------------------- ourselves


def ours(case: Case) -> Offers:
    """Return lanemax's calls, looked up once as in a user's loop."""
    function = getattr(lm, case.operation)
    x, y, out = case.x, case.y, case.out
    if case.operation.endswith("_vjp"):
        yield "out", lambda: function(x, y, out=out)
        yield "new", lambda: function(x, y)
    else:
        yield "out", lambda: function(x, out=out)
        yield "new", lambda: function(x)


def anchors(case: Case) -> Iterator[Contender]:
    """Return what memory itself costs: reading the array once, and copying it."""
    x, out = case.x, case.out
    raw = np.dtype(f"i{case.dtype.itemsize}")
    plain = x if case.dtype.itemsize >= 4 else x.view(raw)
    # A maximum is the read that NumPy does at the speed of memory; of integers for 16-bit types.
    yield Contender("read", clock(lambda: plain.max()))
    if out.shape == x.shape:
        yield Contender("copy", clock(lambda: np.copyto(out, x)))


# ------------------------------------------------------------------------------------ peers


class NumPy:
    """The textbook expression, with and without temporaries."""

    name = "numpy"

    def load(self, threads: int) -> None:
        """NumPy is always there."""

    def offers(self, case: Case) -> Offers:
        """Return NumPy's calls."""
        if case.dtype.name == "bfloat16":
            return
        x, y, out = case.x, case.y, case.out
        if case.operation == "softmax":

            def softmax_out() -> None:
                np.subtract(x, x.max(axis=-1, keepdims=True), out=out)
                np.exp(out, out=out)
                np.divide(out, out.sum(axis=-1, keepdims=True), out=out)

            def softmax_new() -> Array:
                e = np.exp(x - x.max(axis=-1, keepdims=True))
                quotient: Array = e / e.sum(axis=-1, keepdims=True)
                return quotient

            yield "out", softmax_out
            yield "new", softmax_new
        elif case.operation == "log_softmax":

            def log_softmax_new() -> Array:
                d = x - x.max(axis=-1, keepdims=True)
                difference: Array = d - np.log(np.exp(d).sum(axis=-1, keepdims=True))
                return difference

            yield "new", log_softmax_new
        elif case.operation == "logsumexp":

            def logsumexp_new() -> Array:
                m = x.max(axis=-1, keepdims=True)
                total: Array = np.log(np.exp(x - m).sum(axis=-1)) + m[..., 0]
                return total

            yield "new", logsumexp_new
        elif case.operation == "softmax_vjp":
            yield "new", lambda: y * (x - (y * x).sum(axis=-1, keepdims=True))
        else:
            yield "new", lambda: x - np.exp(y) * x.sum(axis=-1, keepdims=True)

    def cross_entropy(self, x: Array, target: Array) -> Offers:
        """Return the mean loss of rows, and with its gradient, by the formula."""
        rows = np.arange(len(x))

        def both() -> Array:
            p: Array = np.exp(x - x.max(axis=-1, keepdims=True))
            p /= p.sum(axis=-1, keepdims=True)
            -np.log(p[rows, target]).mean()
            p[rows, target] -= 1
            p /= len(x)
            return p

        yield " and grad", both

    def linear(self, hidden: Array, weight: Array, target: Array) -> Offers:
        """Return the product alone, the loss of its result, and with the gradients."""
        logits = np.empty((len(hidden), len(weight)), hidden.dtype)
        rows = np.arange(len(hidden))

        def loss() -> Array:
            np.matmul(hidden, weight.T, out=logits)
            most = logits.max(axis=-1, keepdims=True)
            own = logits[rows, target] - most[:, 0]
            np.exp(np.subtract(logits, most, out=logits), out=logits)
            total: Array = logits.sum(axis=-1)
            (np.log(total) - own).mean()
            return total

        def both() -> tuple[Array, Array]:
            np.divide(logits, loss()[:, None], out=logits)
            logits[rows, target] -= 1
            np.divide(logits, len(hidden), out=logits)
            return logits @ weight, logits.T @ hidden

        yield " product", lambda: np.matmul(hidden, weight.T, out=logits)
        yield "", loss
        yield " and grad", both

    def fourier(self, coef: Array, target: Array, bins: int) -> Offers:
        """Return a Fourier head's loss as its paper's code has it: all bins times all terms."""
        terms = coef.shape[1] // 2
        centres = (2 * np.arange(bins, dtype=coef.dtype) + 1) / bins - 1
        waves = np.exp(1j * np.pi * np.arange(1, terms) * centres[:, None])

        def loss() -> float:
            total = 0.0
            for row, t in zip(coef, target, strict=True):  # all rows would take a gigabyte
                a = row[:terms] + 1j * row[terms:]
                c = np.correlate(a, a, "full")[terms - 1 :]
                p = 0.5 + (waves * (c[1:] / c[0].real)).sum(axis=1).real
                q = np.log(p / p.sum() + 1e-5)
                total += np.log(np.exp(q).sum()) - q[t]
            return total / len(coef)

        yield " reference", loss

    def activations(self, x: Array, up: Array, out: Array) -> Offers:
        """Return a few by their formulas, in the output's memory where that is possible."""

        def silu() -> None:
            np.exp(np.negative(x, out=out), out=out)
            np.divide(x, np.add(out, 1, out=out), out=out)

        def swiglu() -> None:
            silu()
            np.multiply(out, up, out=out)

        def reglu() -> None:
            np.maximum(x, 0, out=out)
            np.multiply(out, up, out=out)

        def poly_norm() -> None:
            out[...] = 0
            power = x
            for k in range(1, 4):
                power = power * x if k > 1 else x
                mean = np.square(power).mean(axis=-1, keepdims=True)
                np.add(out, power / (3 * np.sqrt(mean + 1e-6)), out=out)

        def rational() -> None:
            inner = x * (0.10652899 + x * x * 0.00055023313)
            above = [0.0002751961, 0.0058030346, 0.053266283, 0.24999783, 0.5000008, 3e-7]
            np.divide(np.polyval(above, x), 1 + np.abs(inner * x), out=out)

        def max_min() -> None:
            np.maximum(x[:, ::2], x[:, 1::2], out=out[:, ::2])
            np.minimum(x[:, ::2], x[:, 1::2], out=out[:, 1::2])

        def group_sort() -> None:
            np.copyto(out, x)
            out.reshape(-1, 8).sort(axis=-1)

        yield "relu", lambda: np.maximum(x, 0, out=out)
        yield "silu", silu
        yield "swiglu", swiglu
        yield "reglu", reglu
        yield "poly_norm", poly_norm
        yield "rational", rational
        yield "max_min", max_min
        yield "group_sort", group_sort


class SciPy:
    """scipy.special, which has no out=."""

    name = "scipy"

    def load(self, threads: int) -> None:
        """Import scipy.special."""
        self._special = _import("scipy.special")

    def offers(self, case: Case) -> Offers:
        """Return SciPy's calls."""
        if case.operation.endswith("_vjp") or case.dtype.name == "bfloat16":
            return
        function = getattr(self._special, case.operation)
        yield "new", lambda: function(case.x, axis=-1)


class Torch:
    """PyTorch on the CPU, sharing NumPy's memory."""

    name = "torch"

    def load(self, threads: int) -> None:
        """Import torch and give it as many threads as everyone has."""
        self._torch = _import("torch")
        self._torch.set_num_threads(threads)

    def _tensor(self, array: Array) -> Any:
        if array.dtype.name == "bfloat16":
            return self._torch.from_numpy(array.view(np.int16)).view(self._torch.bfloat16)
        return self._torch.from_numpy(array)

    def offers(self, case: Case) -> Offers:
        """Return torch's calls."""
        torch = self._torch
        x, y = self._tensor(case.x), self._tensor(case.y)
        if case.operation == "logsumexp":
            if case.dtype.itemsize >= 4:  # 16-bit sums come back in 16 bits: another result
                out = self._tensor(case.out)
                yield "out", lambda: torch.logsumexp(x, -1, out=out)
            yield "new", lambda: torch.logsumexp(x, -1)
            return
        out = self._tensor(case.out)
        if case.operation == "softmax":
            yield "out", lambda: torch.softmax(x, -1, out=out)
            yield "new", lambda: torch.softmax(x, -1)
        elif case.operation == "log_softmax":
            yield "out", lambda: torch.log_softmax(x, -1, out=out)
            yield "new", lambda: torch.log_softmax(x, -1)
        else:
            forward = case.operation.removesuffix("_vjp")
            backward = getattr(torch.ops.aten, f"_{forward}_backward_data")
            yield "out", lambda: backward.out(x, y, -1, x.dtype, grad_input=out)
            yield "new", lambda: backward(x, y, -1, x.dtype)

    def cross_entropy(self, x: Array, target: Array) -> Offers:
        """Return the mean loss of rows, and with its gradient."""
        torch = self._torch
        function = torch.nn.functional.cross_entropy
        logits, labels = self._tensor(x), torch.from_numpy(target)
        wanted = logits.detach().requires_grad_(True)

        def both() -> None:
            wanted.grad = None
            function(wanted, labels).backward()

        yield "", lambda: function(logits, labels)
        yield " and grad", both

    def fourier(self, coef: Array, target: Array, bins: int) -> Offers:
        """Return a Fourier head's loss and gradient as its paper's code has them.

        The product of bins and terms is in memory, for 8 rows at a time.
        """
        torch = self._torch
        terms = coef.shape[1] // 2
        wanted = self._tensor(coef.copy()).requires_grad_(True)
        labels = torch.from_numpy(target)
        centres = torch.linspace(-1 + 1 / bins, 1 - 1 / bins, bins)
        waves = torch.exp(1j * torch.pi * torch.arange(1, terms) * centres[:, None])

        def both() -> None:
            wanted.grad = None
            for i in range(0, len(coef), 8):
                a = torch.complex(wanted[i : i + 8, :terms], wanted[i : i + 8, terms:])
                padded = torch.nn.functional.pad(a, (0, terms - 1))
                c = (padded.unfold(1, terms, 1) * a.conj()[:, None]).sum(-1)
                scaled = c[:, 1:] / c[:, :1].real
                p = 0.5 + (scaled[:, None] * waves).sum(-1).real
                q = torch.log(p / p.sum(-1, keepdim=True) + 1e-5)
                loss = torch.nn.functional.cross_entropy(q, labels[i : i + 8], reduction="sum")
                (loss / len(coef)).backward()

        yield " reference and grad", both

    def linear(self, hidden: Array, weight: Array, target: Array) -> Offers:
        """Return the product alone, and the loss with and without gradients in PyTorch's ways."""
        torch = self._torch
        functional, labels = torch.nn.functional, torch.from_numpy(target)
        operands = [self._tensor(a) for a in (hidden, weight)]
        wanted = [a.detach().requires_grad_(True) for a in operands]
        product = torch.empty((len(hidden), len(weight)))

        def plain(h: Any, w: Any) -> Any:
            return functional.cross_entropy(functional.linear(h, w), labels)

        def both(function: Callable[[Any, Any], Any]) -> None:
            for a in wanted:
                a.grad = None
            function(*wanted).backward()

        yield " product", lambda: torch.mm(operands[0], operands[1].T, out=product)
        yield "", lambda: plain(*operands)
        yield " and grad", lambda: both(plain)
        own = getattr(functional, "linear_cross_entropy", None)
        if own is not None:  # from 2.13 on
            options = torch.nn.LinearCrossEntropyOptions()

            def chunked(h: Any, w: Any) -> Any:
                return own(h, w, labels, options=options)

            yield " chunked", lambda: chunked(*operands)
            yield " chunked and grad", lambda: both(chunked)
        compiled = torch.compile(plain)
        try:
            both(compiled)  # needs a C++ compiler at run time
        except Exception:
            return
        yield " compiled and grad", lambda: both(compiled)

    def activations(self, x: Array, up: Array, out: Array) -> Offers:
        """Return PyTorch's own kernels that write into given memory, and eager formulations."""
        torch = self._torch
        values, gate, to = self._tensor(x), self._tensor(up), self._tensor(out)
        aten = torch.ops.aten
        thirds = torch.full((3,), 1 / 3)
        numerator = torch.tensor(
            [3e-7, 0.5000008, 0.24999783, 0.053266283, 0.0058030346, 0.0002751961]
        )
        denominator = torch.tensor([-4.1e-6, 0.10652899, -1.27e-6, 0.00055023313])

        def poly_norm() -> Any:
            # as its authors publish it
            return sum(
                w * p * torch.rsqrt(p.square().mean(-1, keepdim=True) + 1e-6)
                for w, p in zip(thirds, (values**3, values**2, values), strict=True)
            )

        def rational() -> Any:
            above = numerator[5]
            for a in numerator[:5].flip(0):
                above = above * values + a
            inner = denominator[3] * values
            for b in denominator[:3].flip(0):
                inner = (inner + b) * values
            return above / (1 + inner.abs())

        yield "relu", lambda: torch.clamp(values, min=0, out=to)
        yield "sigmoid", lambda: torch.sigmoid(values, out=to)
        yield "tanh", lambda: torch.tanh(values, out=to)
        yield "silu", lambda: aten.silu.out(values, out=to)
        yield "gelu", lambda: aten.gelu.out(values, out=to)
        yield "gelu_tanh", lambda: aten.gelu.out(values, approximate="tanh", out=to)
        yield "mish", lambda: aten.mish.out(values, out=to)
        yield "swiglu", lambda: torch.mul(torch.nn.functional.silu(values), gate, out=to)
        yield "geglu", lambda: torch.mul(torch.nn.functional.gelu(values), gate, out=to)
        yield "reglu", lambda: torch.mul(torch.relu(values), gate, out=to)
        yield "poly_norm", poly_norm
        yield "rational", rational
        yield "group_sort", lambda: values.view(-1, 8).sort(-1)
        for name, function in (("poly_norm", poly_norm), ("rational", rational)):
            compiled = torch.compile(function)
            try:
                compiled()  # needs a C++ compiler at run time
            except Exception:
                return
            yield f"compiled {name}", compiled


class OnnxRuntime:
    """ONNX Runtime, input and output bound to NumPy's memory."""

    name = "onnxruntime"
    _KINDS = {"softmax": "Softmax", "log_softmax": "LogSoftmax"}  # noqa: RUF012

    def load(self, threads: int) -> None:
        """Import onnxruntime, and onnx, which writes the model of one node."""
        self._runtime = _import("onnxruntime")
        self._onnx = _import("onnx")

    def offers(self, case: Case) -> Offers:
        """Return a session's call."""
        types = {"float32": "FLOAT", "float64": "DOUBLE"}
        if case.operation not in self._KINDS or case.dtype.name not in types:
            return
        helper = self._onnx.helper
        kind = getattr(self._onnx.TensorProto, types[case.dtype.name])
        node = helper.make_node(self._KINDS[case.operation], ["x"], ["y"], axis=-1)
        ends = [helper.make_tensor_value_info(n, kind, list(case.shape)) for n in ("x", "y")]
        graph = helper.make_graph([node], "one_node", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = case.threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = self._runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        value = self._runtime.OrtValue.ortvalue_from_numpy
        held = value(case.x), value(case.out)
        binding.bind_ortvalue_input("x", held[0])
        binding.bind_ortvalue_output("y", held[1])

        def run(keep: object = held) -> None:
            session.run_with_iobinding(binding)

        yield "out", run


class Jax:
    """JAX, compiled; it always allocates its result."""

    name = "jax"

    def load(self, threads: int) -> None:
        """Import jax; it takes its threads from the CPUs that the process may use."""
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self._jax = _import("jax")

    def offers(self, case: Case) -> Offers:
        """Return a compiled function's call, result waited for."""
        jax = self._jax
        if case.dtype == np.float64:  # would silently become float32
            return
        if case.operation.endswith("_vjp"):  # from x, where ours starts from y: not the same work
            return
        function = getattr(jax.nn, case.operation)
        compiled = jax.jit(lambda x: function(x, axis=-1))
        x = jax.numpy.asarray(case.x)
        yield "new", lambda: jax.block_until_ready(compiled(x))

    def cross_entropy(self, x: Array, target: Array) -> Offers:
        """Return the mean loss of rows, and with its gradient, compiled."""
        jax = self._jax
        logits, labels = jax.numpy.asarray(x), jax.numpy.asarray(target)[:, None]

        def loss(o: Any, t: Any) -> Any:
            return -jax.numpy.take_along_axis(jax.nn.log_softmax(o, axis=-1), t, axis=-1).mean()

        alone, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss))
        yield "", lambda: jax.block_until_ready(alone(logits, labels))
        yield " and grad", lambda: jax.block_until_ready(both(logits, labels))

    def linear(self, hidden: Array, weight: Array, target: Array) -> Offers:
        """Return the loss of an output layer, and with its gradients, compiled."""
        jax = self._jax
        h, w = jax.numpy.asarray(hidden), jax.numpy.asarray(weight)
        labels = jax.numpy.asarray(target)[:, None]

        def loss(h: Any, w: Any) -> Any:
            log_p = jax.nn.log_softmax(h @ w.T, axis=-1)
            return -jax.numpy.take_along_axis(log_p, labels, axis=-1).mean()

        alone, both = jax.jit(loss), jax.jit(jax.value_and_grad(loss, (0, 1)))
        yield "", lambda: jax.block_until_ready(alone(h, w))
        yield " and grad", lambda: jax.block_until_ready(both(h, w))

    def activations(self, x: Array, up: Array, out: Array) -> Offers:
        """Return jax.nn's functions and formulations, compiled."""
        jax = self._jax
        jnp, nn = jax.numpy, jax.nn

        def poly_norm(v: Any, gate: Any) -> Any:
            powers = (v**k for k in (3, 2, 1))
            return sum(
                p / (3 * jnp.sqrt(jnp.square(p).mean(-1, keepdims=True) + 1e-6)) for p in powers
            )

        def rational(v: Any, gate: Any) -> Any:
            above = jnp.array(
                [0.0002751961, 0.0058030346, 0.053266283, 0.24999783, 0.5000008, 3e-7]
            )
            inner = v * (0.10652899 + v * v * 0.00055023313)
            return jnp.polyval(jnp.array(above), v) / (1 + jnp.abs(inner * v))

        functions = {
            "relu": lambda v, gate: nn.relu(v),
            "silu": lambda v, gate: nn.silu(v),
            "gelu": lambda v, gate: nn.gelu(v, approximate=False),
            "gelu_tanh": lambda v, gate: nn.gelu(v, approximate=True),
            "swiglu": lambda v, gate: nn.silu(v) * gate,
            "geglu": lambda v, gate: nn.gelu(v, approximate=False) * gate,
            "poly_norm": poly_norm,
            "rational": rational,
        }
        arrays = jnp.asarray(x), jnp.asarray(up)
        for name, function in functions.items():
            compiled = jax.jit(function)
            yield name, partial(self._wait, compiled, arrays)

    def _wait(self, function: Any, arrays: tuple[Any, ...]) -> None:
        self._jax.block_until_ready(function(*arrays))


PEERS: tuple[Any, ...] = (SciPy(), Torch(), OnnxRuntime(), Jax(), NumPy())
NAMES = tuple(p.name for p in PEERS)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Unavailable(f"{name} is not installed") from None
    except Exception as error:  # a peer that breaks on import must not end the benchmark
        raise Unavailable(f"{name} does not load: {type(error).__name__}: {error}") from None


def optional_module(name: str) -> Any:
    """Return a module that a peer has loaded already."""
    return importlib.import_module(name)


def trim() -> None:
    """Give freed memory back to the system, so that each case starts from the same state."""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
