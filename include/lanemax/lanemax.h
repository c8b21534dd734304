/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lanemax: softmax and its relatives on CPUs, at the speed of the memory and
 * with the same bits on every instruction set and for any number of threads.
 *
 * Reading order: types, status, context, the softmax family on contiguous rows,
 * the same family on any layout with options, partial sums, losses, activations, the factored output
 * layer, the Fourier head, information.
 *
 * Conventions, for every function:
 *  - arguments come in the order context, element type, shape, inputs,
 *    parameters, outputs;
 *  - functions of contiguous rows take extents as size_t and strides as ptrdiff_t, both counted in elements;
 *    those of any layout take lmx_view, which counts strides in bytes;
 *  - a NULL context means the default tier and the calling thread alone;
 *  - on any status but LMX_OK no output has been written;
 *  - an extent of 0 makes LMX_OK and no access, whatever the pointers;
 *  - a struct that a program fills is initialised first, whatever its kind: lmx_TYPE_init() for an lmx_TYPE.
 *    The initialiser sets every field to its default and the first, tag, to a number of the type and its size,
 *    which every function compares: a struct that was zeroed, filled by hand, initialised as another type or for
 *    another ABI number is LMX_ERR_ARG.  Fields are then set as needed; copies of the struct may be used too;
 *  - of options, LMX_ERR_OP means one that the operation does not take (lmx_takes), LMX_ERR_ARG a number outside
 *    its range (lmx_parameter) or an enumerator that does not exist, LMX_ERR_NULL a field without which another
 *    makes no sense, LMX_ERR_OVERLAP and the like an array of theirs, as for any other array;
 *  - the floating-point environment (rounding, flush-to-zero, traps, sticky
 *    flags) is set for the computation and restored: results do not depend on it;
 *  - nothing is printed, no errno is set, nothing aborts.
 *
 * Special values, for every function: -inf is a masked logit, of probability
 * exactly 0.  A row holding NaN or +inf gives the canonical quiet NaN in every
 * element (logsumexp of +inf without NaN: +inf).  A row of only -inf gives NaN
 * (logsumexp: -inf).  Subnormal input and results are exact in the sense of the
 * bounds: nothing is flushed to zero.
 *
 * Determinism: for one shape, element type and input the results have the same
 * bits on every tier, for any number of threads, any alignment and any strides,
 * and a row does not depend on the rows around it.
 */
#ifndef LANEMAX_LANEMAX_H
#define LANEMAX_LANEMAX_H

#include <stddef.h>
#include <stdint.h>

#include "ops.h"
#include "version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------- types --- */

typedef enum lmx_dtype {
    LMX_F32  = 0, /* float */
    LMX_F64  = 1, /* double */
    LMX_F16  = 2, /* IEEE binary16, computed in float, rounded once */
    LMX_BF16 = 3  /* bfloat16, computed in float, rounded once */
} lmx_dtype;

/* Integer types of target indices. */
typedef enum lmx_int {
    LMX_I8 = 8, LMX_I16, LMX_I32, LMX_I64, LMX_U8, LMX_U16, LMX_U32, LMX_U64
} lmx_int;

/* Other elements of a view. */
enum {
    LMX_BOOL   = 16, /* one byte, 0 or not */
    LMX_EXPSUM = 17  /* lmx_expsum */
};

typedef enum lmx_status {
    LMX_OK           = 0,
    LMX_ERR_NULL     = 1,  /* a required pointer is NULL */
    LMX_ERR_SHAPE    = 2,  /* shapes do not fit together */
    LMX_ERR_STRIDE   = 3,  /* an output's elements would overlap each other */
    LMX_ERR_LABEL    = 4,  /* a target is outside [0, cols) and is not ignore_index */
    LMX_ERR_OP       = 5,  /* unknown operation, or an option that it does not take */
    LMX_ERR_NOMEM    = 6,  /* no memory for scratch or threads */
    LMX_ERR_ISA      = 7,  /* the tier is not built, or this CPU cannot run it */
    LMX_ERR_ALIGN    = 8,  /* a pointer to rows that are read in place is not a multiple of its element size */
    LMX_ERR_OVERLAP  = 9,  /* an output overlaps an input, and is not that input itself */
    LMX_ERR_DTYPE    = 10, /* unknown element type */
    LMX_ERR_ARG      = 11, /* a parameter is outside its range */
    LMX_ERR_OVERFLOW = 12, /* the extents and strides do not fit in ptrdiff_t bytes */
    LMX_ERR_NUMERIC  = 13  /* what is given, or would be kept, is not finite */
} lmx_status;

/* One sentence, static storage, never NULL. */
LMX_API const char *lmx_status_string(lmx_status status);

/*
 * What the registry (ops.h) says of a parameter or an option.  A value that is not finite, below least or above
 * greatest, or not of the kind that the flags say, is LMX_ERR_ARG in every function.
 */
typedef struct lmx_parameter {
    const char *name;     /* NULL: there is no parameter */
    double      standard; /* where none is given */
    double      least, greatest;
    unsigned    flags;    /* of lmx_parameter_flag */
} lmx_parameter;

/* Numbers that several functions take, by the names of their fields or arguments. */
typedef enum lmx_option {
#define LMX_OPTION_CODE(number, name, standard, least, greatest, flags) LMX_OPTION_##name = number,
    LMX_OPTION_LIST(LMX_OPTION_CODE)
#undef LMX_OPTION_CODE
    LMX_OPTION_COUNT
} lmx_option;

/* NULL past the last. */
LMX_API const lmx_parameter *lmx_option_info(int option);

/* -------------------------------------------------------------- context --- */

/*
 * Threads, tier and scratch.  Immutable after creation; may be used from several
 * threads at once (a second call that finds the pool busy runs on its own
 * thread).  After fork() a child may go on using it.
 */
typedef struct lmx_ctx lmx_ctx;

typedef struct lmx_options {
    uint64_t    tag;     /* lmx_options_init() writes it */
    unsigned    threads; /* 0 and 1 both mean: the calling thread; at most 1024 */
    const char *isa;     /* NULL: LANEMAX_ISA, else the best tier of this CPU */
} lmx_options;

/* One thread, the default tier.  Errors: NULL. */
LMX_API lmx_status lmx_options_init(lmx_options *options);

/* options may be NULL.  Errors: NULL (out), ARG (tag, threads above 1024), ISA, NOMEM. */
LMX_API lmx_status lmx_ctx_create(lmx_ctx **out, const lmx_options *options);
LMX_API void       lmx_ctx_free(lmx_ctx *ctx);

/* ------------------------------------- softmax family, contiguous rows --- */

/*
 * y[r][i] = exp(x[r][i]) / sum_k exp(x[r][k])          for rows x cols elements
 *
 * Row r starts at x + r * x_stride; its cols elements are contiguous.  y may be
 * x itself with the same stride; any other overlap is LMX_ERR_OVERLAP.
 *
 * Accuracy, at any length and range: at most 4 ULP where the exact result is
 * normal, 2 quanta of the smallest subnormal elsewhere; never above 1; exactly 0
 * only below half that quantum.  float16 and bfloat16: the float result rounded
 * once.  Algorithm: two-pass softmax (Dukhan and Ablavatski 2020,
 * arXiv:2001.04438) relative to an integer reference exponent.
 *
 * Errors: DTYPE, OVERFLOW, NULL, STRIDE, OVERLAP, NOMEM.
 */
