# SPDX-License-Identifier: Apache-2.0
"""Output layers without logits: against dense float64, golden values, memory, bits, bad input."""

import subprocess
import sys

import lanemax as lm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import BFLOAT16, DTYPES, F16, F32, F64, TIERS, assert_same_bits, running

#: unit roundoff of what a dtype is computed in
UNIT = {np.dtype(d): 2.0**-53 if d == F64 else 2.0**-24 for d in DTYPES}


def draw(rows, depth, classes, dtype=F64, seed=0, lead=None):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(*(lead or (rows,)), depth)).astype(dtype)
    weight = (0.6 * rng.normal(size=(classes, depth))).astype(dtype)
    bias = rng.normal(size=classes).astype(dtype)
    return hidden, weight, bias, rng.integers(0, classes, hidden.shape[:-1])


def dense(hidden, weight, target, bias=None, softcap=None, logz_penalty=0.0, label_smoothing=0.0,
          ignore_index=-100, reduction="mean"):  # fmt: skip
    """Loss, gradients and the size of what they are sums of, in float64 with all logits."""
    h, w, t = (
        np.asarray(a, np.float64 if i < 2 else None) for i, a in enumerate((hidden, weight, target))
    )
    h, t = h.reshape(-1, w.shape[1]), t.reshape(-1)
    counted = t != ignore_index
    safe = np.where(counted, t, 0)
    raw = h @ w.T + (0 if bias is None else np.asarray(bias, np.float64))
    z = raw if softcap is None else softcap * np.tanh(raw / softcap)
    most = z.max(1)
    lse = most + np.log(np.exp(z - most[:, None]).sum(1))
    y = np.zeros_like(z)
    y[np.arange(len(t)), safe] = 1
    y = (1 - label_smoothing) * y + label_smoothing / len(w)
    loss = (y * (lse[:, None] - z)).sum(1) + logz_penalty * lse**2
    p = np.exp(z - lse[:, None])
    g = p * (1 + 2 * logz_penalty * lse[:, None]) - y
    size = p * (1 + 2 * logz_penalty * abs(lse[:, None])) + y
    if softcap is not None:
        slope = 1 - (z / softcap) ** 2
        g, size = g * slope, size * slope
    scale = counted / (counted.sum() if reduction == "mean" else 1)
    g, size = g * scale[:, None], size * scale[:, None]
    loss = np.where(counted, loss, 0)
    total = {"mean": loss.sum() / max(counted.sum(), 1), "sum": loss.sum()}
    value = total.get(reduction, loss.reshape(np.shape(target)))
    grads = (g @ w).reshape(np.shape(hidden)), g.T @ h, g.sum(0)
    sizes = (size @ abs(w)).reshape(np.shape(hidden)), size.T @ abs(h), size.sum(0)
    return value, grads, sizes, (abs(h) @ abs(w).T).max()


OPTIONS = [
    {},
    {"bias": True},
    {"bias": True, "softcap": 2.0},
    {"logz_penalty": 0.1, "reduction": "sum"},
    {"label_smoothing": 0.2, "bias": True},
    {"label_smoothing": 0.1, "logz_penalty": 0.01, "softcap": 5.0, "bias": True},
    {"ignore_index": 3, "reduction": "none"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 5, 3), (17, 8, 40), (40, 300, 9), (300, 33, 700)])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_loss_and_gradients_are_those_of_the_dense_layer(dtype, shape, options):
    hidden, weight, bias, target = draw(*shape, dtype)
    given_options = dict(options)
    if given_options.pop("bias", False):
        given_options["bias"] = bias
    loss, *grads = lm.linear_cross_entropy_and_grad(hidden, weight, target, **given_options)
    assert_same_bits(lm.linear_cross_entropy(hidden, weight, target, **given_options), loss)
    want, wanted, sizes, logit = dense(hidden, weight, target, **given_options)
    # Logits are off by at most (256 + d / 256) u of their terms, here by far less; softmax and its
    # gradient by that much more.
    rough = UNIT[dtype] * 32 * (1 + logit)
    assert np.all(abs(np.asarray(loss, np.float64) - want) <= rough * np.maximum(1, abs(want)))
    assert loss.dtype == (F64 if dtype == F64 else F32)
    if "bias" not in given_options:
        assert grads.pop() is None
    element = {F16: 2.0**-11, BFLOAT16: 2.0**-8}.get(dtype, 0)
    for got, exact, size, operand in zip(
        grads, wanted, sizes, (hidden, weight, bias), strict=False
    ):
        assert got.dtype == dtype and got.shape == operand.shape
        room = rough * 16 * size + element * abs(exact) + (2.0**-25 if dtype == F16 else 0)
        assert np.all(abs(got.astype(np.float64) - exact) <= room)


