/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of the general entries on arrays of (rows, cols, inner) elements, as most tests have them; cols is reduced. */
#ifndef STRIDED_H
#define STRIDED_H

#include "lanemax/lanemax.h"

typedef struct strided_shape {
    size_t rows, cols, inner;
} strided_shape;

/* In elements. */
typedef struct strided_steps {
    ptrdiff_t row, col, inner;
} strided_steps;

/* A view and what it points to; it must stay where it is. */
typedef struct strided {
    lmx_view view;
    ptrdiff_t shape[3], strides[3];
} strided;

/* Fills *s; NULL without steps.  Products that do not fit become the largest numbers. */
const lmx_view *strided_view(strided *s, const void *data, int dtype, const strided_shape *shape,
                             const strided_steps *steps);

/* n numbers that follow each other, and one number alone. */
const lmx_view *strided_vector(strided *s, const void *data, int dtype, size_t n);
const lmx_view *strided_number(strided *s, const double *value);

/* lmx_row_options with arrays as pointers and steps in elements. */
typedef struct strided_options {
    lmx_row_options o;
    const double *temperature;
    ptrdiff_t temperature_row, temperature_inner;
    const unsigned char *where;
    strided_steps where_strides;
    const lmx_expsum *total;
    ptrdiff_t total_row, total_inner;
} strided_options;

lmx_status strided_row_op(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype,
                          const strided_shape *shape, const void *a, const strided_steps *a_steps,
                          const void *b, const strided_steps *b_steps,
                          const strided_options *options, void *out,
                          const strided_steps *out_steps);

/* Targets and losses are numbered row by row. */
lmx_status strided_loss(lmx_ctx *ctx, lmx_loss_code op, lmx_dtype dtype, const strided_shape *shape,
                        const void *logits, const strided_steps *logits_steps, const void *target,
                        int target_type, ptrdiff_t target_step, const lmx_loss_options *options,
                        void *loss, ptrdiff_t loss_step, void *grad,
                        const strided_steps *grad_steps);

lmx_status strided_unary(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype,
                         const strided_shape *shape, const void *x, const strided_steps *x_steps,
                         const lmx_unary_options *options, void *y, const strided_steps *y_steps);

lmx_status strided_unary_vjp(lmx_ctx *ctx, lmx_unary_code op, lmx_dtype dtype,
                             const strided_shape *shape, const void *dy,
                             const strided_steps *dy_steps, const void *x,
                             const strided_steps *x_steps, const lmx_unary_options *options,
                             void *dx, const strided_steps *dx_steps);

/* up and dup: NULL where there is one input. */
lmx_status strided_channel(lmx_ctx *ctx, lmx_channel_code op, lmx_dtype dtype,
                           const strided_shape *shape, const void *x, const strided_steps *x_steps,
                           const void *up, const strided_steps *up_steps,
                           const lmx_channel_options *options, void *y,
                           const strided_steps *y_steps);

lmx_status strided_channel_vjp(lmx_ctx *ctx, lmx_channel_code op, lmx_dtype dtype,
                               const strided_shape *shape, const void *dy,
                               const strided_steps *dy_steps, const void *x,
                               const strided_steps *x_steps, const void *up,
                               const strided_steps *up_steps, const lmx_channel_options *options,
                               void *dx, const strided_steps *dx_steps, void *dup,
                               const strided_steps *dup_steps);

#endif