LMX_API lmx_status lmx_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                               const void *x, ptrdiff_t x_stride, void *y, ptrdiff_t y_stride);

/*
 * y[r][i] = x[r][i] - log(sum_k exp(x[r][k])), laid out as for lmx_softmax.
 *
 * Accuracy: at most 3 ULP for every element, confident rows included, for the
 * largest logit is left out of the sum and comes back through log1p.
 */
LMX_API lmx_status lmx_log_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                   const void *x, ptrdiff_t x_stride, void *y, ptrdiff_t y_stride);

/*
 * value[r * value_stride] = log(sum_k exp(x[r][k])); value holds float for LMX_F32,
 * LMX_F16 and LMX_BF16, double for LMX_F64.  cols == 0 gives -inf.
 *
 * Accuracy: at most 1 ULP, or 2.5e-7 absolute (double: times 2^-29) where the
 * result is near 0 and the sum itself decides.
 */
LMX_API lmx_status lmx_logsumexp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                 const void *x, ptrdiff_t x_stride,
                                 void *value, ptrdiff_t value_stride);

/*
 * Gradient through softmax from its output y:
 *     dx[i] = y[i] * (dy[i] - sum_k y[k] * dy[k])
 * dx may be dy or y itself with the same stride.
 *
 * Accuracy: |error| <= 6 u * y[i] * (|dy[i]| + sum_k y[k] |dy[k]|), u = 2^-24
 * (double: 2^-53).
 */
LMX_API lmx_status lmx_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                   const void *dy, ptrdiff_t dy_stride,
                                   const void *y, ptrdiff_t y_stride,
                                   void *dx, ptrdiff_t dx_stride);

/*
 * Gradient through log-softmax from its output y:
 *     dx[i] = dy[i] - exp(y[i]) * sum_k dy[k]
 * A masked element (y = -inf) gets dy[i].  Aliasing as for lmx_softmax_vjp.
 *
 * Accuracy: |error| <= 6 u * (|dy[i]| + exp(y[i]) * sum_k |dy[k]|).
 */
LMX_API lmx_status lmx_log_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                       const void *dy, ptrdiff_t dy_stride,
                                       const void *y, ptrdiff_t y_stride,
                                       void *dx, ptrdiff_t dx_stride);

/*
 * The alternatives to softmax, laid out as for lmx_softmax:
 *
 *     spherical_softmax  y[r][i] = (x[r][i]^2 + eps) / sum_k (x[r][k]^2 + eps)
 *     taylor_softmax     y[r][i] = f(x[r][i]) / sum_k f(x[r][k]),  f(x) = sum_j x^j / j!, j = 0 ... order
 *     stablemax          y[r][i] = s(x[r][i]) / sum_k s(x[r][k]),  s(x) = x + 1 for x >= 0, else 1 / (1 - x)
 *     log_stablemax      y[r][i] = log(s(x[r][i])) - log(sum_k s(x[r][k]))
 *
 * eps >= 0 is usually 1e-4, order is even and from 2 to 32; else LMX_ERR_ARG.
 *
 * Special values: a row holding NaN or +inf is NaN throughout, as is one of nothing but zeros with
 * eps = 0.  -inf is a masked logit for stablemax (0) and log_stablemax (-inf), and a row of nothing
 * else is NaN; the other two have no masked logits, and take it for NaN.
 *
 * Accuracy: at most 4 ULP where the exact result is normal, 2 quanta of the smallest subnormal
 * elsewhere, whatever the range: nothing overflows or is lost inside.
 *
 * Sources: Vincent, de Brebisson and Bouthillier 2015 (arXiv:1412.7091); Banerjee and others 2020
 * (arXiv:2011.11538) for orders above 2; Prieto and others 2025 (arXiv:2501.04697).
 */
LMX_API lmx_status lmx_spherical_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                         const void *x, ptrdiff_t x_stride, double eps,
                                         void *y, ptrdiff_t y_stride);
LMX_API lmx_status lmx_taylor_softmax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                      const void *x, ptrdiff_t x_stride, int order,
                                      void *y, ptrdiff_t y_stride);
LMX_API lmx_status lmx_stablemax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                 const void *x, ptrdiff_t x_stride, void *y, ptrdiff_t y_stride);
LMX_API lmx_status lmx_log_stablemax(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                     const void *x, ptrdiff_t x_stride,
                                     void *y, ptrdiff_t y_stride);

/*
 * Gradients through them, from their input x:
 *
 *     spherical_softmax, taylor_softmax, stablemax, of a function f:
 *         dx[i] = f'(x[i]) / S * (dy[i] - sum_k f(x[k]) dy[k] / S),  S = sum_k f(x[k])
 *     log_stablemax:
 *         dx[i] = (dy[i] - stablemax(x)[i] * sum_k dy[k]) / (1 + |x[i]|)
 *
 * dx may be dy or x itself with the same stride.  A masked element gets 0.
 *
 * Accuracy: |error| <= 6 u * |f'(x[i])| / S * (|dy[i]| + sum_k f(x[k]) |dy[k]| / S), u = 2^-24 (double:
 * 2^-53); for log_stablemax 6 u times the sum of the absolute terms.
 */
LMX_API lmx_status lmx_spherical_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows,
                                             size_t cols, const void *dy, ptrdiff_t dy_stride,
                                             const void *x, ptrdiff_t x_stride, double eps,
                                             void *dx, ptrdiff_t dx_stride);
LMX_API lmx_status lmx_taylor_softmax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                          const void *dy, ptrdiff_t dy_stride,
                                          const void *x, ptrdiff_t x_stride, int order,
                                          void *dx, ptrdiff_t dx_stride);
LMX_API lmx_status lmx_stablemax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                     const void *dy, ptrdiff_t dy_stride,
                                     const void *x, ptrdiff_t x_stride,
                                     void *dx, ptrdiff_t dx_stride);
LMX_API lmx_status lmx_log_stablemax_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                                         const void *dy, ptrdiff_t dy_stride,
                                         const void *x, ptrdiff_t x_stride,
                                         void *dx, ptrdiff_t dx_stride);

/*
 * A sum of exponentials that neither overflows nor underflows:
 *     (mantissa + tail) * 2^exponent * e^base
 *
 * mantissa is in [0.5, 1) as frexp() gives it, and tail continues it.  The sum is right to about
 * twice the digits of the compute type: 2^-29 for float, 2^-56 for double.  Nothing summed, or
 * only -inf: all zero.  +inf and NaN stand in mantissa, with the exponent 0.  base is 0 except for
 * logits beyond 2^52, whose exponent an int64_t could not hold; it is then the largest of them.
 *
 * rounded + rounded_tail is the sum of the same terms as softmax rounds them, in the same units:
 * normalised by it, a part of a row has the bits that the whole row would have given it.  0 stands
 * for mantissa + tail, for those who fill this by hand.
 */
