/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry.  One line per operation on rows, per activation, per loss and per option; the enums of the public
 * header, the kernel tables, the info functions, the checks of every argument, Python's functions with their checks,
 * messages and signatures, the C and Python tests and the benchmarks expand it.  The numbers are ABI: append, never
 * renumber.
 *
 * f(x) is sum_i x^i / i! up to i = order, s(x) is x + 1 for x >= 0 and 1 / (1 - x) below.
 */
#ifndef LANEMAX_OPS_H
#define LANEMAX_OPS_H

/* ----------------------------------------------------------- parameters --- */

/*
 * What a line says of a parameter; lmx_parameter in lanemax.h.  A value is accepted if it is finite, from least to
 * greatest, and of the kind that the flags say.
 *
 *   LMX_PARAMETER(name, standard, least, greatest, flags)
 *   LMX_PARAMETERS(first, second)                             two of them
 *   LMX_NO_PARAMETER
 *
 *   standard   its value where none is given
 *   flags      of lmx_parameter_flag, 0 for a real number between the two, which may be either
 */
#define LMX_PARAMETER(name, standard, least, greatest, flags) { #name, standard, least, greatest, flags }
#define LMX_PARAMETERS(first, second)                         first, second
#define LMX_NO_PARAMETER                                      { 0, 0, 0, 0, 0 }
#define LMX_PARAMETERS_MAX                                    2

typedef enum lmx_parameter_flag {
    LMX_INTEGER   = 1,  /* a whole number */
    LMX_EVEN      = 2,  /* an even one */
    LMX_ABOVE     = 4,  /* greater than least, which is not accepted itself */
    LMX_LEARNED   = 8,  /* there is a gradient by it */
    LMX_REQUIRED  = 16, /* Python has no default */
    LMX_SEVERAL   = 32, /* an array of numbers, each of which is checked */
    LMX_UNCHECKED = 64, /* any value, NaN and inf too, which act as they do in arithmetic */
    LMX_OPTIONAL  = 128 /* 0, and None in Python, means: not wanted */
} lmx_parameter_flag;

#define LMX_UNBOUNDED 1.7976931348623157e308 /* the largest double: no bound but to be finite */

#define LMX_CHANNEL_ANGLE_MAX 1073741824.0 /* 2^30 */

enum {
    LMX_TAYLOR_ORDER_MAX = 32, /* 1/32! is the last coefficient that float holds as a normal number */
    LMX_CHANNEL_ORDER    = 8,  /* the highest degree of a polynomial */
    LMX_UNARY_PARAMETERS = 9   /* numbers in all: a polynomial's weights and its bias */
};

/* Options: what a function takes beside its parameters, by the fields of its options struct. */
typedef enum lmx_takes {
    LMX_TAKES_NOTHING         = 0,
    LMX_TAKES_TEMPERATURE     = 1,
    LMX_TAKES_WHERE           = 2,
    LMX_TAKES_TOTAL           = 4,
    LMX_TAKES_PROBABILITIES   = 8,  /* as targets */
    LMX_TAKES_LABEL_SMOOTHING = 16,
    LMX_TAKES_LOGZ_PENALTY    = 32,
    LMX_TAKES_SOFTCAP         = 64,
    LMX_TAKES_ADVERSARIAL     = 128 /* logits, with rho and nu */
} lmx_takes;

/*
 * The options that are numbers, and numbers that are arguments, checked like parameters:
 *
 *   OPTION(number, name, standard, least, greatest, flags)
 *
 * The same name is the same range wherever it is taken, also as a parameter of an operation on rows or a loss.
 * eps: poly_norm's; the Fourier head's is 1e-5 where none is given.
 */
