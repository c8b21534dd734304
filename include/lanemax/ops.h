/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry.  One line per operation on rows; the enum of the public header,
 * the kernel table, lmx_row_op_info(), the C and Python tests and the benchmarks
 * expand it.  The numbers are ABI: append, never renumber.
 *
 *   OP(number, name, inputs, result, options, formula)
 *
 *   inputs   arrays read: 1 is (x), 2 is (dy, y)
 *   result   ROW: an array like the input; VALUE: one real per row (float for
 *            16-bit input); SUM: one lmx_expsum per row
 *   options  what lmx_row_options may carry: T temperature, W where, S total
 */
#ifndef LANEMAX_OPS_H
#define LANEMAX_OPS_H

#define LMX_ROW_LIST(OP)                                                              \
    OP(0, softmax, 1, ROW, "TWS", "exp(x[i]) / sum_k exp(x[k])")                      \
    OP(1, log_softmax, 1, ROW, "TWS", "x[i] - log(sum_k exp(x[k]))")                  \
    OP(2, logsumexp, 1, VALUE, "W", "log(sum_k exp(x[k]))")                           \
    OP(3, softmax_vjp, 2, ROW, "T", "y[i] * (dy[i] - sum_k y[k] * dy[k])")            \
    OP(4, log_softmax_vjp, 2, ROW, "T", "dy[i] - exp(y[i]) * sum_k dy[k]")            \
    OP(5, exp_sum, 1, SUM, "TW", "sum_k exp(x[k]) as mantissa * 2^exponent")

#endif