typedef struct lmx_expsum {
    double  mantissa;
    double  tail;
    int64_t exponent;
    double  base;
    double  rounded;
    double  rounded_tail;
} lmx_expsum;

/*
 * sum[r * sum_stride] = sum_k exp(x[r][k]).  Folding the sums of the 16,384-element
 * chunks of a row from left to right with lmx_expsum_merge gives the bits of one
 * call; any other cut or grouping agrees to 2 ULP of double for LMX_F64, and of
 * float (in the rounded sum, not in what is merged) otherwise.  cols == 0 gives all zero.
 */
LMX_API lmx_status lmx_exp_sum(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t cols,
                               const void *x, ptrdiff_t x_stride,
                               lmx_expsum *sum, ptrdiff_t sum_stride);

/* -------------------------------------------- any layout, with options --- */

/*
 * An array as NumPy, DLPack and the buffer protocol describe it.  Element (i0, i1, ...) is at
 * data + i0 * strides[0] + i1 * strides[1] + ... bytes.
 *
 * Strides have any sign; they are 0 where an input repeats itself.  Neither they nor the address need be multiples of
 * the element's size.  No layout is copied as a whole: what kernels cannot read where it is goes through a workspace of a
 * few chunks for each thread.  Of an output data is written.  A view is read during the call alone.
 */
typedef struct lmx_view {
    const void      *data;
    int              dtype;   /* an lmx_dtype; where a function says so an lmx_int, LMX_BOOL or LMX_EXPSUM */
    int              ndim;    /* 0 to LMX_NDIM_MAX */
    const ptrdiff_t *shape;   /* ndim extents */
    const ptrdiff_t *strides; /* ndim strides in bytes; NULL: contiguous in C order */
} lmx_view;

/* NumPy's greatest number of axes.  Of them 32 may be left after those that can be joined are; else LMX_ERR_SHAPE. */
#define LMX_NDIM_MAX 64

/* Axis i, from 0, in a set of axes. */
#define LMX_AXIS(i) ((uint64_t)1 << (i))

typedef struct lmx_row_options {
    uint64_t tag; /* lmx_row_options_init() writes it */

    /* The logits are x / temperature, values > 0 of any lmx_dtype; NULL for 1.  It broadcasts with a as NumPy has
     * it, and has extent 1 on the reduced axes.  Quotients may leave the range of the type: the result is that of
     * the real numbers x / temperature all the same. */
    const lmx_view *temperature;

    /* LMX_BOOL, broadcasts with a: 0 masks an element out: it takes no part, and gets 0 (log_softmax: -inf).  NULL:
     * all kept.  A row with nothing kept is all masked; one whose kept elements are all -inf is NaN there. */
    const lmx_view *where;

    /* LMX_EXPSUM, of the shape of a row's value: normalise by this in place of the row's own sum; excludes the
     * other options. */
    const lmx_view *total;

    double parameter; /* of the operation, in the registry's range; ignored where there is none */
} lmx_row_options;

typedef enum lmx_row_code {
#define LMX_ROW_CODE(number, name, inputs, result, takes, parameters, formula) LMX_ROW_##name = number,
    LMX_ROW_LIST(LMX_ROW_CODE)
#undef LMX_ROW_CODE
    LMX_ROW_COUNT
} lmx_row_code;

/* No temperature, no mask, no sum, and the parameter's default.  Errors: OP, NULL. */
LMX_API lmx_status lmx_row_options_init(lmx_row_code op, lmx_row_options *options);

/*
 * Any operation of the family on any layout, with options: the functions above are this for contiguous rows.
 *
 * a is x, or dy where there are two inputs; b is then y (or x, as the registry says), of the same shape, else NULL.
 * axes are those that are reduced together, LMX_AXIS(i) for each, at least one: the elements that have the other
 * indices in common are a row, in C order.  out has the shape of a; for logsumexp (float; LMX_F64: double) and exp_sum
 * (LMX_EXPSUM) that of a without its reduced axes, or with extent 1 for them.  It may be a or b itself.  options may be
 * NULL.
 *
 * a decides what is computed in, float or double; b and out may have other lmx_dtypes, and are converted (a double to a
 * 16-bit type by way of float).
 *
 * Rows of elements that follow each other are read where they are; so are columns that lie side by side, a vector of them at a
 * time.  Other layouts, conversions, temperature and where go through a workspace of at most 16,384 elements per thread.
 *
 * Errors: OP, NULL, DTYPE, ARG (options->tag, temperature, parameter), SHAPE (axes, shapes that do not fit together),
 * OVERFLOW, STRIDE, OVERLAP, NOMEM.
 */
LMX_API lmx_status lmx_row_op(lmx_ctx *ctx, lmx_row_code op,
                              const lmx_view *a, const lmx_view *b, uint64_t axes,
                              const lmx_row_options *options,
                              const lmx_view *out);

/* --------------------------------------------------------- partial sums --- */

/* out[i] = a[i] + b[i] for n sums; out may be a or b. Errors: NULL. */
LMX_API lmx_status lmx_expsum_merge(size_t n, const lmx_expsum *a, const lmx_expsum *b,
                                    lmx_expsum *out);

/* out[i] = log(a[i]), within 1 ULP of double or 1.2e-16 absolute; 0 gives -inf. Errors: NULL. */
LMX_API lmx_status lmx_expsum_log(size_t n, const lmx_expsum *a, double *out);

/* --------------------------------------------------------------- losses --- */

typedef enum lmx_loss_code {
#define LMX_LOSS_CODE(number, name, parameters, takes, formula) LMX_LOSS_##name = number,
    LMX_LOSS_LIST(LMX_LOSS_CODE)
#undef LMX_LOSS_CODE
    LMX_LOSS_COUNT
} lmx_loss_code;

typedef enum lmx_reduction {
    LMX_MEAN = 0, /* sum over the weights of the rows that are not ignored; no such row: NaN */
    LMX_SUM  = 1,
    LMX_NONE = 2  /* one loss per row */
} lmx_reduction;

typedef struct lmx_loss_options {
    uint64_t tag; /* lmx_loss_options_init() writes it */

    double parameter[LMX_PARAMETERS_MAX]; /* of the loss, in the registry's ranges */
    double label_smoothing; /* in [0, 1] */
    double logz_penalty;    /* >= 0: adds logz_penalty * log(sum_k exp(o[k]))^2 to a row */
    /* 0: none, else > 0: the logits are cap * tanh(logit / cap), before the division by temperature.
     * A logit of -inf becomes -cap: masked classes take part again. */
    double softcap;
    const lmx_view *temperature; /* as for lmx_row_op() */

    const lmx_view *weight;  /* a number of any lmx_dtype for each class; NULL for 1 */
    int64_t ignore_index;    /* such a row has loss 0 and gradient 0, whatever it holds */
    lmx_reduction reduction;

    /*
     * comp_sum_loss: the smooth adversarial form (Mao, Mohri and Zhong 2023).  With adversarial
     * logits a, of the logits' shape, D[k] = o[t] - o[k] and A[k] = a[t] - a[k], the loss is
     * that of the logits o / rho, plus nu times the 2-norm of A - D.  adversarial_grad takes the
     * gradient in a, and is needed where grad is; it may be a itself.  rho > 0, nu >= 0: both 1.
     */
    const lmx_view *adversarial;
    const lmx_view *adversarial_grad;
    double          rho, nu;
} lmx_loss_options;

