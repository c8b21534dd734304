/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry.  One line per operation on rows, per activation and per loss; the enums
 * of the public header, the kernel tables, lmx_row_op_info(), lmx_unary_info(),
 * lmx_loss_info(), the C and Python tests and the benchmarks expand it.  The numbers are ABI: append, never renumber.
 *
 * Operations on rows (lib/kernels/row/<name>.c):
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
 * Activations, element by element (lib/kernels/unary/<name>.c); s(u) is 1 / (1 + exp(-u)), Phi the normal distribution:
 *
 *   OP(number, name, parameters, default, learned, bound, formula)
 *
 *   parameters  names, separated by blanks; "weight bias": 2 to 9 numbers, the last is the bias
 *   default     of the first, where it has one
 *   learned     1 if the gradient by the parameters is computed too
 *   bound       in ulp (float32; float64: twice that), 0 for what docs/algorithms.md says
 */
#define LMX_UNARY_PARAMETERS 9
#define LMX_UNARY_LIST(OP)                                                                      \
    OP(0, relu, "", 0, 0, 0.5, "max(x, 0)")                                                     \
    OP(1, squared_relu, "", 0, 0, 0.5, "max(x, 0)^2")                                           \
    OP(2, relu_power, "power", 3, 0, 2, "max(x, 0)^power")                                      \
    OP(3, sigmoid, "", 0, 0, 2, "1 / (1 + exp(-x))")                                            \
    OP(4, tanh, "", 0, 0, 2, "tanh(x)")                                                         \
    OP(5, softplus, "beta", 1, 0, 2, "log(1 + exp(beta x)) / beta")                             \
    OP(6, silu, "", 0, 0, 2, "x s(x)")                                                          \
    OP(7, swish, "beta", 1, 1, 2, "x s(beta x)")                                                \
    OP(8, gelu, "", 0, 0, 2, "x Phi(x)")                                                        \
    OP(9, gelu_tanh, "", 0, 0, 2, "x s(2 sqrt(2/pi) (x + 0.044715 x^3))")                       \
    OP(10, mish, "", 0, 0, 2, "x tanh(log(1 + exp(x)))")                                        \
    OP(11, crrelu, "eps", 0.01, 1, 2, "max(x, 0) + eps x exp(-x^2 / 2)")                        \
    OP(12, fatrelu, "threshold", 0, 0, 0.5, "x where x > threshold, else 0")                    \
    OP(13, poly_relu, "weight bias", 0, 1, 0, "weight[0] r^m + ... + weight[m-1] r + bias, r = max(x, 0)")

/*
 * Activations that see more than one number: a gate and what passes it, or several channels of a row
 * (lib/kernels/channel/<name>.c).  s(u) is 1 / (1 + exp(-u)), r[k] = 1 / sqrt(mean(x^(2k)) + eps) over a row:
 *
 *   OP(number, name, inputs, parameters, learned, bound, formula)
 *
 *   inputs      1 is (x), 2 is (x, up): x is the gate
 *   parameters  names, separated by blanks
 *   learned     1 if the gradient by the parameters is computed too
 *   bound       in ulp (float32; float64: twice that), 0 for what docs/algorithms.md says
 */
#define LMX_CHANNEL_ORDER 8 /* the highest degree of a polynomial */
#define LMX_CHANNEL_LIST(OP)                                                                    \
    OP(0, swiglu, 2, "", 0, 4, "x s(x) up")                                                     \
    OP(1, geglu, 2, "", 0, 4, "x Phi(x) up")                                                    \
    OP(2, geglu_tanh, 2, "", 0, 4, "x s(2 sqrt(2/pi) (x + 0.044715 x^3)) up")                   \
    OP(3, reglu, 2, "", 0, 0.5, "max(x, 0) up")                                                 \
    OP(4, poly_norm, 1, "weight bias", 1, 0,                                                    \
       "weight[0] x^m r[m] + ... + weight[m-1] x r[1] + bias")                                  \
    OP(5, poly_norm_glu, 2, "weight bias", 1, 0,                                                \
       "(weight[0] x^m r[m] + ... + weight[m-1] x r[1] + bias) up")                             \
    OP(6, rational, 1, "numerator denominator", 1, 0,                                           \
       "(a[0] + ... + a[p] x^p) / (1 + abs(b[1] x + ... + b[q] x^q))")                          \
    OP(7, max_min, 1, "", 0, 0.5, "max and min of x[2i] and x[2i+1]")                           \
    OP(8, group_sort, 1, "group_size", 0, 0.5, "each group of channels in ascending order")     \
    OP(9, householder, 1, "theta", 1, 0,                                                        \
       "pairs with a sin(theta/2) > b cos(theta/2) reflected")

/*
 * Losses (lib/kernels/loss/<name>.c); o are the logits, t is the target, D the number of classes:
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