#define LMX_OPTION_LIST(OPTION)                                       \
    OPTION(0, temperature, 1, 0, LMX_UNBOUNDED, LMX_ABOVE)            \
    OPTION(1, label_smoothing, 0, 0, 1, 0)                            \
    OPTION(2, logz_penalty, 0, 0, LMX_UNBOUNDED, 0)                   \
    OPTION(3, softcap, 0, 0, LMX_UNBOUNDED, LMX_ABOVE | LMX_OPTIONAL) \
    OPTION(4, rho, 1, 0, LMX_UNBOUNDED, LMX_ABOVE)                    \
    OPTION(5, nu, 1, 0, LMX_UNBOUNDED, 0)                             \
    OPTION(6, filter_eps, 0, 0, 1, LMX_OPTIONAL)                      \
    OPTION(7, gamma, 0, 0, LMX_UNBOUNDED, 0)                          \
    OPTION(8, eps, 1e-6, 0, LMX_UNBOUNDED, 0)                         \
    OPTION(9, lr, 0, 0, LMX_UNBOUNDED, LMX_REQUIRED)                  \
    OPTION(10, weight_decay, 0, 0, LMX_UNBOUNDED, 0)

/* --------------------------------------------------- operations on rows --- */

/* The result of an operation on rows. */
typedef enum lmx_result {
    LMX_RESULT_ROW   = 0, /* an array like the input */
    LMX_RESULT_VALUE = 1, /* one real per row, float for 16-bit input */
    LMX_RESULT_SUM   = 2  /* one lmx_expsum per row */
} lmx_result;

/*
 * Operations on rows (lib/kernels/row/<name>.c):
 *
 *   OP(number, name, inputs, result, takes, parameters, formula)
 *
 *   inputs     arrays read: 1 is (x), 2 is (dy, y), the gradient and the output
 *              of the function that a VJP is of; where that has a parameter or is
 *              made of no exponential, (dy, x), the gradient and its input
 *   result     of lmx_result
 *   takes      of lmx_takes: what lmx_row_options may carry
 *   parameters at most one
 */