/* The registry's defaults, LMX_MEAN, ignore_index -100.  Errors: OP, NULL. */
LMX_API lmx_status lmx_loss_options_init(lmx_loss_code op, lmx_loss_options *options);

/*
 * A loss of rows of logits, and with grad its gradient, in one call: the logits are read once for
 * the loss alone, twice and written once with the gradient.
 *
 * The classes lie along axis, which may be counted from the end: -1 is the last.  target holds integers (lmx_int) of
 * the logits' shape without that axis: classes in [0, classes), or options->ignore_index; or floating-point numbers
 * (lmx_dtype) of the logits' shape: probabilities, where the loss takes them.  loss holds one element, or with LMX_NONE one
 * for each row, in the shape of integer targets; grad has the shape of the logits; it may be the logits themselves; NULL: not
 * wanted.  With LMX_NONE it is the gradient of the sum of the losses.  options may be NULL.
 *
 * logits decide what is computed in, float or double; all other views may have another lmx_dtype, and are converted.
 *
 * Reductions, class weights and ignored rows: as torch.nn.functional.cross_entropy has them.
 * Row sums are merged in double, in the rows' order: the same bits for any number of threads.
 *
 * Accuracy: cross_entropy without options: 3 ULP, also where the target's probability is nearly 1;
 * gradient as lmx_softmax, its target entry within 4 ULP.  With probabilities y the entry of a logit of p > 1/2
 * to which most of the mass goes is within 4 u (sum of the other y + 1 - p), u as below, and 2^-52 of the mass
 * of y, which is summed in double (double: in double-double); other entries are within 6 u (p + y).  Other
 * losses: 4 ULP per row; gradient within 6 u times the sum of the absolute terms of its formula, u = 2^-24 (double: 2^-53).
 *
 * Special values: a row holding NaN or +inf, or only -inf, has loss NaN and gradient NaN for the
 * losses that are made of exponentials; the others take -inf for NaN too, save that it is a masked
 * logit for stablemax_cross_entropy.  A target of probability 0 has loss +inf.
 *
 * Errors: OP, NULL, DTYPE, ARG, SHAPE (axis, no classes, shapes that do not fit together), OVERFLOW, STRIDE, OVERLAP,
 * LABEL, NOMEM; targets are checked before the first write.
 */
LMX_API lmx_status lmx_loss(lmx_ctx *ctx, lmx_loss_code op,
                            const lmx_view *logits, int axis,
                            const lmx_view *target,
                            const lmx_loss_options *options,
                            const lmx_view *loss,
                            const lmx_view *grad);

/* The registry's description of a loss; NULL past the last. */
typedef struct lmx_loss_description {
    const char   *name;
    lmx_parameter parameter[LMX_PARAMETERS_MAX];
    unsigned      takes; /* of lmx_takes; an option that is set and not among them is LMX_ERR_OP */
    const char   *formula;
} lmx_loss_description;

LMX_API const lmx_loss_description *lmx_loss_info(int op);

/* ------------------------------------------------- large output layers --- */

/*
 * What these functions have in common.  The logits of an output layer are o = hidden weight^T + bias, for rows x
 * depth hidden states and classes x depth weights; rows of either are contiguous and start hidden_stride or
 * weight_stride elements apart.  The rows x classes logits are never stored: a tile of them at a time is
 * computed, used while it is in a cache, and forgotten (Cut Cross-Entropy, Wijmans et al. 2024, arXiv:2411.09009).
 *
 * A logit is a sum of chains of FMAs over blocks of at most 256 of the depth, in float (LMX_F64: double), and the bias is
 * added to it.  Its bits do not depend on the tier, the threads, or the rows and classes around it.
 *
 * Workspace: lmx_linear_workspace() says how much a call takes.  It does not depend on classes: about 4 KiB for
 * each unit of depth and 3 MiB for each thread, twice that with gradients.
 */
typedef struct lmx_linear_options {
    uint64_t tag; /* lmx_linear_options_init() writes it */

    const void *bias;       /* classes elements, used in the compute type; NULL: 0 */
    lmx_dtype bias_dtype;   /* of bias and its gradient; LMX_F32 from lmx_linear_defaults() */
    double label_smoothing; /* in [0, 1] */
    double logz_penalty;    /* >= 0: adds logz_penalty * log(sum_k exp(o[k]))^2 to a row, o being capped */
    double softcap;         /* 0: none, else > 0: the logits are cap * tanh(logit / cap); a class masked by -inf, in its
                             * bias say, then has the logit -cap and takes part */
    int64_t ignore_index;   /* such a row has loss 0 and gradient 0, whatever it holds */
    lmx_reduction reduction;

    /*
     * Finite numbers >= 0, for row i at row_weight[i * row_weight_stride], by which its loss and gradients are multiplied
     * (a weight of 0 keeps NaN and inf; ignore_index does not); LMX_MEAN divides by their sum over the rows that are
     * not ignored.  NULL: 1.  The stride is 1 from lmx_linear_defaults().
     */
    const double *row_weight;
    ptrdiff_t     row_weight_stride;

    /*
     * Not 0: gradients are added to what their arrays hold, which must be set then: one addition in float (LMX_F64:
     * double; dbias: double if dtype or bias_dtype is LMX_F64) for each entry, rounded once to the array's type.
     */
    int accumulate;

    /*
     * Gradients: tiles of 32 rows (ignored ones not counted) by 256 classes, counted from 0, in which no probability
     * is as large as filter_eps and that hold no target are left out.  0: none.  dropped[row], NULL if not wanted,
     * takes the probability that a row loses so.  An entry of a gradient is off by at most what the left out
     * probabilities contribute to it.
     */
    double  filter_eps; /* in [0, 1] */
    double *dropped;

    size_t max_workspace_bytes; /* 0: no limit; if all threads need more, one works alone, else NOMEM */
} lmx_linear_options;

/* No bias, no penalty, LMX_MEAN, ignore_index -100, no limit.  Errors: NULL. */
LMX_API lmx_status lmx_linear_options_init(lmx_linear_options *options);

/*
 * cross_entropy of the logits, as lmx_loss() has it, and its gradients by hidden, weight and bias, in one call.
 *
 * Each gradient is NULL where it is not wanted.  dhidden and dweight are of the operands' type, dbias of bias_dtype, with a
 * bias or without.  Sums are taken in float (LMX_F64: double), those of dbias in pairs of doubles: dhidden over tiles of
 * classes in their order, dweight over blocks of 256 rows that count.  With LMX_NONE they are those of the sum of the
 * losses.  Where dweight is wanted without accumulate and its rows follow each other without gaps, the logits of as many
 * rows as fit wait in it for the second pass; those of other rows are computed twice.
 *
 * loss, target: as for lmx_loss().  options may be NULL.  A row that holds NaN or +inf logits, or only -inf, has loss NaN;
 * its gradients are NaN wherever it has a part.
 *
 * Accuracy: that of lmx_loss() relative to the logits as they are computed, which are within (256 + depth / 256) u of the
 * sum of their absolute terms, u = 2^-24 (double: 2^-53).
 *
 * Errors: DTYPE, NULL, ARG, SHAPE (rows but no classes), OVERFLOW, ALIGN, STRIDE, OVERLAP, LABEL, NOMEM; targets are
 * checked before the first write.
 */
