# SPDX-License-Identifier: Apache-2.0
"""The speed that lanemax sets out to reach, as data: how long against whom, and where.

Figures are for float32 unless a goal names a type, for the AVX-512 tier, and for the same number of
threads for everyone. The AVX2 tier is allowed `AVX2_CACHED` times as long where the arrays stay in
cache and `AVX2_STREAMED` times elsewhere; no goals are set for the other tiers.
"""

from __future__ import annotations

from dataclasses import dataclass

from .timing import FASTEST, PRODUCT

AVX2_CACHED = 1.6
AVX2_STREAMED = 1.15

#: Measured besides the functions, each with goals of its own.
EXPERIMENTS = (
    "call", "bytes", "axis", "threads", "losses", "activations", "linear", "spherical", "fourier",
)  # fmt: skip

#: Shapes whose input and output stay in the caches of the reference machine.
CACHED = frozenset({(1, 10**4), (1, 10**5), (1, 10**6), (4096, 128), (4096, 1024)})

ONE_ROW = tuple((1, 10**n) for n in range(4, 9))
MANY_ROWS = ((4096, 128), (4096, 1024), (512, 32768), (128, 128256), (64, 262144))
SHAPES = (*ONE_ROW, *MANY_ROWS)

#: Left out unless --full is given: 400 MB for each array.
VERY_LONG = (1, 10**8)

#: From this size on, a fresh output array costs more than the computation.
LARGE_RESULT = 64 * 2**20


@dataclass(frozen=True)
class Goal:
    """At most `ratio` times the time of `against`.

    Attributes
    ----------
    operation : str
        A function's name, or the name of an experiment of the benchmark.
    shape : tuple of int
        Rows and columns.
    ours : str
        ``"out"`` or ``"new"``, as the contenders are called, or another contender's name.
    against : tuple of str
        Contenders; several mean the sum of their times. Empty: `ratio` is in seconds.
    ratio : float
        The largest that reaches the goal.
    note : str
        What the reader has to know.
    dtype : str
        The element type of both.
    """

    operation: str
    shape: tuple[int, ...]
    ours: str
    against: tuple[str, ...]
    ratio: float
    note: str = ""
    dtype: str = "float32"

    def for_tier(self, tier: str) -> float | None:
        """Return the figure for `tier`, or None where no goal is set."""
        if tier == "avx512" or self.operation in EXPERIMENTS:
            return self.ratio  # an experiment compares a tier with itself
        if tier == "avx2":
            return self.ratio * (AVX2_CACHED if self.shape in CACHED else AVX2_STREAMED)
        return None


#: out= given, against torch writing into a kept array.
AGAINST_TORCH = {
    (1, 10**4): 0.30,
    (1, 10**5): 0.30,
    (1, 10**6): 0.30,
    (1, 10**7): 0.42,
    (1, 10**8): 0.42,
    (4096, 128): 0.35,
    (4096, 1024): 0.28,
    (512, 32768): 0.42,
    (128, 128256): 0.46,
    (64, 262144): 0.42,
}

COPY_NOTE = "NumPy's copy writes through the cache; the goal means a copy that does not"


def _family() -> tuple[Goal, ...]:
    goals: list[Goal] = []
    for operation in ("softmax", "log_softmax", "logsumexp"):
        for shape in SHAPES:
            streamed = shape not in CACHED
            goals.append(Goal(operation, shape, "out", ("torch out",), AGAINST_TORCH[shape]))
            if operation == "logsumexp":
                if streamed:
                    goals.append(Goal(operation, shape, "out", ("read",), 1.1))
                continue
            if shape[0] == 1 and not streamed:
                goals.append(Goal(operation, shape, "out", ("onnxruntime out",), 0.6))
            if shape[0] == 1 and streamed:
                goals.append(Goal(operation, shape, "out", ("read", "copy"), 1.0, COPY_NOTE))
            goals.append(Goal(operation, shape, "new", (FASTEST,), 1.0))
            if shape[0] * shape[1] * 4 >= LARGE_RESULT:
                goals.append(Goal(operation, shape, "new", ("torch new",), 0.5))
    return tuple(goals)


FAMILY = _family()

#: Ten elements through Python: seconds, on the reference machine.
CALL = (
    Goal("call", (10,), "softmax out", (), 650e-9),
    Goal("call", (10,), "softmax new", (), 850e-9),
)

#: Half as long as float32 for half the bytes.
HALVES = tuple(
    Goal("bytes", shape, name, ("float32",), 0.5, "half the bytes")
    for shape in ((512, 32768), (1, 10**7))
    for name in ("float16", "bfloat16")
)

AXIS = tuple(
    Goal("axis", shape, "axis 0", ("contiguous",), 1.3) for shape in ((4096, 1024), (32768, 512))
)

THREADS_CACHED = tuple(
    Goal("threads", shape, "2 threads", ("1 thread",), 1 / 1.8, "1.8 times as fast")
    for shape in ((1, 10**6), (4096, 128))
)
THREADS_STREAMED = (
    Goal("threads", (512, 32768), "2 threads", ("copy by 2 threads",), 1.0, COPY_NOTE),
    Goal(
        "threads",
        (1, 10**7),
        "2 threads",
        ("read by 2 threads", "copy by 2 threads"),
        1.0,
        COPY_NOTE,
    ),
)
THREADS = (*THREADS_CACHED, *THREADS_STREAMED)