def series(shape, phase, amplitude, rate):
    """S of spec/heads_attention.md."""
    return (amplitude * np.sin(rate * np.arange(np.prod(shape)) + phase)).reshape(shape)


def test_golden_values_of_the_specification():
    """spec/heads_attention.md 2.6, which prints 12 digits behind the point."""
    e, c, b = (
        series((4, 3), 0.1, 1, 0.9),
        series((6, 3), 0.4, 1.5, 1.3),
        series((6,), 0.2, 0.3, 1.1),
    )
    t = [2, 5, -100, 0]

    def close(got, want):
        assert np.all(abs(np.asarray(got) - want) <= 0.51e-12)

    close(lm.linear_cross_entropy(e, c, t), 2.683381218654869)
    each = lm.linear_cross_entropy(e, c, t, reduction="none")
    close(each, [4.066238354525, 1.963923822415, 0, 2.019981479024])
    lse = [2.719866581143, 2.560852579301, 2.521554836772, 2.928987610129]
    close(lm.linear_logsumexp(e, c), lse)
    close(lm.linear_cross_entropy(e, c, t, bias=b), 2.675640545319411)
    capped = lm.linear_cross_entropy(e, c, t, bias=b, softcap=2, reduction="none")
    close(capped, [3.447604262587, 1.853805761819, 0, 1.648738244228])
    _, dh, _, db = lm.linear_cross_entropy_and_grad(e, c, t, bias=b, softcap=2, logz_penalty=0.01)
    close(dh[0], [-0.339989665587, 0.192396524456, 0.442921355434])
    close(
        db,
        [-0.130742097008, 0.060033142923, -0.125831611978,
         0.071389461803, 0.074470877166, -0.173409043167],
    )  # fmt: skip
    assert not dh[2].any()


def test_confident_rows_keep_their_digits():
    """The loss of a target whose probability is nearly 1, where peers return 0."""
    hidden, weight = np.ones((1, 1), F32), np.zeros((32000, 1), F32)
    weight[7] = 30
    loss, dh, dw, _ = lm.linear_cross_entropy_and_grad(hidden, weight, [7])
    exact = np.log1p(31999 * np.exp(-30.0))
    assert abs(loss - exact) <= 3 * 2.0**-23 * exact
    assert abs(dw[7, 0] + exact) <= 1e-6 * exact
    assert abs(dh[0, 0] + 30 * exact) <= 1e-5 * exact


# ------------------------------------------------------------------------ shapes and types


def test_leading_axes_lists_and_strides():
    hidden, weight, bias, target = draw(0, 6, 11, F32, lead=(2, 3, 4))
    want = lm.linear_cross_entropy_and_grad(
        hidden.reshape(-1, 6), weight, target.reshape(-1), bias=bias, reduction="none"
    )
    got = lm.linear_cross_entropy_and_grad(
        np.asfortranarray(hidden), weight[::-1][::-1], target, bias=bias, reduction="none"
    )
    assert got[0].shape == (2, 3, 4) and got[1].shape == hidden.shape
    for a, b in zip(got, want, strict=True):
        assert_same_bits(a.reshape(b.shape), b)
    wide = np.zeros((11, 20), F32)
    wide[:, ::3][:, :6] = weight
    again = lm.linear_cross_entropy_and_grad(
        hidden[:, ::-1][:, ::-1], wide[:, ::3][:, :6], target, bias=bias, reduction="none"
    )
    for a, b in zip(again, want, strict=True):
        assert_same_bits(a.reshape(b.shape), b)
    row = lm.linear_cross_entropy(hidden[0, 0, 0].tolist(), weight.tolist(), int(target[0, 0, 0]))
    assert row.shape == ()


def test_operands_of_two_types_are_computed_in_the_wider():
    hidden, weight, _, target = draw(5, 4, 9, F32)
    loss, dh, dw, _ = lm.linear_cross_entropy_and_grad(hidden.astype(F16), weight, target)
    assert loss.dtype == F32 and dh.dtype == F16 and dw.dtype == F32
    want = lm.linear_cross_entropy_and_grad(hidden.astype(F16).astype(F32), weight, target)
    assert_same_bits(loss, want[0])
    assert_same_bits(dh, want[1].astype(F16))
    assert lm.linear_cross_entropy(hidden, weight.astype(F64), target).dtype == F64