LMX_API lmx_status lmx_linear_cross_entropy(lmx_ctx *ctx, lmx_dtype dtype,
                                            size_t rows, size_t depth, size_t classes,
                                            const void *hidden, ptrdiff_t hidden_stride,
                                            const void *weight, ptrdiff_t weight_stride,
                                            const void *target, lmx_int target_type, ptrdiff_t target_stride,
                                            const lmx_linear_options *options,
                                            void *loss, ptrdiff_t loss_stride,
                                            void *dhidden, ptrdiff_t dhidden_stride,
                                            void *dweight, ptrdiff_t dweight_stride,
                                            void *dbias);

/*
 * log(sum_k exp(o[k])) of each row, float (LMX_F64: double); special values as lmx_logsumexp().  Of options, which may
 * be NULL, only bias, bias_dtype and max_workspace_bytes are used.
 */
LMX_API lmx_status lmx_linear_logsumexp(lmx_ctx *ctx, lmx_dtype dtype,
                                        size_t rows, size_t depth, size_t classes,
                                        const void *hidden, ptrdiff_t hidden_stride,
                                        const void *weight, ptrdiff_t weight_stride,
                                        const lmx_linear_options *options,
                                        void *result, ptrdiff_t result_stride);

/*
 * The k largest logits of each row, in falling order, and their classes; of equal ones the lowest class comes first, and
 * NaN counts as the largest.  values are of the operands' type.  SHAPE if k > classes.  Of options, which may be NULL,
 * only bias, bias_dtype and max_workspace_bytes are used.
 */
LMX_API lmx_status lmx_linear_topk(lmx_ctx *ctx, lmx_dtype dtype,
                                   size_t rows, size_t depth, size_t classes, size_t k,
                                   const void *hidden, ptrdiff_t hidden_stride,
                                   const void *weight, ptrdiff_t weight_stride,
                                   const lmx_linear_options *options,
                                   void *values, ptrdiff_t values_stride,
                                   int64_t *indices, ptrdiff_t indices_stride);

/*
 * Bytes that lmx_linear_cross_entropy() allocates where nothing limits it.  gradients: 0 without, 1 with them, 2 with
 * accumulate, which takes rows x depth floats (LMX_F64: doubles) more.
 */
LMX_API size_t lmx_linear_workspace(const lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t depth,
                                    int gradients);

/* ---------------------------------------------------------- activations --- */

typedef enum lmx_unary_code {
#define LMX_UNARY_CODE(number, name, parameters, ulp, formula) \
    LMX_UNARY_##name = number,
    LMX_UNARY_LIST(LMX_UNARY_CODE)
#undef LMX_UNARY_CODE
    LMX_UNARY_COUNT
} lmx_unary_code;

typedef struct lmx_unary_options {
    uint64_t tag; /* lmx_unary_options_init() writes it */

    /* In the registry's ranges, and finite in the compute type, in which they are used; NULL: the default. */
    const double *parameter;
    size_t        parameters; /* how many; poly_relu: 2 to 9, the last is the bias */

    /* Any lmx_dtype, a number for each index of the last axis: added to x first, in the compute type; NULL: none */
    const lmx_view *bias;

    /* lmx_unary_vjp() only, NULL where not wanted: gradients by the parameters, as many as they are (OP if
     * they are not learned), and by the bias, as many as it has; sums over all other axes. */
    double *parameter_grad;
    double *bias_grad;
} lmx_unary_options;

/* Default parameters, no bias, no gradients.  Errors: NULL. */
LMX_API lmx_status lmx_unary_options_init(lmx_unary_options *options);

/*
 * y = f(x), element by element, f from the registry.  y has the shape of x, and may be x itself; its lmx_dtype may be
 * another, but what is computed in, float or double, follows from x.  options may be NULL.
 *
 * Accuracy: the registry's bound in ulp for float, also in the tails, twice that for double; subnormal
 * results 2 quanta; 16-bit results are those of float rounded once more; poly_relu: (m + 2) u times the sum
 * of its absolute terms.  At +inf and -inf the limit of f; NaN gives NaN.  The bits do not depend on the
 * tier, the threads or the strides.
 *
 * Errors: OP, NULL, DTYPE, ARG (options->tag, parameters), SHAPE, OVERFLOW, STRIDE, OVERLAP, NOMEM.
 */
LMX_API lmx_status lmx_unary(lmx_ctx *ctx, lmx_unary_code op, const lmx_view *x,
                             const lmx_unary_options *options, const lmx_view *y);

/*
 * dx = dy f'(x), x being the input of f before a bias.  dx may be dy or x.  At a kink the derivative is
 * that of the side below.  Within 6 u times the sum of the absolute terms of the formula, u = 2^-24 (double:
 * 2^-53).  Sums for gradients by parameters are taken in double (double: compensated), in fixed blocks.
 *
 * Special values: dx is the product of IEEE arithmetic.  NaN in dy or x gives NaN, also where the derivative is
 * 0; an infinite dy gives NaN there (or where the derivative underflows), else infinity; a finite dy gives 0
 * there, of either sign of dy.  gelu, crrelu and mish promise that for |dy| <= 2^60 (double: 2^500).
 */
LMX_API lmx_status lmx_unary_vjp(lmx_ctx *ctx, lmx_unary_code op,
                                 const lmx_view *dy, const lmx_view *x,
                                 const lmx_unary_options *options, const lmx_view *dx);

/* The registry's description of an activation; NULL past the last. */
typedef struct lmx_unary_description {
    const char   *name;
    lmx_parameter parameter[LMX_PARAMETERS_MAX];
    double        ulp; /* bound; 0: see lmx_unary() */
    const char   *formula;
} lmx_unary_description;

LMX_API const lmx_unary_description *lmx_unary_info(int op);

/* ------------------------------------------- activations of channels --- */

typedef enum lmx_channel_code {
#define LMX_CHANNEL_CODE(number, name, inputs, parameters, ulp, formula) \
    LMX_CHANNEL_##name = number,
    LMX_CHANNEL_LIST(LMX_CHANNEL_CODE)
#undef LMX_CHANNEL_CODE
    LMX_CHANNEL_COUNT
} lmx_channel_code;