#define LMX_ROW_LIST(OP)                                                                                     \
    OP(0, softmax, 1, LMX_RESULT_ROW, LMX_TAKES_TEMPERATURE | LMX_TAKES_WHERE | LMX_TAKES_TOTAL,             \
       LMX_NO_PARAMETER, "exp(x[i]) / sum_k exp(x[k])")                                                      \
    OP(1, log_softmax, 1, LMX_RESULT_ROW, LMX_TAKES_TEMPERATURE | LMX_TAKES_WHERE | LMX_TAKES_TOTAL,         \
       LMX_NO_PARAMETER, "x[i] - log(sum_k exp(x[k]))")                                                      \
    OP(2, logsumexp, 1, LMX_RESULT_VALUE, LMX_TAKES_WHERE, LMX_NO_PARAMETER, "log(sum_k exp(x[k]))")         \
    OP(3, softmax_vjp, 2, LMX_RESULT_ROW, LMX_TAKES_TEMPERATURE, LMX_NO_PARAMETER,                           \
       "y[i] * (dy[i] - sum_k y[k] * dy[k])")                                                                \
    OP(4, log_softmax_vjp, 2, LMX_RESULT_ROW, LMX_TAKES_TEMPERATURE, LMX_NO_PARAMETER,                       \
       "dy[i] - exp(y[i]) * sum_k dy[k]")                                                                    \
    OP(5, exp_sum, 1, LMX_RESULT_SUM, LMX_TAKES_TEMPERATURE | LMX_TAKES_WHERE, LMX_NO_PARAMETER,             \
       "sum_k exp(x[k]) as mantissa * 2^exponent")                                                           \
    OP(6, spherical_softmax, 1, LMX_RESULT_ROW, LMX_TAKES_NOTHING,                                           \
       LMX_PARAMETER(eps, 1e-4, 0, LMX_UNBOUNDED, 0),                                                        \
       "y[i] = (x[i]^2 + eps) / sum_k (x[k]^2 + eps)")                                                       \
    OP(7, taylor_softmax, 1, LMX_RESULT_ROW, LMX_TAKES_NOTHING,                                              \
       LMX_PARAMETER(order, 2, 2, LMX_TAYLOR_ORDER_MAX, LMX_EVEN), "y[i] = f(x[i]) / sum_k f(x[k])")         \
    OP(8, stablemax, 1, LMX_RESULT_ROW, LMX_TAKES_NOTHING, LMX_NO_PARAMETER,                                 \
       "y[i] = s(x[i]) / sum_k s(x[k])")                                                                     \
    OP(9, log_stablemax, 1, LMX_RESULT_ROW, LMX_TAKES_NOTHING, LMX_NO_PARAMETER,                             \
       "log(s(x[i])) - log(sum_k s(x[k]))")                                                                  \
    OP(10, spherical_softmax_vjp, 2, LMX_RESULT_ROW, LMX_TAKES_NOTHING,                                      \
       LMX_PARAMETER(eps, 1e-4, 0, LMX_UNBOUNDED, 0),                                                        \
       "2 x[i] / sum_k (x[k]^2 + eps) * (dy[i] - sum_k y[k] dy[k])")                                         \
    OP(11, taylor_softmax_vjp, 2, LMX_RESULT_ROW, LMX_TAKES_NOTHING,                                         \
       LMX_PARAMETER(order, 2, 2, LMX_TAYLOR_ORDER_MAX, LMX_EVEN),                                           \
       "f'(x[i]) / sum_k f(x[k]) * (dy[i] - sum_k y[k] dy[k])")                                              \
    OP(12, stablemax_vjp, 2, LMX_RESULT_ROW, LMX_TAKES_NOTHING, LMX_NO_PARAMETER,                            \
       "s'(x[i]) / sum_k s(x[k]) * (dy[i] - sum_k y[k] dy[k])")                                              \
    OP(13, log_stablemax_vjp, 2, LMX_RESULT_ROW, LMX_TAKES_NOTHING, LMX_NO_PARAMETER,                        \
       "(dy[i] - y[i] sum_k dy[k]) / (1 + abs(x[i])), y = stablemax(x)")

/* ---------------------------------------------------------- activations --- */

/*
 * Activations, element by element (lib/kernels/unary/<name>.c); s(u) is 1 / (1 + exp(-u)), Phi the normal distribution:
 *
 *   OP(number, name, parameters, bound, formula)
 *
 *   parameters  one number; or weight and bias, 2 to 9 numbers in all, the last of which is the bias
 *   bound       in ulp (float32; float64: twice that), 0 for what docs/algorithms.md says
 */
#define LMX_UNARY_LIST(OP)                                                                                   \
    OP(0, relu, LMX_NO_PARAMETER, 0.5, "max(x, 0)")                                                          \
    OP(1, squared_relu, LMX_NO_PARAMETER, 0.5, "max(x, 0)^2")                                                \
    OP(2, relu_power, LMX_PARAMETER(power, 3, 1, 16, LMX_INTEGER | LMX_REQUIRED), 2, "max(x, 0)^power")      \
    OP(3, sigmoid, LMX_NO_PARAMETER, 2, "1 / (1 + exp(-x))")                                                 \
    OP(4, tanh, LMX_NO_PARAMETER, 2, "tanh(x)")                                                              \
    OP(5, softplus, LMX_PARAMETER(beta, 1, 1e-30, 1e30, 0), 2, "log(1 + exp(beta x)) / beta")                \
    OP(6, silu, LMX_NO_PARAMETER, 2, "x s(x)")                                                               \
    OP(7, swish, LMX_PARAMETER(beta, 1, -LMX_UNBOUNDED, LMX_UNBOUNDED, LMX_LEARNED | LMX_REQUIRED), 2,       \
       "x s(beta x)")                                                                                        \
    OP(8, gelu, LMX_NO_PARAMETER, 2, "x Phi(x)")                                                             \
    OP(9, gelu_tanh, LMX_NO_PARAMETER, 2, "x s(2 sqrt(2/pi) (x + 0.044715 x^3))")                            \
    OP(10, mish, LMX_NO_PARAMETER, 2, "x tanh(log(1 + exp(x)))")                                             \
    OP(11, crrelu, LMX_PARAMETER(eps, 0.01, -LMX_UNBOUNDED, LMX_UNBOUNDED, LMX_LEARNED), 2,                  \
       "max(x, 0) + eps x exp(-x^2 / 2)")                                                                    \
    OP(12, fatrelu, LMX_PARAMETER(threshold, 0, -LMX_UNBOUNDED, LMX_UNBOUNDED, LMX_REQUIRED), 0.5,           \
       "x where x > threshold, else 0")                                                                      \
    OP(13, poly_relu, LMX_POLYNOMIAL, 0, "weight[0] r^m + ... + weight[m-1] r + bias, r = max(x, 0)")