def test_nothing_to_do():
    hidden, weight, bias, _ = draw(4, 3, 5)
    none = np.zeros((0, 3))
    loss, dh, dw, db = lm.linear_cross_entropy_and_grad(none, weight, [], bias=bias)
    assert np.isnan(loss) and dh.shape == (0, 3) and not dw.any() and not db.any()
    assert lm.linear_cross_entropy(none, weight, [], reduction="sum") == 0
    loss, dh, dw, _ = lm.linear_cross_entropy_and_grad(hidden, weight, np.full(4, -100))
    assert np.isnan(loss) and not dh.any() and not dw.any()
    assert lm.linear_logsumexp(none, weight).shape == (0,)
    assert np.all(lm.linear_logsumexp(hidden, weight[:0]) == -np.inf)
    loss = lm.linear_cross_entropy(np.zeros((2, 0)), np.zeros((5, 0)), [1, 2])
    assert abs(loss - np.log(5)) <= 2.0**-51
    values, indices = lm.linear_topk(hidden, weight, 0)
    assert values.shape == indices.shape == (4, 0)


def test_one_class_has_no_loss():
    loss, dh, dw, _ = lm.linear_cross_entropy_and_grad(np.ones((3, 2)), np.ones((1, 2)), [0, 0, 0])
    assert loss == 0 and not dh.any() and not dw.any()


def test_ignored_rows_leak_nothing():
    hidden, weight, bias, target = draw(300, 7, 600, F32)
    ignored = np.arange(300) % 4 == 1
    target[ignored] = -100
    clean = lm.linear_cross_entropy_and_grad(hidden, weight, target, bias=bias)
    hidden[ignored] = np.nan
    hidden[1] = np.inf
    dirty = lm.linear_cross_entropy_and_grad(hidden, weight, target, bias=bias)
    for a, b in zip(clean, dirty, strict=True):
        assert_same_bits(a, b)
    assert not clean[1][ignored].any()