typedef struct lmx_channel_options {
    uint64_t tag; /* lmx_channel_options_init() writes it */

    /*
     *   poly_norm, poly_norm_glu  1 to 8 weights, highest power first, and the bias, in the compute type
     *   rational                  parameter_sets numerators of the same length, from the constant up, too
     *   householder               theta in radians, at most 2^30: one, or one for each two channels
     */
    const double *parameter;
    size_t        parameters; /* in all */
    size_t        parameter_sets;

    /* rational: denominator_sets denominators, from the linear term up; they may be empty */
    const double *denominator;
    size_t        denominators; /* in all */
    size_t        denominator_sets;
    char          form; /* 'A': 1 + sum |b[j]| |x|^j; 'B': 1 + |sum b[j] x^j| */

    double eps;        /* poly_norm, poly_norm_glu: >= 0 */
    size_t group_size; /* group_sort: of which the number of channels is a multiple */

    /* lmx_channel_vjp() only, NULL where not wanted: sums over all rows, as many as there are parameters */
    double *parameter_grad;
    double *denominator_grad;
} lmx_channel_options;

/* Form B, eps 1e-6, one set of each coefficients, none given yet, no gradients.  Errors: NULL. */
LMX_API lmx_status lmx_channel_options_init(lmx_channel_options *options);

/*
 * y = f(x), or f(x, up), f from the registry.  The channels lie along axis, which may be counted from the end: -1 is
 * the last.  x, up and y have the same shape; up is NULL for functions of x alone; y may be x or up itself.  What is
 * computed in follows from x; the others may have another lmx_dtype.  options may be NULL where there are no parameters.
 *
 * rational: a set of coefficients belongs to channels / sets channels that follow each other; one set serves all.
 *
 * Accuracy, u = 2^-24 (double: 2^-53): gates have the bits of the activation's result times up; poly_norm: (m +
 * 2) u times the sum of its absolute terms, poly_norm_glu u |y| more; rational: (p + q + 4) u times the sum of
 * the absolute terms of P / Q plus that of Q times |P| / Q^2; householder: 3 u (|a| + |b|); max_min and
 * group_sort: exact.  poly_norm of rows of subnormal numbers only, without eps, may overflow from order 7 on.
 *
 * Special values: gates: as the product of the two.  poly_norm: a row that holds inf or NaN is NaN
 * throughout.  rational: limits at +inf and -inf; right for every finite x.  max_min, group_sort,
 * householder: a group that holds NaN is NaN throughout.
 *
 * Errors: OP, NULL, DTYPE, ARG (options->tag, parameters), SHAPE (axis, channels that do not divide into groups),
 * OVERFLOW, STRIDE, OVERLAP, NOMEM.
 */
LMX_API lmx_status lmx_channel(lmx_ctx *ctx, lmx_channel_code op,
                               const lmx_view *x, const lmx_view *up, int axis,
                               const lmx_channel_options *options, const lmx_view *y);

/*
 * The gradients by x and, of functions of two, by up (else NULL): dx may be dy, x or up, and so may dup; not
 * both the same.  Within 8 u of the sum of the absolute terms (poly_norm: 2 m + 2, if that is more), where f'
 * itself is in range.  Sums for gradients by parameters are taken in double (double: compensated), in fixed
 * blocks.  At a kink the derivative is that of the side below; rational takes 0 for that of |u| at u = 0, but 1
 * for that of |b[j]| by a b[j] of 0, so that it can grow.
 *
 * Special values: gates and rational: as lmx_unary_vjp().  max_min and group_sort move elements of dy, NaN and
 * infinity with them; householder hands on dy of a pair that stays, times 0 to the sum for theta.
 */
LMX_API lmx_status lmx_channel_vjp(lmx_ctx *ctx, lmx_channel_code op,
                                   const lmx_view *dy, const lmx_view *x, const lmx_view *up,
                                   int axis, const lmx_channel_options *options,
                                   const lmx_view *dx, const lmx_view *dup);

/* The registry's description of an activation of channels; NULL past the last. */
typedef struct lmx_channel_description {
    const char   *name;
    int           inputs;
    lmx_parameter parameter[LMX_PARAMETERS_MAX];
    double        ulp; /* bound; 0: see lmx_channel() */
    const char   *formula;
} lmx_channel_description;

LMX_API const lmx_channel_description *lmx_channel_info(int op);

/* ------------------------------------------- factored output layer --- */

/*
 * A linear layer o = W h of many classes D and d inputs under a loss that needs of the logits only their sum, the
 * sum of their squares and those of the target.  With W = V U + 1 omega^T, V of D x d and U of d x d, a step of
 * gradient descent changes U, omega and the rows of V that are targets, so that it costs O(d^2) for an example,
 * whatever D; so do the losses and their gradients (Vincent, de Brebisson and Bouthillier 2015, arXiv:1412.7091;
 * de Brebisson and Vincent 2016, arXiv:1604.08859).  W is that of dense gradient descent but for rounding.
 *
 * V has the type of the weights (with float, eight bits more to each number); U, its inverse, the centred Gram
 * matrix of W and its column sums are kept in double.  A layer may be read from several threads at a time, and
 * changed by one alone.  What it computes has the same bits on every tier and for any number of threads.
 */
typedef struct lmx_spherical lmx_spherical;

/*
 * loss is one of
 *     LMX_LOSS_z_loss                  parameters a > 0, b
 *     LMX_LOSS_spherical_softmax_loss  parameter eps >= 0
 *     LMX_LOSS_taylor_softmax_loss     parameter 2, the order
 *     LMX_LOSS_one_hot_mse_loss        parameter label_smoothing c in [0, 1], 0 by default: the target y of a class becomes
 *                                      (1 - c) y + c / D; targets may have several classes with values (lmx_spherical_batch)
 * with the parameters of the registry, two numbers; NULL: their defaults.  dtype is float or double.  weight has rows of d
 * numbers next to each other; NULL: zeros, for lmx_spherical_set_state().
 *
 * Errors: OP, DTYPE, ARG (parameter), NULL (out), SHAPE (an extent is 0), OVERFLOW, ALIGN, NOMEM, NUMERIC (a weight is
 * not finite, or their squares add up to more than double holds).
 */
LMX_API lmx_status lmx_spherical_create(lmx_ctx *ctx, lmx_dtype dtype, lmx_loss_code loss,
                                        const double *parameter, size_t classes, size_t d,
                                        const void *weight, ptrdiff_t weight_stride,
                                        lmx_spherical **out);
LMX_API void lmx_spherical_free(lmx_spherical *layer);

/* Rows of inputs, their targets, and where results go. */
typedef struct lmx_spherical_batch {
    uint64_t tag; /* lmx_spherical_batch_init() writes it */

    size_t      rows;
    lmx_dtype   dtype; /* of hidden and dhidden */
    const void *hidden; /* d numbers next to each other for each row */
    ptrdiff_t   hidden_stride;

    /* Classes of a row next to each other, 1 unless the loss is the squared error.  One that is ignore_index is left
     * out; a row of nothing else is ignored: it has no loss, its gradient is 0, and what it holds does not matter. */
    const void *target;
    lmx_int     target_type;
    ptrdiff_t   target_stride;
    size_t      targets;
    int64_t     ignore_index;

    /* Squared error: targets of a row at its classes, before label smoothing, 0 elsewhere; NULL: 1.  Those of one class
     * add up. */
    const double *values;
    ptrdiff_t     values_stride;

    double   *loss;    /* the mean over the rows that are not ignored; without such a row NaN */
    void     *dhidden; /* its gradient by hidden; may be hidden itself; NULL: not wanted */
    ptrdiff_t dhidden_stride;
} lmx_spherical_batch;

