/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry.  One line per operation on rows and one per loss; the enums of the
 * public header, the kernel tables, lmx_row_op_info(), lmx_loss_info(), the C and
 * Python tests and the benchmarks expand it.  The numbers are ABI: append, never renumber.
 *
 * Operations on rows (lib/ops/row_<name>.c):
 *
 *   OP(number, name, inputs, result, options, parameter, standard, formula)
 *
 *   inputs     arrays read: 1 is (x), 2 is (dy, y), the gradient and the output
 *              of the function that a VJP is of; where that has a parameter or is
 *              made of no exponential, (dy, x), the gradient and its input
 *   result     ROW: an array like the input; VALUE: one real per row (float for
 *              16-bit input); SUM: one lmx_expsum per row
 *   options    what lmx_row_options may carry: T temperature, W where, S total
 *   parameter  the name of lmx_row_options.parameter, "" for none, and its default
 *
 * f(x) is sum_i x^i / i! up to i = order, s(x) is x + 1 for x >= 0 and 1 / (1 - x) below.
 */
#ifndef LANEMAX_OPS_H
#define LANEMAX_OPS_H

#define LMX_ROW_LIST(OP)                                                              \
    OP(0, softmax, 1, ROW, "TWS", "", 0, "exp(x[i]) / sum_k exp(x[k])")               \
    OP(1, log_softmax, 1, ROW, "TWS", "", 0, "x[i] - log(sum_k exp(x[k]))")           \
    OP(2, logsumexp, 1, VALUE, "W", "", 0, "log(sum_k exp(x[k]))")                    \
    OP(3, softmax_vjp, 2, ROW, "T", "", 0, "y[i] * (dy[i] - sum_k y[k] * dy[k])")     \
    OP(4, log_softmax_vjp, 2, ROW, "T", "", 0, "dy[i] - exp(y[i]) * sum_k dy[k]")     \
    OP(5, exp_sum, 1, SUM, "TW", "", 0, "sum_k exp(x[k]) as mantissa * 2^exponent")   \
    OP(6, spherical_softmax, 1, ROW, "", "eps", 1e-4,                                 \
       "y[i] = (x[i]^2 + eps) / sum_k (x[k]^2 + eps)")                                \
    OP(7, taylor_softmax, 1, ROW, "", "order", 2, "y[i] = f(x[i]) / sum_k f(x[k])")   \
    OP(8, stablemax, 1, ROW, "", "", 0, "y[i] = s(x[i]) / sum_k s(x[k])")             \
    OP(9, log_stablemax, 1, ROW, "", "", 0, "log(s(x[i])) - log(sum_k s(x[k]))")      \
    OP(10, spherical_softmax_vjp, 2, ROW, "", "eps", 1e-4,                            \
       "2 x[i] / sum_k (x[k]^2 + eps) * (dy[i] - sum_k y[k] dy[k])")                  \
    OP(11, taylor_softmax_vjp, 2, ROW, "", "order", 2,                                \
       "f'(x[i]) / sum_k f(x[k]) * (dy[i] - sum_k y[k] dy[k])")                       \
    OP(12, stablemax_vjp, 2, ROW, "", "", 0,                                          \
       "s'(x[i]) / sum_k s(x[k]) * (dy[i] - sum_k y[k] dy[k])")                       \
    OP(13, log_stablemax_vjp, 2, ROW, "", "", 0,                                      \
       "(dy[i] - y[i] sum_k dy[k]) / (1 + abs(x[i])), y = stablemax(x)")

/*
 * Losses (lib/ops/loss_<name>.c); o are the logits, t is the target, D the number of classes:
 *
 *   OP(number, name, parameters, default 0, default 1, options, formula)
 *
 *   parameters  the names of lmx_loss_options.parameter[], with their defaults behind
 *   options     what else lmx_loss_options may carry: P probabilities as targets, S label
 *               smoothing, Z a log(Z)^2 penalty, C softcap, T temperature, A adversarial logits
 */
#define LMX_LOSS_LIST(OP)                                                                       \
    OP(0, cross_entropy, "", 0, 0, "PSZCT", "log(sum_k exp(o[k])) - o[t]")                      \
    OP(1, z_loss, "a b", 1, 0, "", "softplus(a (b - (o[t] - mean(o)) / std(o))) / a")           \
    OP(2, spherical_softmax_loss, "eps", 1e-4, 0, "",                                           \
       "-log((o[t]^2 + eps) / sum_k (o[k]^2 + eps))")                                           \
    OP(3, taylor_softmax_loss, "order", 2, 0, "",                                               \
       "-log(f(o[t]) / sum_k f(o[k])), f(x) = sum_i x^i / i! up to i = order")                  \
    OP(4, one_hot_mse_loss, "", 0, 0, "S", "sum_k (o[k] - [k = t])^2")                          \
    OP(5, bouchard_loss, "", 0, 0, "", "Bouchard's upper bound of cross_entropy")               \
    OP(6, stablemax_cross_entropy, "", 0, 0, "",                                                \
       "-log(s(o[t]) / sum_k s(o[k])), s(x) = x >= 0 ? x + 1 : 1 / (1 - x)")                    \
    OP(7, comp_sum_loss, "tau", 1, 0, "A", "((1 / p)^(1 - tau) - 1) / (1 - tau), p = softmax(o)[t]") \
    OP(8, generalized_cross_entropy, "q", 0.7, 0, "", "(1 - p^q) / q, p = softmax(o)[t]")       \
    OP(9, mae_loss, "", 0, 0, "", "1 - softmax(o)[t]")

#endif
