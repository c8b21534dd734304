/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that Python makes with arrays as they are.  NumPy arrays come as addresses of their
 * objects; shapes, strides and types are read here, and the layout (rows, cols, inner) of each call
 * is worked out here, because that costs less than looking it up in Python.
 *
 * Each function returns an lmx_status, or one of the two numbers below.  Neither LMXPY_UNUSUAL nor
 * LMXPY_COPY has written anything: Python then looks at the arguments one by one, and either raises
 * an exception that names the wrong one or calls again with arrays that fit.
 *
 * cffi reads this file too: declarations only, and no preprocessor beyond the guard.
 */
#ifndef LMXPY_GLUE_H
#define LMXPY_GLUE_H

#include "lanemax/lanemax.h"

typedef enum lmxpy_status {
    LMXPY_UNUSUAL = -1, /* an argument is no array that can be passed as it is, or does not fit */
    LMXPY_COPY = -2     /* the strides or the alignment do not fit (rows, cols, inner) */
} lmxpy_status;

typedef enum lmxpy_type {
    LMXPY_INTEGERS = 8, /* + lmx_int; below it lmx_dtype */
    LMXPY_BOOL = 16
} lmxpy_type;

/* header: the size of an object's header; array, none: addresses of numpy.ndarray and None. */
void lmxpy_set_objects(size_t header, uintptr_t array, uintptr_t none);

/* A NumPy type number stands for this lmxpy_type.  Returns 0, or -1 if the table is full. */
int lmxpy_set_type(int number, int type);

typedef struct lmxpy_image {
    uintptr_t data;
    int ndim;
    int type; /* lmxpy_type, or -1 */
    int flags;
    const ptrdiff_t *shape, *strides; /* strides in bytes */
} lmxpy_image;

/* Fills *image with an array as the calls below see it, for Python to compare with NumPy's answer. */
int lmxpy_see(uintptr_t object, lmxpy_image *image);

/* Address of an array's first element; NULL if the object is no numpy.ndarray. */
void *lmxpy_data(uintptr_t object);

/*
 * A row operation.  Arrays that are not given are None.
 *
 *   axes          bit i: axis i is reduced; used in place of `axis` if it is not 0
 *   temperature   one for all rows, 1 for none
 *   temperatures  float32 or float64; broadcasts to x with its reduced axes of extent 1
 *   where         bool; broadcasts to x
 *   total         lmx_expsum of each row, contiguous
 */
int lmxpy_row_with(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out,
                   uint64_t axes, int keepdims, double temperature, uintptr_t temperatures,
                   uintptr_t where, uintptr_t total, double parameter);

/* The same without options, for each argument costs cffi some time. */
int lmxpy_row(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out);

/* A loss with the options of lmx_loss_options_init(). */
int lmxpy_loss(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
               uintptr_t loss, uintptr_t grad);

/*
 * The same with options: those of lmx_loss_options by value, and
 *
 *   numbers       float64: parameter[0], parameter[1], label_smoothing, logz_penalty, softcap, rho,
 *                 nu; None for the defaults
 *   temperature   one for all rows, 1 for none
 *   temperatures  float32 or float64, shape (..., 1)
 *   weight        float32 or float64
 */
int lmxpy_loss_with(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
                    uintptr_t loss, uintptr_t grad, uintptr_t numbers, double temperature,
                    int64_t ignore_index, uintptr_t temperatures, uintptr_t weight,
                    uintptr_t adversarial, uintptr_t adversarial_grad);

/*
 * An activation, with dy its gradient.
 *
 *   parameters  how many; one is passed as `parameter`, several in `numbers`
 *   numbers     float64, contiguous
 *   bias        of the compute type, contiguous
 *   parameter_grad, bias_grad  take sums: float64, contiguous
 */
int lmxpy_unary_with(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out, int parameters,
                     double parameter, uintptr_t numbers, uintptr_t bias, uintptr_t parameter_grad,
                     uintptr_t bias_grad);
int lmxpy_unary(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out);

/*
 * An activation of channels, with dy its gradients, of which dup takes that by up.
 *
 *   pointwise  each element is computed by itself, so that the axes do not matter
 *   options    as lmx_channel() has them
 */
int lmxpy_channel(lmx_ctx *ctx, int op, int pointwise, uintptr_t dy, uintptr_t x, uintptr_t up,
                  uintptr_t out, uintptr_t dup, const lmx_channel_options *options);

#endif