/* weight: 1 to 8 numbers, highest power first */
#define LMX_POLYNOMIAL                                                                                       \
    LMX_PARAMETERS(LMX_PARAMETER(weight, 0, -LMX_UNBOUNDED, LMX_UNBOUNDED,                                   \
                                 LMX_SEVERAL | LMX_LEARNED | LMX_REQUIRED | LMX_UNCHECKED),                  \
                   LMX_PARAMETER(bias, 0, -LMX_UNBOUNDED, LMX_UNBOUNDED,                                     \
                                 LMX_LEARNED | LMX_REQUIRED | LMX_UNCHECKED))

/*
 * Activations that see more than one number: a gate and what passes it, or several channels of a row
 * (lib/kernels/channel/<name>.c).  s(u) is 1 / (1 + exp(-u)), r[k] = 1 / sqrt(mean(x^(2k)) + eps) over a row:
 *
 *   OP(number, name, inputs, parameters, bound, formula)
 *
 *   inputs      1 is (x), 2 is (x, up): x is the gate
 *   bound       in ulp (float32; float64: twice that), 0 for what docs/algorithms.md says
 */
#define LMX_CHANNEL_LIST(OP)                                                                                 \
    OP(0, swiglu, 2, LMX_NO_PARAMETER, 4, "x s(x) up")                                                       \
    OP(1, geglu, 2, LMX_NO_PARAMETER, 4, "x Phi(x) up")                                                      \
    OP(2, geglu_tanh, 2, LMX_NO_PARAMETER, 4, "x s(2 sqrt(2/pi) (x + 0.044715 x^3)) up")                     \
    OP(3, reglu, 2, LMX_NO_PARAMETER, 0.5, "max(x, 0) up")                                                   \
    OP(4, poly_norm, 1, LMX_POLYNOMIAL, 0, "weight[0] x^m r[m] + ... + weight[m-1] x r[1] + bias")           \
    OP(5, poly_norm_glu, 2, LMX_POLYNOMIAL, 0,                                                               \
       "(weight[0] x^m r[m] + ... + weight[m-1] x r[1] + bias) up")                                          \
    OP(6, rational, 1,                                                                                       \
       LMX_PARAMETERS(LMX_PARAMETER(numerator, 0, -LMX_UNBOUNDED, LMX_UNBOUNDED,                             \
                                    LMX_SEVERAL | LMX_LEARNED | LMX_REQUIRED | LMX_UNCHECKED),               \
                      LMX_PARAMETER(denominator, 0, -LMX_UNBOUNDED, LMX_UNBOUNDED,                           \
                                    LMX_SEVERAL | LMX_LEARNED | LMX_REQUIRED | LMX_UNCHECKED)),              \
       0, "(a[0] + ... + a[p] x^p) / (1 + abs(b[1] x + ... + b[q] x^q))")                                    \
    OP(7, max_min, 1, LMX_NO_PARAMETER, 0.5, "max and min of x[2i] and x[2i+1]")                             \
    OP(8, group_sort, 1, LMX_PARAMETER(group_size, 0, 1, LMX_UNBOUNDED, LMX_INTEGER | LMX_REQUIRED), 0.5,    \
       "each group of channels in ascending order")                                                          \
    OP(9, householder, 1,                                                                                    \
       LMX_PARAMETER(theta, 0, -LMX_CHANNEL_ANGLE_MAX, LMX_CHANNEL_ANGLE_MAX,                                \
                     LMX_SEVERAL | LMX_LEARNED | LMX_REQUIRED),                                              \
       0, "pairs with a sin(theta/2) > b cos(theta/2) reflected")