/* No rows; float, int64_t targets, one for each row, ignore_index -100.  Errors: NULL. */
LMX_API lmx_status lmx_spherical_batch_init(lmx_spherical_batch *batch);

/*
 * The loss of a batch, and its gradient by hidden.
 *
 * Special values: a row with NaN or inf makes the loss and its own gradient NaN (or inf), no other gradient.
 * z_loss: a row whose logits have variance 0, at most 2^-40 of their mean square, has z = 0 and gradient 0.
 * spherical_softmax_loss: eps = 0 and a target logit of 0 give +inf, and gradient 0 at the target.
 *
 * Errors: ARG (tag), DTYPE, NULL, SHAPE (targets is 0, or more than 1 where the loss takes one), OP (values for such a
 * loss), OVERFLOW, ALIGN, STRIDE, OVERLAP, LABEL, NOMEM.
 */
LMX_API lmx_status lmx_spherical_loss(lmx_ctx *ctx, const lmx_spherical *layer,
                                      const lmx_spherical_batch *batch);

/*
 * The same, then W <- (1 - lr * weight_decay) W - lr * dW, dW and dhidden being taken at the weights before.
 * Without a row that counts dW is 0.
 *
 * Where U would become singular or nearly so, the step is made on W itself, at the cost of a dense one.  Directions
 * of U are moved into V, which costs O(D d) each, before its condition exceeds 256.
 *
 * Errors: as above, ARG (lr or weight_decay negative or not finite), NUMERIC: a result is not finite.  On any of them
 * the layer is as it was.
 */
LMX_API lmx_status lmx_spherical_step(lmx_ctx *ctx, lmx_spherical *layer,
                                      const lmx_spherical_batch *batch,
                                      double lr, double weight_decay);

/*
 * logits[r][k] = W[k] . hidden[r], of the type of hidden.
 *
 * Errors: DTYPE, NULL, OVERFLOW, ALIGN, STRIDE, OVERLAP, NOMEM.
 */
LMX_API lmx_status lmx_spherical_logits(lmx_ctx *ctx, const lmx_spherical *layer, lmx_dtype dtype,
                                        size_t rows, const void *hidden, ptrdiff_t hidden_stride,
                                        void *logits, ptrdiff_t logits_stride);

/*
 * The k largest logits of each row as lmx_spherical_logits() gives them, largest first, and their classes.  Of equal
 * ones the lower class comes first; NaN counts as larger than any number.
 *
 * Errors: as above, SHAPE (k > D).
 */
LMX_API lmx_status lmx_spherical_topk(lmx_ctx *ctx, const lmx_spherical *layer, lmx_dtype dtype,
                                      size_t rows, const void *hidden, ptrdiff_t hidden_stride,
                                      size_t k, void *values, ptrdiff_t values_stride,
                                      int64_t *classes, ptrdiff_t classes_stride);

/* W, of the layer's type.  Errors: NULL, OVERFLOW, ALIGN, STRIDE, NOMEM. */
LMX_API lmx_status lmx_spherical_weight(lmx_ctx *ctx, const lmx_spherical *layer,
                                        void *weight, ptrdiff_t weight_stride);

/* The 2-norm condition number of U, to three digits or more.  Errors: NULL, NOMEM. */
LMX_API lmx_status lmx_spherical_condition(const lmx_spherical *layer, double *condition);

/* A layer's kind and size, and how often it has done what. */
typedef struct lmx_spherical_description {
    uint64_t      tag;  /* lmx_spherical_description_init() writes it */
    lmx_dtype     dtype;
    lmx_loss_code loss;
    double        parameter[2];
    size_t        classes, d;
    uint64_t      steps;
    uint64_t      dense_steps; /* of them on W itself */
    uint64_t      inversions;  /* of U, to renew its inverse */
    uint64_t      directions;  /* of U that were moved into V */
    uint64_t      refreshes;   /* all of U and omega moved into V, and what is known of W measured again */
} lmx_spherical_description;

/* Errors: NULL. */
LMX_API lmx_status lmx_spherical_description_init(lmx_spherical_description *description);

/* Errors: NULL, ARG (tag). */
LMX_API lmx_status lmx_spherical_info(const lmx_spherical *layer,
                                      lmx_spherical_description *description);

/*
 * All that a layer knows, as contiguous arrays of the caller's: a layer of the same loss, type and extents that is
 * given it goes on with the same bits.
 */
typedef struct lmx_spherical_state {
    uint64_t  tag;      /* lmx_spherical_state_init() writes it */
    void     *v;        /* D x d, of the layer's type */
    int8_t   *v_low;    /* D x d, float only: in units of 2^-8 of the last place of v */
    double   *u;        /* d x d */
    double   *u_it;     /* d x d: the inverse of U, transposed */
    double   *gram;     /* d x d: (W - 1 mean^T)^T (W - 1 mean^T) */
    double   *sum;      /* d: of the rows of W */
    double   *omega;    /* d */
    double    watched, peak; /* when to look at the condition of U, and to measure W, next */
    uint64_t  counts[5];     /* as in lmx_spherical_description */
} lmx_spherical_state;

/* No arrays.  Errors: NULL. */
LMX_API lmx_status lmx_spherical_state_init(lmx_spherical_state *state);

/* Copies out of the layer, and into it.  Errors: NULL, ARG (tag), ALIGN; set_state: NUMERIC (not finite). */
LMX_API lmx_status lmx_spherical_get_state(const lmx_spherical *layer, lmx_spherical_state *state);
LMX_API lmx_status lmx_spherical_set_state(lmx_spherical *layer, const lmx_spherical_state *state);

/* -------------------------------------------------------- Fourier head --- */

/*
 * Rows of frequencies + 1 complex coefficients a[0] ... a[N] as a linear layer gives them: the real parts, then the
 * imaginary parts, 2 (N + 1) elements next to each other.  A row is the density
 *
 *     p(x) = |sum_n a[n] e^(i pi n x)|^2 / (2 c[0]),   c[k] = sum_n a[n + k] conj(a[n]),   on [-1, 1]
 *
 * (Gillman et al. 2024, arXiv:2410.22269).  It is never negative and does not change when a is multiplied by a complex
 * number.  Of m bins, 2 / m wide, bin j has its centre at -1 + (2 j + 1) / m.
 *
 * Everything is computed in double, whatever the type, and rounded once (16-bit types: to float and then once more);
 * for coefficients of any size, as they are divided by a power of two first.  Angles are reduced exactly.  Accuracy, u
 * = 2^-24 (double: 2^-53): 2 u plus (N / 32 + 16) 2^-53 relative to the largest density of a row, (N + 1) / 2 at most.
 *
 * Special values: coefficients that are all 0 are the uniform density, with gradient 0.  A row that holds NaN or inf is
 * NaN throughout, its gradient too.  There may be 2^31 terms and 2^31 bins.
 *
 * Workspace, for each thread: about 100 bytes for each term, 300 with gamma and for masses, cdf, samples and moments; where
 * all bins are computed 70 to 170 for each of them, and half as much once more for all threads.
 *
 * Errors: DTYPE, ARG, SHAPE (no bins), OVERFLOW, NULL, ALIGN, STRIDE, OVERLAP, LABEL, NOMEM.
 */