#: Losses without a goal against PyTorch are held to what the memory costs.
SPHERICAL = (
    "z_loss",
    "spherical_softmax_loss",
    "taylor_softmax_loss",
    "one_hot_mse_loss",
)
CACHED_LOSS, STREAMED_LOSS = (4096, 1024), (512, 32768)
LOSSES = (
    Goal("losses", CACHED_LOSS, "cross_entropy", ("torch",), 0.2),
    Goal("losses", CACHED_LOSS, "cross_entropy_and_grad", ("torch and grad",), 0.09),
    Goal("losses", STREAMED_LOSS, "cross_entropy", ("torch",), 0.08),
    Goal("losses", STREAMED_LOSS, "cross_entropy", ("read",), 1.1),
    Goal("losses", STREAMED_LOSS, "cross_entropy_and_grad", ("torch and grad",), 0.06),
    Goal("losses", STREAMED_LOSS, "cross_entropy_and_grad", ("read", "copy"), 1.0, COPY_NOTE),
    *(Goal("losses", STREAMED_LOSS, name, ("read",), 1.1) for name in SPHERICAL),
    *(
        Goal("losses", STREAMED_LOSS, f"{name}_and_grad", ("read", "copy"), 1.05, COPY_NOTE)
        for name in SPHERICAL
    ),
)

#: Values at the speed of a copy, which moves two arrays; what moves more may take 1.3 times as long
#: for each byte: a gradient moves three, a gate three, and the gradient of a gate five.
STREAMED_ACTIVATION = (4096, 4096)
VALUE, GRADIENT = 1.05, 1.3 * 3 / 2
GATE, GATE_GRADIENT = 1.3 * 3 / 2, 1.3 * 5 / 2

#: Timed in 16 bits too, where a byte may take as long as in float32.
HALVED = ("silu", "gelu", "poly_norm")
ACTIVATIONS = tuple(
    Goal("activations", STREAMED_ACTIVATION, name, ("copy",), ratio, COPY_NOTE, dtype)
    for dtype, names, value, gradient in (
        (
            "float32",
            ("poly_relu", "silu", "gelu", "crrelu", "poly_norm", "rational"),
            VALUE,
            GRADIENT,
        ),
        ("float32", ("swiglu", "geglu", "reglu", "poly_norm_glu"), GATE, GATE_GRADIENT),
        ("float16", HALVED, VALUE, GRADIENT),
        ("bfloat16", HALVED, VALUE, GRADIENT),
    )
    for activation in names
    for name, ratio in ((activation, value), (f"{activation}_vjp", gradient))
)

#: An output layer costs what its matrix products cost: one for the loss, three with the gradients.
#: Rows, features, classes.
VOCABULARIES = ((512, 1024, 32000), (512, 1024, 128256))
LINEAR = tuple(
    goal
    for shape in VOCABULARIES
    for goal in (
        Goal("linear", shape, "linear_cross_entropy", (PRODUCT,), 1.05, "one product"),
        Goal("linear", shape, "linear_cross_entropy_and_grad", (PRODUCT,), 3.24, "three products"),
        Goal("linear", shape, "linear_cross_entropy_and_grad", ("torch and grad",), 0.82),
    )
)

#: A step of the factored layer: rows and features; its cost does not depend on the classes.
STEP = (128, 512)
FEW, MANY, PAPERS = (f"step, {classes:,} classes" for classes in (10**4, 10**6, 793_471))
DENSE = "dense step, 793,471 classes"
SPHERICAL_STEPS = (
    Goal("spherical", STEP, MANY, (FEW,), 1.1, "whatever the classes"),
    Goal("spherical", STEP, PAPERS, (DENSE,), 1 / 40, "the papers: 40 times as fast"),
)

#: Rows and frequencies of a Fourier head.
HEAD = (64, 550)
BINNED, FINE = (f"cross-entropy and grad, {m:,} bins" for m in (4096, 65_536))
LOGITS, DENSE_HEAD = "logits of 4,096 bins", "linear head, 384 x 4,096"
FOURIER = (
    Goal("fourier", HEAD, FINE, (BINNED,), 1.2, "whatever the bins"),
    Goal("fourier", HEAD, LOGITS, (DENSE_HEAD,), 1.0, "no more than a linear head"),
    Goal("fourier", HEAD, BINNED, ("torch reference and grad",), 1 / 50, "all bins, in memory"),
)

#: Goals that need what no installed package has; (what, goal, where it is measured instead).
ELSEWHERE = (
    (
        "peak memory of linear_cross_entropy, whatever the vocabulary",
        "<= 10 MiB, with gradients 16 MiB",
        "tests/python/test_linear.py",
    ),
    (
        "two-pass against the project's own three-pass forms, 1e7 and 1e8",
        ">= 1.28 x faster (avx512), 1.18 x (avx2)",
        "bench/c and bench/paper_figure.py",
    ),
)
