# SPDX-License-Identifier: Apache-2.0
"""The bits of every function are those of the committed hashes, on every tier."""

import hashlib
import json
import pathlib

import golden_inputs
import numpy as np
import pytest
import support
from golden_inputs import DIGESTS

FILE = pathlib.Path(__file__).parent.parent / "golden.json"


@pytest.fixture(scope="module")
def golden():
    if not FILE.exists():
        pytest.fail(f"{FILE} is missing: run tests/python/make_golden.py")
    return json.loads(FILE.read_text())


@pytest.mark.parametrize("name", DIGESTS)
def test_hash_is_the_committed_one(name, dtype, tier, threads, golden):
    if threads == 2 and tier != support.TIERS[-1]:
        return  # every tier on one thread, the best one on two: test_bits.py has the whole product
    assert DIGESTS[name](dtype) == golden[name][str(dtype)]


def test_every_function_and_type_has_a_hash(golden):
    assert golden.keys() == DIGESTS.keys()
    for hashes in golden.values():
        assert hashes.keys() >= {str(d) for d in support.DTYPES}


def test_inputs_are_the_ones_that_were_hashed():
    """A hash of inputs, so that a change of NumPy shows here and not as wrong bits."""
    words = golden_inputs.Words(1)
    sha = hashlib.sha256()
    for dtype in (support.F64, support.F32, support.F16):
        for a in (
            golden_inputs.logits(words, 6, 50, dtype),
            golden_inputs.special(words, 20, dtype),
            golden_inputs.probabilities(words, 3, 40, dtype),
            golden_inputs.log_probabilities(words, 3, 40, dtype),
        ):
            # the sign and payload of NaN are not part of it
            b = np.where(support.is_nan(a), np.zeros((), a.dtype), a)
            sha.update(support.bits(b).astype(f"<u{b.dtype.itemsize}").tobytes())
    assert sha.hexdigest() == "8c4e47178708eee2ef1a8c759cb0a286284fb7cdb19e9f24863d5cd3fffa9f66"