/* --------------------------------------------------------------- losses --- */

/*
 * Losses (lib/kernels/loss/<name>.c); o are the logits, t is the target, D the number of classes:
 *
 *   OP(number, name, parameters, takes, formula)
 *
 *   parameters  lmx_loss_options.parameter[], in this order
 *   takes       of lmx_takes: what else lmx_loss_options may carry
 */
#define LMX_LOSS_LIST(OP)                                                                                    \
    OP(0, cross_entropy, LMX_NO_PARAMETER,                                                                   \
       LMX_TAKES_PROBABILITIES | LMX_TAKES_LABEL_SMOOTHING | LMX_TAKES_LOGZ_PENALTY | LMX_TAKES_SOFTCAP |    \
           LMX_TAKES_TEMPERATURE,                                                                            \
       "log(sum_k exp(o[k])) - o[t]")                                                                        \
    OP(1, z_loss,                                                                                            \
       LMX_PARAMETERS(LMX_PARAMETER(a, 1, 0, LMX_UNBOUNDED, LMX_ABOVE),                                      \
                      LMX_PARAMETER(b, 0, -LMX_UNBOUNDED, LMX_UNBOUNDED, 0)),                                \
       LMX_TAKES_NOTHING, "softplus(a (b - (o[t] - mean(o)) / std(o))) / a")                                 \
    OP(2, spherical_softmax_loss, LMX_PARAMETER(eps, 1e-4, 0, LMX_UNBOUNDED, 0), LMX_TAKES_NOTHING,          \
       "-log((o[t]^2 + eps) / sum_k (o[k]^2 + eps))")                                                        \
    OP(3, taylor_softmax_loss, LMX_PARAMETER(order, 2, 2, LMX_TAYLOR_ORDER_MAX, LMX_EVEN),                   \
       LMX_TAKES_NOTHING, "-log(f(o[t]) / sum_k f(o[k])), f(x) = sum_i x^i / i! up to i = order")            \
    OP(4, one_hot_mse_loss, LMX_NO_PARAMETER, LMX_TAKES_LABEL_SMOOTHING, "sum_k (o[k] - [k = t])^2")         \
    OP(5, bouchard_loss, LMX_NO_PARAMETER, LMX_TAKES_NOTHING, "Bouchard's upper bound of cross_entropy")     \
    OP(6, stablemax_cross_entropy, LMX_NO_PARAMETER, LMX_TAKES_NOTHING,                                      \
       "-log(s(o[t]) / sum_k s(o[k])), s(x) = x >= 0 ? x + 1 : 1 / (1 - x)")                                 \
    OP(7, comp_sum_loss, LMX_PARAMETER(tau, 1, 0, LMX_UNBOUNDED, 0), LMX_TAKES_ADVERSARIAL,                  \
       "((1 / p)^(1 - tau) - 1) / (1 - tau), p = softmax(o)[t]")                                             \
    OP(8, generalized_cross_entropy, LMX_PARAMETER(q, 0.7, 0, 1, 0), LMX_TAKES_NOTHING,                      \
       "(1 - p^q) / q, p = softmax(o)[t]")                                                                   \
    OP(9, mae_loss, LMX_NO_PARAMETER, LMX_TAKES_NOTHING, "1 - softmax(o)[t]")

#endif