def test_masked_classes_have_no_part():
    hidden, weight, bias, target = draw(20, 5, 400)
    bias[::2] = -np.inf
    target = target // 2 * 2 + 1
    loss, dh, dw, db = lm.linear_cross_entropy_and_grad(hidden, weight, target, bias=bias)
    kept = lm.linear_cross_entropy_and_grad(hidden, weight[1::2], target // 2, bias=bias[1::2])
    assert abs(loss - kept[0]) <= 2.0**-50 * loss
    assert not dw[::2].any() and not db[::2].any() and np.isfinite(dh).all()
    assert lm.linear_cross_entropy(hidden, weight, np.zeros(20, int), bias=bias) == np.inf


# ------------------------------------------------------------------------ the bias's own type


ZEROS = [(np.zeros((1, 4), d), np.zeros((3, 4), d)) for d in DTYPES]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bias_dtype", DTYPES, ids=str)
def test_bias_of_any_type_is_not_narrowed(bias_dtype, dtype):
    """It enters the logits as float32, with float64 operands as float64; dbias is of its type."""
    real = F64 if dtype == F64 else F32
    hidden, weight, _, target = draw(9, 6, 700, dtype)
    bias = (8 + np.random.default_rng(1).normal(size=700)).astype(bias_dtype)
    wide = bias.astype(real)
    call = lm.linear_cross_entropy_and_grad
    loss, dh, dw, db = call(hidden, weight, target, bias=bias)
    assert db.dtype == bias_dtype and dh.dtype == dw.dtype == dtype
    want = call(hidden, weight, target, bias=wide)
    for a, b in zip((loss, dh, dw), want, strict=False):
        assert_same_bits(a, b)
    # the sums as they are, for operands in float64 have the same logits and no rounding after
    sums = call(hidden.astype(real), weight.astype(real), target, bias=wide.astype(F64))[3]
    assert_same_bits(
        db, sums.astype(bias_dtype if db.dtype.itemsize > 2 else F32).astype(bias_dtype)
    )
    assert_same_bits(lm.linear_cross_entropy(hidden, weight, target, bias=bias), loss)
    assert_same_bits(
        lm.linear_logsumexp(hidden, weight, bias=bias),
        lm.linear_logsumexp(hidden, weight, bias=wide),
    )
    assert lm._linear._Layer(hidden, weight, bias).added is bias  # converted by the library alone
    got, expected = (lm.linear_topk(hidden, weight, 5, bias=b) for b in (bias, wide))
    for a, b in zip(got, expected, strict=True):
        assert_same_bits(a, b)


@pytest.mark.parametrize(("hidden", "weight"), ZEROS, ids=map(str, DTYPES))
def test_digits_of_the_bias_decide(hidden, weight):
    """Biases that are equal, or infinite, in 16 bits."""
    bias = np.array([2001, 2003, 0], F32)
    for call in (lm.linear_cross_entropy, lm.linear_cross_entropy_and_grad):
        found = call(hidden, weight, [0], bias=bias)
        loss = found[0] if isinstance(found, tuple) else found
        assert abs(loss - 2.1269280110429727) <= 2.0**-23 * 2.2
    lse = lm.linear_logsumexp(hidden, weight, bias=bias)
    assert abs(lse - 2003.1269280110429727) <= 2.0**-23 * 2004
    assert lm.linear_topk(hidden, weight, 1, bias=[10.01, 10.02, 10.03])[1] == 2


def test_bias_beyond_the_range_of_hidden():
    hidden, weight = np.zeros((1, 4), F16), np.zeros((2, 4), F16)
    loss, _, _, dbias = lm.linear_cross_entropy_and_grad(hidden, weight, [0], bias=[70000, 0])
    assert loss == 0 and dbias.dtype == F64 and not dbias.any()
    assert lm.linear_cross_entropy(hidden, weight, [0], bias=[70000, 0]) == 0
    assert lm.linear_logsumexp(hidden, weight, bias=[70000, 0]) == 70000
    assert lm.linear_topk(hidden, weight, 1, bias=[70000, 0])[1] == 0


class OnlyDLPack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_bias_and_row_weight_come_in_any_container():
    hidden, weight, bias, target = draw(6, 5, 9, F32)
    row_weight = np.arange(6, dtype=F32)
    call = lm.linear_cross_entropy_and_grad
    want = call(hidden, weight, target, bias=bias, row_weight=row_weight)
    for change in (
        OnlyDLPack,
        lambda x: x.astype(">f4"),
        lambda x: np.repeat(x, 2)[::2],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(F32),
    ):
        got = call(hidden, weight, target, bias=change(bias), row_weight=change(row_weight))
        for a, b in zip(got, want, strict=True):
            assert_same_bits(a, b)
    got = call(hidden, weight, target, bias=bias.tolist(), row_weight=row_weight.tolist())
    assert got[3].dtype == F64
    for a, b in zip(got[:3], want, strict=False):
        assert_same_bits(a, b)


def test_softcap_turns_a_mask_into_the_cap():
    """As documented: -inf becomes -cap, which has a part in the sum."""
    hidden, weight = np.zeros((1, 2)), np.zeros((3, 2))
    loss = lm.linear_cross_entropy(hidden, weight, [0], bias=[0, 0, -np.inf], softcap=2.0)
    assert abs(loss - np.log(2 + np.exp(-2.0))) <= 2.0**-51


# ------------------------------------------------------------------------ the caller's memory


def gradients_at(layout, operands):
    """Arrays for gradients, not 0, in a layout."""
    rng = np.random.default_rng(7)
    found = []
    for x in operands:
        values = (rng.normal(size=x.shape) / 4).astype(x.dtype)
        if layout == "gaps":
            values = np.pad(values, [(0, 0)] * (x.ndim - 1) + [(0, 3)])[..., : x.shape[-1]]
        elif layout == "steps":
            values = np.repeat(values, 2, axis=-1)[..., ::2]
        elif layout == "reversed":
            values = np.ascontiguousarray(values[::-1])[::-1]
        elif layout == "columns":
            values = np.asfortranarray(values)
        found.append(values)
    return found


@pytest.mark.parametrize("layout", ["rows", "gaps", "steps", "reversed", "columns"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_in_memory_of_the_caller(dtype, layout):
    hidden, weight, bias, target = draw(0, 20, 300, dtype, lead=(3, 5))
    target[1, 2] = -100
    given = (hidden, weight, target)
    call = lm.linear_cross_entropy_and_grad
    want = call(*given, bias=bias, softcap=4.0)
    for count in (2, 3):
        out = tuple(gradients_at(layout, (hidden, weight, bias)[:count]))
        got = call(*given, bias=bias, softcap=4.0, grad_out=out)
        assert all(a is b for a, b in zip(got[1:], out, strict=False))
        for a, b in zip(got, want, strict=True):
            assert_same_bits(a, b)
    some = np.empty_like(weight)
    got = call(*given, softcap=4.0, grad_out=(None, some, None))
    assert got[2] is some and got[3] is None
    for a, b in zip(got[:3], call(*given, softcap=4.0), strict=False):
        assert_same_bits(a, b)


@pytest.mark.parametrize("layout", ["rows", "gaps", "steps", "reversed", "columns"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_gradients_are_added_to_what_is_there(dtype, layout):
    """One addition in the compute type of what the call computes, and one rounding."""
    real = F64 if dtype == F64 else F32
    for rows in (15, 600):  # of which 600 are more than are worked on together
        hidden, weight, bias, target = draw(rows, 20, 300, dtype)
        target[3] = -100
        operands = hidden, weight, bias
        call = lm.linear_cross_entropy_and_grad
        wide = call(hidden.astype(real), weight.astype(real), target, bias=bias.astype(real))
        out = gradients_at(layout, operands)
        before = [x.copy() for x in out]
        got = call(hidden, weight, target, bias=bias, grad_out=out, accumulate=True)
        assert_same_bits(got[0], wide[0])
        for a, b, g in zip(got[1:], before, wide[1:], strict=True):
            assert_same_bits(a, (b.astype(real) + g).astype(dtype))
        zeros = [np.zeros_like(x) for x in operands]
        onto = call(hidden, weight, target, bias=bias, grad_out=zeros, accumulate=True)
        fresh = call(hidden, weight, target, bias=bias)
        for a, b in zip(onto, fresh, strict=True):
            assert_same_bits(a + a.dtype.type(0), b + b.dtype.type(0))
        new = call(hidden, weight, target, bias=bias, grad_out=(None, None), accumulate=True)
        for a, b in zip(new, onto, strict=True):
            assert_same_bits(a, b)


def test_gradients_of_two_types_are_added_in_the_wider():
    hidden, weight, bias, target = draw(7, 6, 50, F32)
    hidden = hidden.astype(F16)
    operands = hidden, weight, bias.astype(F64)
    wide = lm.linear_cross_entropy_and_grad(hidden.astype(F32), weight, target, bias=operands[2])
    out = gradients_at("rows", operands)
    before = [x.copy() for x in out]
    got = lm.linear_cross_entropy_and_grad(
        hidden, weight, target, bias=operands[2], grad_out=out, accumulate=True
    )
    assert all(a is b for a, b in zip(got[1:], out, strict=True))
    for a, b, g in zip(out, before, wide[1:], strict=True):
        assert_same_bits(a, (b.astype(np.result_type(F32, b.dtype)) + g).astype(b.dtype))


def test_gradients_may_be_columns_of_one_array():
    """[dweight | dbias], whose memory interleaves without being shared."""
    hidden, weight, bias, target = draw(7, 6, 50, F32)
    whole = np.zeros((50, 7), F32)
    lm.linear_cross_entropy_and_grad(
        hidden, weight, target, bias=bias, grad_out=(None, whole[:, :6], whole[:, 6])
    )
    _, _, dw, db = lm.linear_cross_entropy_and_grad(hidden, weight, target, bias=bias)
    assert_same_bits(whole[:, :6], dw)
    assert_same_bits(whole[:, 6], db)
    both = np.zeros((7, 12), F32)
    both[:, 6:] = hidden
    _, dh, _, _ = lm.linear_cross_entropy_and_grad(
        both[:, 6:], weight, target, grad_out=(both[:, :6], None)
    )
    assert_same_bits(dh, lm.linear_cross_entropy_and_grad(hidden, weight, target)[1])


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (TypeError, r"grad_out: expected a tuple of arrays", lambda h, w, b: w),
        (TypeError, r"grad_out: expected .*, got 1 of them", lambda h, w, b: (h,)),
        (TypeError, r"grad_out\[0\]: expected a numpy.ndarray", lambda h, w, b: ([1.0], w)),
        (TypeError, r"grad_out\[1\]: expected dtype float64", lambda h, w, b: (h, w.astype(F32))),
        (ValueError, r"grad_out\[0\]: expected shape \(2, 3\)", lambda h, w, b: (h.T, w)),
        (ValueError, r"grad_out\[2\]: expected shape \(5,\)", lambda h, w, b: (h, w, b[1:])),
        (ValueError, r"grad_out\[2\]: the array is read-only",
         lambda h, w, b: (h, w, np.broadcast_to(0.0, 5))),
        (ValueError, r"grad_out\[1\]: shares memory with grad_out\[0\]",
         lambda h, w, b: (w[:2], w, b)),
        (ValueError, r"grad_out\[0\]: shares memory with hidden", lambda h, w, b: ("hidden", w)),
        (ValueError, r"grad_out\[2\]: shares memory with row_weight",
         lambda h, w, b: (h, w, "row_weight")),
    ],
)  # fmt: skip
def test_bad_grad_out_is_named_and_nothing_is_written(error, words, change):
    hidden, weight, bias, target = draw(2, 3, 5)
    memory = np.ones(8)
    shared = {"hidden": hidden, "row_weight": memory[:5]}
    out = [np.full(x.shape, 7.0) for x in (hidden, weight, bias)]
    given = change(*out)
    if isinstance(given, tuple):
        given = tuple(shared.get(x, x) if isinstance(x, str) else x for x in given)
    before = hidden.copy()
    with pytest.raises(error, match=words):
        lm.linear_cross_entropy_and_grad(
            hidden, weight, target, bias=bias, row_weight=memory[3:5], grad_out=given,
            accumulate=True,
        )  # fmt: skip
    assert all((x == 7).all() for x in out) and (memory == 1).all() and (hidden == before).all()


def test_what_accumulate_needs():
    hidden, weight, bias, target = draw(2, 3, 5)
    with pytest.raises(ValueError, match=r"accumulate: needs grad_out"):
        lm.linear_cross_entropy_and_grad(hidden, weight, target, accumulate=True)
    with pytest.raises(ValueError, match=r"grad_out\[2\]: expected None, for there is no bias"):
        lm.linear_cross_entropy_and_grad(hidden, weight, target, grad_out=(None, None, bias))
    out = np.ones_like(hidden), np.ones_like(weight)
    with pytest.raises(IndexError, match=r"target: row 1 holds 5"):
        lm.linear_cross_entropy_and_grad(hidden, weight, [0, 5], grad_out=out)
    assert all((x == 1).all() for x in out)


# ------------------------------------------------------------------------ weights of rows


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weight_dtype", DTYPES, ids=str)
def test_rows_are_weighted(weight_dtype, options):
    """Each row's loss and gradients times its weight; the mean is over the weights that count."""
    hidden, weight, bias, target = draw(0, 8, 60, F64, lead=(4, 10))
    target[2, 3:6] = 3 if "ignore_index" in options else -100
    rng = np.random.default_rng(4)
    row_weight = rng.integers(0, 6, target.shape).astype(weight_dtype) / weight_dtype.type(2)
    given_options = {**options, **({"bias": bias} if options.get("bias") else {})}
    each = {**given_options, "reduction": "none"}
    counted = target != options.get("ignore_index", -100)
    factor = row_weight.astype(F64) * counted
    losses = lm.linear_cross_entropy(hidden, weight, target, **each) * factor
    grads = [0.0, 0.0, 0.0]
    for i in np.ndindex(target.shape):
        if not counted[i]:
            continue
        part = lm.linear_cross_entropy_and_grad(hidden[i][None], weight, target[i][None], **each)
        own = np.zeros_like(hidden)
        own[i] = part[1][0]
        for k, g in enumerate((own, part[2], part[3])):
            grads[k] = grads[k] + (0 if g is None else factor[i] * g)
    reduction = options.get("reduction", "mean")
    scale = factor.sum() if reduction == "mean" else 1.0
    want = losses if reduction == "none" else losses.sum() / scale
    loss, *found = lm.linear_cross_entropy_and_grad(
        hidden, weight, target, row_weight=row_weight, **given_options
    )
    assert_same_bits(
        lm.linear_cross_entropy(hidden, weight, target, row_weight=row_weight, **given_options),
        loss,
    )
    assert np.all(abs(loss - want) <= 1e-14 * abs(want))
    for a, b in zip(found, grads, strict=True):
        if a is not None:
            assert np.all(abs(a - b / scale) <= 1e-13 * abs(np.asarray(b)).max() / scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_of_1_change_no_bit(dtype):
    hidden, weight, bias, target = draw(30, 8, 300, dtype)
    target[7] = -100
    for reduction in ("mean", "sum", "none"):
        options = {"bias": bias, "reduction": reduction, "label_smoothing": 0.1}
        want = lm.linear_cross_entropy_and_grad(hidden, weight, target, **options)
        got = lm.linear_cross_entropy_and_grad(
            hidden, weight, target, row_weight=np.ones(30, F16), **options
        )
        for a, b in zip(got, want, strict=True):
            assert_same_bits(a, b)


def test_weights_that_sum_to_0_have_no_mean():
    hidden, weight, _, target = draw(3, 4, 5)
    call = lm.linear_cross_entropy_and_grad
    loss, dh, dw, _ = call(hidden, weight, target, row_weight=np.zeros(3))
    assert np.isnan(loss) and np.isnan(dh).all() and np.isnan(dw).all()
    loss, dh, dw, _ = call(hidden, weight, target, row_weight=np.zeros(3), reduction="sum")
    assert loss == 0 and not dh.any() and not dw.any()


# ------------------------------------------------------------------------ bits


def everything(hidden, weight, bias, target):
    return (
        *lm.linear_cross_entropy_and_grad(hidden, weight, target, bias=bias, softcap=9.0),
        *lm.linear_cross_entropy_and_grad(
            hidden, weight, target, bias=bias, filter_eps=0.01, return_dropped=True
        ),
        lm.linear_logsumexp(hidden, weight, bias=bias),
        *lm.linear_topk(hidden, weight, 5, bias=bias),
        *lm.linear_cross_entropy_and_grad(
            hidden, weight, target, bias=bias.astype(F32), row_weight=np.arange(len(hidden)) % 3,
            grad_out=gradients_at("rows", (hidden, weight, bias.astype(F32))), accumulate=True,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [F32, F64, F16], ids=str)
def test_tiers_and_threads_agree(dtype):
    hidden, weight, bias, target = draw(270, 20, 1100, dtype)
    target[5] = -100
    want = everything(hidden, weight, bias, target)
    for tier in TIERS:
        for threads in (1, 3):
            with running(tier, threads):
                got = everything(hidden, weight, bias, target)
            for a, b in zip(got, want, strict=True):
                assert_same_bits(a, b, f"{tier}, {threads} threads")


def test_row_does_not_depend_on_the_others():
    hidden, weight, _, target = draw(600, 24, 700, F32)
    loss, dh, _, _ = lm.linear_cross_entropy_and_grad(hidden, weight, target, reduction="none")
    for some in (slice(0, 1), slice(5, 300), slice(255, 258), slice(599, 600)):
        part = lm.linear_cross_entropy_and_grad(
            hidden[some], weight, target[some], reduction="none"
        )
        assert_same_bits(part[0], loss[some])
        assert_same_bits(part[1], dh[some])


# ------------------------------------------------------------------------ filter


@pytest.mark.parametrize("rows", [40, 700])
def test_filter_drops_what_it_says(rows):
    """Confident rows, whose classes are grouped: most tiles hold nothing."""
    rng = np.random.default_rng(3)
    classes, depth = 2000, 12
    hidden = rng.normal(size=(rows, depth))
    weight = rng.normal(size=(classes, depth))
    hidden[:, 0], weight[:, 0] = 6, np.where(np.arange(classes) // 256 == 3, 3.0, -1.0)
    target = rng.integers(768, 1024, rows)
    exact = lm.linear_cross_entropy_and_grad(hidden, weight, target, reduction="sum")
    eps = 1e-4
    loss, dh, dw, _, dropped = lm.linear_cross_entropy_and_grad(
        hidden, weight, target, reduction="sum", filter_eps=eps, return_dropped=True
    )
    assert_same_bits(loss, exact[0])
    logits = hidden @ weight.T
    p = np.exp(logits - lm.linear_logsumexp(hidden, weight)[:, None])
    skipped = np.zeros_like(p, bool)
    for i in range(0, rows, 32):
        # groups start anew every 256 rows, of which 32 is a divisor
        for k in range(0, classes, 256):
            tile = np.s_[i : min(i + 32, rows), k : k + 256]
            holds = ((target[tile[0]] >= k) & (target[tile[0]] < k + 256)).any()
            skipped[tile] = not holds and p[tile].max() < eps
    assert 0.5 < skipped.mean() < 1
    lost = (p * skipped).sum(1)
    assert np.all(abs(dropped - lost) <= 1e-12 * lost + 2.0**-60)
    assert np.all(abs(dh - exact[1]) <= (p * skipped) @ abs(weight) + 1e-12)
    assert np.all(abs(dw - exact[2]) <= (p * skipped).T @ abs(hidden) + 1e-12)
    unskipped = skipped.all(0)
    assert not dw[unskipped].any()
    off = lm.linear_cross_entropy_and_grad(
        hidden, weight, target, reduction="sum", filter_eps=0.0, return_dropped=True
    )
    assert not off[-1].any()
    for a, b in zip(off[:3], exact[:3], strict=True):
        assert_same_bits(a, b)


# ------------------------------------------------------------------------ the largest


@given(
    st.integers(1, 5), st.integers(1, 400), st.integers(0, 12), st.integers(0, 2**32 - 1),
    st.booleans(),
)  # fmt: skip
def test_topk_is_a_stable_sort(rows, classes, k, seed, ties):
    k = min(k, classes)
    rng = np.random.default_rng(seed)
    # one feature: logits are exact products
    weight = (
        rng.integers(-3, 4, (classes, 1)).astype(F64) if ties else rng.normal(size=(classes, 1))
    )
    hidden = rng.choice([-1.0, 1.0, 2.0], (rows, 1))
    values, indices = lm.linear_topk(hidden, weight, k)
    logits = hidden @ weight.T
    order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    assert np.array_equal(indices, order)
    assert np.array_equal(values, np.take_along_axis(logits, order, 1))


def test_topk_probabilities():
    hidden, weight, bias, _ = draw(4, 16, 900, F32)
    values, indices = lm.linear_topk(hidden, weight, 900, bias=bias)
    assert np.array_equal(np.sort(indices, axis=1), np.tile(np.arange(900), (4, 1)))
    lse = lm.linear_logsumexp(hidden, weight, bias=bias)
    assert np.all(abs(lse - lm.logsumexp(values, axis=-1)) <= 4 * 2.0**-24 * abs(lse))


# ------------------------------------------------------------------------ memory


MEMORY = """
import resource, sys
import numpy as np
import lanemax as lm
rows, depth, classes, gradient = (int(a) for a in sys.argv[1:])
lm.set_num_threads(2)
rng = np.random.default_rng(0)
hidden = rng.standard_normal((rows, depth), np.float32)
weight = np.ones((classes, depth), np.float32)
weight[:, :8] = rng.standard_normal((classes, 8), np.float32)
target = rng.integers(0, classes, rows)
f = lm.linear_cross_entropy_and_grad if gradient else lm.linear_cross_entropy
f(hidden[:4, :8], weight[:40, :8], target[:4] % 40)
options = {}
if gradient == 2:
    out = np.ones_like(hidden), np.ones_like(weight)
    options = {"grad_out": out, "accumulate": True, "row_weight": np.ones(rows)}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
f(hidden, weight, target, **options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize("classes", [4000, 40000])
@pytest.mark.parametrize("gradient", [0, 1, 2])
def test_memory_does_not_depend_on_the_vocabulary(classes, gradient):
    """512 x 1024 rows: 10 MiB for the loss, 16 MiB beside the gradients, peak resident.

    Gradients that are added to the caller's arrays take those of the rows and of some classes.
    """
    rows, depth = (512, 1024)
    if gradient and classes > 4000:
        rows = 64  # as many tiles, in a tenth of the time
    used = subprocess.run(
        [sys.executable, "-c", MEMORY, *map(str, (rows, depth, classes, gradient))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    gradients = (0, rows + classes, rows + 1024)[gradient] * depth * 4
    assert int(used.stdout) * 1024 <= gradients + (16 if gradient else 10) * 2**20


# ------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("error", "words", "change"),
    [
        (ValueError, r"hidden: .*0-d", {"hidden": 1.0}),
        (ValueError, r"weight: expected shape \(V, d\)", {"weight": np.zeros(3)}),
        (ValueError, r"weight: expected shape \(V, 3\)", {"weight": np.zeros((5, 4))}),
        (ValueError, r"weight: there are no classes", {"weight": np.zeros((0, 3))}),
        (ValueError, r"bias: expected shape \(5,\)", {"bias": np.zeros(4)}),
        (TypeError, r"bias: dtype complex128 is not supported", {"bias": np.zeros(5, complex)}),
        (TypeError, r"bias: a MaskedArray's mask", {"bias": np.ma.zeros(5)}),
        (ValueError, r"row_weight: expected shape \(2,\)", {"row_weight": np.ones(3)}),
        (
            ValueError,
            r"row_weight: must be finite and 0 or more, got -1.0 in row 1",
            {"row_weight": [0, -1]},
        ),
        (ValueError, r"row_weight: must be finite", {"row_weight": [np.nan, 1]}),
        (ValueError, r"row_weight: must be finite", {"row_weight": [1, np.inf]}),
        (TypeError, r"row_weight: dtype complex128", {"row_weight": np.ones(2, complex)}),
        (TypeError, r"row_weight: a MaskedArray's mask", {"row_weight": np.ma.ones(2)}),
        (ValueError, r"target: expected shape \(2,\)", {"target": [1, 2, 3]}),
        (TypeError, r"target: expected integers", {"target": [0.5, 1.0]}),
        (IndexError, r"target: row 1 holds 5; expected 0 to 4", {"target": [0, 5]}),
        (IndexError, r"target: row 0 holds -1", {"target": [-1, 5]}),
        (ValueError, r"reduction", {"reduction": "median"}),
        (ValueError, r"softcap: must be positive", {"softcap": 0.0}),
        (ValueError, r"label_smoothing: must be from 0 to 1", {"label_smoothing": 1.5}),
        (ValueError, r"logz_penalty: must be 0 or more", {"logz_penalty": -1}),
        (TypeError, r"logz_penalty: expected a number", {"logz_penalty": None}),
        (TypeError, r"ignore_index", {"ignore_index": 1.5}),
        (TypeError, r"hidden", {"hidden": np.zeros((2, 3), complex)}),
    ],
)
def test_errors_name_the_argument(error, words, change):
    good = {"hidden": np.zeros((2, 3)), "weight": np.zeros((5, 3)), "target": [0, 1]}
    arguments = good | change
    operands = [arguments.pop(name) for name in good]
    for function in (lm.linear_cross_entropy, lm.linear_cross_entropy_and_grad):
        with pytest.raises(error, match=words):
            function(*operands, **arguments)


def test_errors_of_the_others():
    hidden, weight = np.zeros((2, 3)), np.zeros((5, 3))
    with pytest.raises(ValueError, match=r"k: must be from 0 to the number of classes, 5, got 6"):
        lm.linear_topk(hidden, weight, 6)
    with pytest.raises(ValueError, match=r"k: must be"):
        lm.linear_topk(hidden, weight, -1)
    with pytest.raises(TypeError, match=r"k: expected an integer, got float"):
        lm.linear_topk(hidden, weight, 1.0)
    with pytest.raises(ValueError, match=r"filter_eps: must be from 0 to 1"):
        lm.linear_cross_entropy_and_grad(hidden, weight, [0, 1], filter_eps=2)
    with pytest.raises(ValueError, match=r"weight: expected shape \(V, 3\)"):
        lm.linear_logsumexp(hidden, weight[:, :2])