/* p, of the coefficients' type, at `points` points of each row from -1 to 1 (else ARG); x_stride may be 0. */
LMX_API lmx_status lmx_fourier_density(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                       const void *coef, ptrdiff_t coef_stride,
                                       size_t points, const double *x, ptrdiff_t x_stride,
                                       void *p, ptrdiff_t p_stride);

/* The integral of p from -1 to x, laid out likewise; exactly 0 and 1 at the ends.  O(N log N) for a row. */
LMX_API lmx_status lmx_fourier_cdf(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                   const void *coef, ptrdiff_t coef_stride,
                                   size_t points, const double *x, ptrdiff_t x_stride,
                                   void *cdf, ptrdiff_t cdf_stride);

/* The points at which the cdf has the values u, from 0 to 1, laid out likewise: random numbers become samples. */
LMX_API lmx_status lmx_fourier_sample(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                      const void *coef, ptrdiff_t coef_stride,
                                      size_t points, const double *u, ptrdiff_t u_stride,
                                      void *x, ptrdiff_t x_stride);

/* Mean and variance of each row, float (LMX_F64: double). */
LMX_API lmx_status lmx_fourier_mean(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                    const void *coef, ptrdiff_t coef_stride,
                                    void *mean, ptrdiff_t mean_stride);
LMX_API lmx_status lmx_fourier_variance(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                        const void *coef, ptrdiff_t coef_stride,
                                        void *variance, ptrdiff_t variance_stride);

typedef struct lmx_fourier_options {
    uint64_t tag; /* lmx_fourier_options_init() writes it */

    int    exact;              /* lmx_fourier_bins: masses of the bins, not the normalised density at their centres */
    double eps;                /* >= 0: 1e-5 */
    double gamma;              /* >= 0: adds gamma * 4 pi^2 sum_k k^2 |c[k]|^2 to a row; then O(N log N) for a row */
    int    normalized_penalty; /* that divided by c[0]^2, so that it does not depend on the size of a */
    int64_t ignore_index;      /* such a row has loss 0 and gradient 0, whatever it holds */
    lmx_reduction reduction;
} lmx_fourier_options;

/* eps 1e-5, no penalty, LMX_MEAN, ignore_index -100.  Errors: NULL. */
LMX_API lmx_status lmx_fourier_options_init(lmx_fourier_options *options);

/*
 * Probabilities of the bins, of the coefficients' type: q[j] = p(x[j]) / sum_i p(x[i]) for the centres x, or with
 * options->exact the integral of p over the bin.  Each sums to 1, for any number of frequencies.  Where the density is
 * 0 at every centre, all have the same.  The gradient through them takes dq, rows of bins, to dcoef, laid out like the
 * coefficients, which it may be.  options may be NULL.
 */
LMX_API lmx_status lmx_fourier_bins(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                    size_t bins, const void *coef, ptrdiff_t coef_stride,
                                    const lmx_fourier_options *options,
                                    void *q, ptrdiff_t q_stride);
LMX_API lmx_status lmx_fourier_bins_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                        size_t bins, const void *dq, ptrdiff_t dq_stride,
                                        const void *coef, ptrdiff_t coef_stride,
                                        const lmx_fourier_options *options,
                                        void *dcoef, ptrdiff_t dcoef_stride);

/* log(q[j] + eps) for the q of the centres, the logits of the head; softmax of them is (q + eps) / (1 + bins eps). */
LMX_API lmx_status lmx_fourier_log_bins(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                        size_t bins, const void *coef, ptrdiff_t coef_stride,
                                        const lmx_fourier_options *options,
                                        void *y, ptrdiff_t y_stride);
LMX_API lmx_status lmx_fourier_log_bins_vjp(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                            size_t bins, const void *dy, ptrdiff_t dy_stride,
                                            const void *coef, ptrdiff_t coef_stride,
                                            const lmx_fourier_options *options,
                                            void *dcoef, ptrdiff_t dcoef_stride);

/*
 * Softmax cross-entropy of these logits, -log((q[t] + eps) / (1 + bins eps)), in O(N) for a row whatever the number of
 * bins (O(N + bins) at most where N >= bins).  loss, target, reductions: as for lmx_loss().  grad: by the coefficients,
 * and laid out like them, which it may be; NULL: not wanted.  options may be NULL.  eps = 0 and q[t] = 0: +inf, with
 * gradient 0 but for the penalty's.
 */
LMX_API lmx_status lmx_fourier_cross_entropy(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                             size_t bins, const void *coef, ptrdiff_t coef_stride,
                                             const void *target, lmx_int target_type, ptrdiff_t target_stride,
                                             const lmx_fourier_options *options,
                                             void *loss, ptrdiff_t loss_stride,
                                             void *grad, ptrdiff_t grad_stride);

/*
 * -log p at `points` points of each row from -1 to 1, laid out as for lmx_fourier_density(), each a loss of its own:
 * loss[row * loss_stride + i] with LMX_NONE.  gamma (added to each) and reduction as above; none is ignored.  p = 0:
 * +inf, and a gradient without the part that is then infinite.
 */
LMX_API lmx_status lmx_fourier_nll(lmx_ctx *ctx, lmx_dtype dtype, size_t rows, size_t frequencies,
                                   const void *coef, ptrdiff_t coef_stride,
                                   size_t points, const double *x, ptrdiff_t x_stride,
                                   const lmx_fourier_options *options,
                                   void *loss, ptrdiff_t loss_stride,
                                   void *grad, ptrdiff_t grad_stride);

/* ---------------------------------------------------------- information --- */

/* The registry's description of operation op; NULL past the last. */
typedef struct lmx_row_info {
    const char   *name;
    int           inputs;
    lmx_result    result;
    unsigned      takes; /* of lmx_takes; an option that is set and not among them is LMX_ERR_OP */
    lmx_parameter parameter[LMX_PARAMETERS_MAX]; /* the first alone */
    const char   *formula;
} lmx_row_info;

LMX_API const lmx_row_info *lmx_row_op_info(int op);

/* Of what was loaded, to compare with the header's numbers. */
LMX_API const char *lmx_version(void);
LMX_API int         lmx_abi_version(void);

/* The tier that ctx uses: "portable", "avx2", "avx512" or "neon". */
LMX_API const char *lmx_isa_name(const lmx_ctx *ctx);

/* The i-th tier that this build has and this CPU can run, best first; NULL past the last. */
LMX_API const char *lmx_isa_available(int i);

/* 1 if LANEMAX_ISA was set and could not be honoured. */
LMX_API int lmx_isa_ignored(void);

/* The number of threads ctx may use, the calling one included. */
LMX_API unsigned lmx_ctx_threads(const lmx_ctx *ctx);

#ifdef __cplusplus
}
#endif

#endif
