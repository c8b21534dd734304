# SPDX-License-Identifier: Apache-2.0
"""Write the C source of the extension module from the public header.

usage: make_cdef.py PREPROCESSED OUTPUT

PREPROCESSED is include/lanemax/lanemax.h after the C preprocessor, so that the registry is
expanded; what it includes (the standard headers) is dropped by its line markers.  The compiler
checks every declaration against the real header: cffi's API mode.
"""

import re
import sys

from cffi import FFI


def declarations(preprocessed: str) -> str:
    """The lines that come from lanemax's own headers, without attributes."""
    kept: list[str] = []
    ours = False
    for line in preprocessed.splitlines():
        marker = re.match(r'#\s*(?:line\s+)?\d+\s+"(.*?)"', line)
        if marker:
            ours = "lanemax" in re.split(r"[\\/]+", marker.group(1))[-2:-1]
        elif ours and not line.startswith("#"):
            kept.append(line)
    text = "\n".join(kept)
    text = re.sub(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|__declspec\([^()]*\)", "", text)
    return re.sub(r"\n\s*\n+", "\n", text)


# Rows that follow each other in memory, with as few arguments as that takes: each costs cffi 20 ns.
FEW_ARGUMENTS = """
static lmx_status lmx_contiguous(lmx_ctx *ctx, int op_and_dtype, size_t size, size_t cols,
                                 const void *a, const void *b, void *out)
{
    const lmx_row_code op = (lmx_row_code)(op_and_dtype >> 2);
    const lmx_row_info *info = lmx_row_op_info(op);
    const lmx_shape shape = { cols != 0 ? size / cols : 0, cols, 1 };
    const lmx_strides row = { (ptrdiff_t)cols, 1, 0 }, value = { 1, 0, 0 };
    return lmx_row_op(ctx, op, (lmx_dtype)(op_and_dtype & 3), &shape, a, &row, b, &row, NULL, out,
                      info->result == LMX_RESULT_ROW ? &row : &value);
}

static lmx_status lmx_contiguous1(lmx_ctx *ctx, int op_and_dtype, size_t size, size_t cols,
                                  const void *a, void *out)
{
    return lmx_contiguous(ctx, op_and_dtype, size, cols, a, NULL, out);
}

/* types: lmx_dtype, from bit 2 on lmx_int, from bit 5 on lmx_reduction */
static lmx_status lmx_contiguous_loss(lmx_ctx *ctx, int op, int types, size_t rows, size_t cols,
                                      const void *logits, const void *target, void *loss,
                                      void *grad)
{
    const lmx_shape shape = { rows, cols, 1 };
    const lmx_strides row = { (ptrdiff_t)cols, 1, 0 };
    lmx_loss_options options;
    const lmx_status status = lmx_loss_options_init((lmx_loss_code)op, &options);
    if (status != LMX_OK)
        return status;
    options.reduction = (lmx_reduction)(types >> 5);
    return lmx_loss(ctx, (lmx_loss_code)op, (lmx_dtype)(types & 3), &shape, logits, &row, target,
                    (lmx_int)(types >> 2 & 7), 1, &options, loss, 1, grad, &row);
}
"""
FEW_ARGUMENTS_CDEF = """
lmx_status lmx_contiguous(lmx_ctx *ctx, int op_and_dtype, size_t size, size_t cols,
                          const void *a, const void *b, void *out);
lmx_status lmx_contiguous1(lmx_ctx *ctx, int op_and_dtype, size_t size, size_t cols,
                           const void *a, void *out);
lmx_status lmx_contiguous_loss(lmx_ctx *ctx, int op, int types, size_t rows, size_t cols,
                               const void *logits, const void *target, void *loss, void *grad);
"""


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as f:
        cdef = declarations(f.read())
    builder = FFI()
    builder.cdef(cdef + FEW_ARGUMENTS_CDEF)
    builder.set_source("lanemax._lanemax", '#include "lanemax/lanemax.h"' + FEW_ARGUMENTS)
    builder.emit_c_code(sys.argv[2])


if __name__ == "__main__":
    main()
