/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that Python makes with arrays as they are.  NumPy arrays come as addresses of their objects, which are read
 * in place and passed on as lmx_view; an argument that is not given is None.
 *
 * Each function returns an lmx_status or LMXPY_UNUSUAL.  On neither an error nor LMXPY_UNUSUAL anything has been written:
 * Python then looks at the arguments one by one, and either raises an exception that names the wrong one or calls again
 * with arrays that fit.
 *
 * cffi reads this file too: declarations only, and no preprocessor beyond the guard.
 */
#ifndef LMXPY_GLUE_H
#define LMXPY_GLUE_H

#include "lanemax/lanemax.h"

typedef enum lmxpy_status {
    LMXPY_UNUSUAL = -1 /* an argument is no array that can be passed as it is */
} lmxpy_status;

/* header: the size of an object's header; array, none: addresses of numpy.ndarray and None. */
void lmxpy_set_objects(size_t header, uintptr_t array, uintptr_t none);

/* A NumPy type number stands for this dtype of lmx_view.  Returns 0, or -1 if the table is full. */
int lmxpy_set_type(int number, int dtype);

typedef struct lmxpy_image {
    uintptr_t data;
    int ndim;
    int dtype; /* of lmx_view, or -1 */
    int flags;
    const ptrdiff_t *shape, *strides; /* strides in bytes */
} lmxpy_image;

/* Fills *image with an array as the calls below see it, for Python to compare with NumPy's answer. */
int lmxpy_see(uintptr_t object, lmxpy_image *image);

/* Address of an array's first element; NULL if the object is no numpy.ndarray. */
void *lmxpy_data(uintptr_t object);

/*
 * A row operation.
 *
 *   axes          bit i: axis i is reduced; used in place of `axis` if it is not 0
 *   keepdims      whether the output of one value for each row has reduced axes
 *   temperature   one for all rows, 1 for none
 *   temperatures  an array of them
 *   total         structured as lmx_expsum
 */
int lmxpy_row_with(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out,
                   uint64_t axes, int keepdims, double temperature, uintptr_t temperatures,
                   uintptr_t where, uintptr_t total, double parameter);

/* The same without options, for each argument costs cffi some time. */
int lmxpy_row(lmx_ctx *ctx, int op, int axis, uintptr_t a, uintptr_t b, uintptr_t out);

/* A loss with the options of lmx_loss_options_init(); classes lie along the last axis. */
int lmxpy_loss(lmx_ctx *ctx, int op, int reduction, uintptr_t logits, uintptr_t target,
               uintptr_t loss, uintptr_t grad);

/*
 * The same with options: those of lmx_loss_options, and
 *
 *   numbers       float64: parameter[0], parameter[1], label_smoothing, logz_penalty, softcap, rho,
 *                 nu; None for the defaults
 *   temperature   one for all rows, 1 for none
 *   temperatures  an array of them
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
 *   parameter_grad, bias_grad  take sums: float64, contiguous
 */
int lmxpy_unary_with(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out, int parameters,
                     double parameter, uintptr_t numbers, uintptr_t bias, uintptr_t parameter_grad,
                     uintptr_t bias_grad);
int lmxpy_unary(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t out);

/* An activation of channels, which lie along the last axis; with dy its gradients, of which dup takes that by up. */
int lmxpy_channel(lmx_ctx *ctx, int op, uintptr_t dy, uintptr_t x, uintptr_t up, uintptr_t out,
                  uintptr_t dup, const lmx_channel_options *options);

#endif
