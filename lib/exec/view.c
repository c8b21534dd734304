/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/view.h"

#include <string.h>

#include "base/targets.h"

enum { OPERANDS_MAX = 9 };

static int is_real(int dtype) { return dtype >= LMX_F32 && dtype < LMX_DTYPES; }

static size_t size_of(int dtype, const lmx_tier *tier)
{
    if (is_real(dtype))
        return tier->table[dtype]->elem_size;
    if (lmx_is_integer(dtype))
        return lmx_int_size((lmx_int)dtype);
    return dtype == LMX_BOOL ? 1 : sizeof(lmx_expsum);
}

lmx_status lmx_view_check(const lmx_view *view, lmx_holds holds)
{
    if (view->ndim > 0 && view->shape == NULL)
        return LMX_ERR_NULL;
    const int t = view->dtype;
    if (!(holds == LMX_HOLDS_REALS      ? is_real(t)
          : holds == LMX_HOLDS_INTEGERS ? lmx_is_integer(t)
          : holds == LMX_HOLDS_BOOLS    ? t == LMX_BOOL
                                        : t == LMX_EXPSUM))
        return LMX_ERR_DTYPE;
    if (view->ndim < 0 || view->ndim > LMX_NDIM_MAX)
        return LMX_ERR_SHAPE;
    for (int i = 0; i < view->ndim; i++)
        if (view->shape[i] < 0)
            return LMX_ERR_SHAPE;
    return LMX_OK;
}

uint64_t lmx_view_axis(const lmx_view *view, int axis)
{
    if (axis < -view->ndim || axis >= view->ndim)
        return 0;
    return LMX_AXIS(axis < 0 ? axis + view->ndim : axis);
}

/* Strides in bytes of the view's own axes. */
static void own_strides(const lmx_view *v, size_t size, ptrdiff_t *to)
{
    ptrdiff_t step = (ptrdiff_t)size;
    for (int i = v->ndim - 1; i >= 0; i--) {
        if (v->strides != NULL) {
            to[i] = v->strides[i];
            continue;
        }
        to[i] = step;
        /* of a shape that does not fit in memory: lmx_array_fits() refuses it */
        step = v->shape[i] > 0 && step > PTRDIFF_MAX / v->shape[i] ? PTRDIFF_MAX
               : v->shape[i] > 0                                   ? step * v->shape[i]
                                                                   : step;
    }
}

/* Strides of an operand along the axes of `like`, 0 where it has none; SHAPE if it does not fit. */
static lmx_status spread(const lmx_operand *o, const lmx_view *like, uint64_t reduced, size_t size,
                         ptrdiff_t *to)
{
    const lmx_view *v = o->view;
    ptrdiff_t own[LMX_NDIM_MAX];
    own_strides(v, size, own);
    int at = v->ndim - 1; /* axes of the two are compared from the last on */
    const int drops = o->fit == LMX_FIT_VALUES && v->ndim != like->ndim;
    for (int i = like->ndim - 1; i >= 0; i--) {
        const int is_reduced = (int)(reduced >> i & 1);
        const ptrdiff_t n = like->shape[i];
        to[i] = 0;
        if (is_reduced && drops)
            continue;
        if (at < 0) {
            if (o->fit == LMX_FIT_BROADCAST || o->fit == LMX_FIT_OF_ROWS)
                continue;
            return LMX_ERR_SHAPE;
        }
        const ptrdiff_t got = v->shape[at];
        const int one = is_reduced && (o->fit == LMX_FIT_OF_ROWS || o->fit == LMX_FIT_VALUES);
        const int repeats = got == 1 && (o->fit == LMX_FIT_BROADCAST || o->fit == LMX_FIT_OF_ROWS);
        if (one ? got != 1 : got != n && !repeats)
            return LMX_ERR_SHAPE;
        if (got != 1 && !one)
            to[i] = own[at];
        at--;
    }
    return at < 0 ? LMX_OK : LMX_ERR_SHAPE;
}

static size_t magnitude(ptrdiff_t v) { return v < 0 ? 0 - (size_t)v : (size_t)v; }

/* The outer axes with more than one element, in C order or with the widest strides first; then the reduced ones. */
static int order_axes(const lmx_view *like, uint64_t reduced, const ptrdiff_t *by, int *order,
                      int *outer)
{
    int count = 0;
    for (int i = 0; i < like->ndim; i++) {
        if (like->shape[i] == 1 || (reduced >> i & 1))
            continue;
        int at = count++;
        for (; by != NULL && at > 0 && magnitude(by[order[at - 1]]) < magnitude(by[i]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    *outer = count;
    for (int i = 0; i < like->ndim; i++)
        if (like->shape[i] != 1 && (reduced >> i & 1))
            order[count++] = i;
    return count;
}

/* The product of the extents of the axes that are reduced, or of the others; 0 if it does not fit in ptrdiff_t. */
static int count_elements(const lmx_view *v, uint64_t reduced, int of_reduced, size_t *count)
{
    size_t product = 1;
    for (int i = 0; i < v->ndim; i++)
        if ((int)(reduced >> i & 1) == of_reduced && v->shape[i] == 0)
            product = 0;
    for (int i = 0; i < v->ndim && product != 0; i++) {
        const size_t n = (int)(reduced >> i & 1) == of_reduced ? (size_t)v->shape[i] : 1;
        if (product > (size_t)PTRDIFF_MAX / n)
            return 0;
        product *= n;
    }
    *count = product;
    return 1;
}

static void set_array(lmx_array *a, const lmx_operand *o, const lmx_tier *tier)
{
    a->dtype = o->view->dtype;
    a->size = size_of(a->dtype, tier);
    a->table = is_real(a->dtype) ? tier->table[a->dtype] : NULL;
    a->data = o->view->data;
}

typedef ptrdiff_t strides[LMX_NDIM_MAX];

/* Whether every array lets one walk axis `inner` of n elements and then `outer` as one.  Products may wrap: of strides
 * whose products do, lmx_array_fits() says so afterwards. */
static int joins(const lmx_operand *o, strides *s, size_t count, int outer, int inner, size_t n)
{
    for (size_t i = 0; i < count; i++)
        if (o[i].view != NULL && (size_t)s[i][outer] != (size_t)s[i][inner] * n)
            return 0;
    return 1;
}

/* Joins the axes of `order` where that is possible; SHAPE if more than LMX_AXES are left. */
static lmx_status join(lmx_space *space, const lmx_view *like, const lmx_operand *o, strides *s,
                       size_t count, const int *order, int total, int outer, lmx_array *a)
{
    int n = 0, last = -1;
    space->outer = 0;
    for (int k = 0; k < total; k++) {
        const int axis = order[k];
        const size_t extent = (size_t)like->shape[axis];
        if (k == outer)
            last = -1;
        if (last >= 0 && joins(o, s, count, last, axis, extent)) {
            n--;
            space->n[n] *= extent;
        } else if (n == LMX_AXES) {
            return LMX_ERR_SHAPE;
        } else {
            space->n[n] = extent;
        }
        for (size_t i = 0; i < count; i++)
            if (o[i].view != NULL)
                a[i].stride[n] = s[i][axis];
        last = axis;
        n++;
        if (k < outer)
            space->outer = n;
    }
    space->axes = n;
    return LMX_OK;
}

/* One axis at least for rows, and one for what is reduced, so that nothing needs to ask. */
static lmx_status complete(lmx_space *space, const lmx_operand *o, size_t count, lmx_array *a)
{
    const int no_rows = space->outer == 0, no_cols = space->axes == space->outer;
    const int axes = space->axes + no_rows + no_cols;
    if (axes > LMX_AXES)
        return LMX_ERR_SHAPE;
    if (no_rows)
        memmove(space->n + 1, space->n, (size_t)space->axes * sizeof *space->n);
    if (no_rows)
        space->n[0] = 1;
    if (no_cols)
        space->n[axes - 1] = 1;
    for (size_t i = 0; i < count; i++) {
        if (o[i].view == NULL)
            continue;
        if (no_rows)
            memmove(a[i].stride + 1, a[i].stride, (size_t)space->axes * sizeof *a[i].stride);
        if (no_rows)
            a[i].stride[0] = 0;
        if (no_cols)
            a[i].stride[axes - 1] = (ptrdiff_t)a[i].size;
    }
    space->outer += no_rows;
    space->axes = axes;
    return LMX_OK;
}

lmx_status lmx_space_open(lmx_space *space, const lmx_operand *operands, size_t count,
                          uint64_t reduced, int in_order, size_t order, const lmx_tier *tier,
                          lmx_array *arrays)
{
    const lmx_view *like = NULL;
    strides s[OPERANDS_MAX];
    int axes[LMX_NDIM_MAX], outer;
    for (size_t i = 0; like == NULL; i++)
        like = operands[i].view;
    for (size_t i = 0; i < count; i++) {
        arrays[i].data = NULL;
        if (operands[i].view == NULL)
            continue;
        set_array(&arrays[i], &operands[i], tier);
        const lmx_status status = spread(&operands[i], like, reduced, arrays[i].size, s[i]);
        if (status != LMX_OK)
            return status;
    }
    const int fit = count_elements(like, reduced, 0, &space->rows) &&
                    count_elements(like, reduced, 1, &space->cols);
    if (!fit)
        return LMX_ERR_OVERFLOW;
    const int total = order_axes(like, reduced, in_order ? NULL : s[order], axes, &outer);
    lmx_status status = join(space, like, operands, s, count, axes, total, outer, arrays);
    if (status == LMX_OK)
        status = complete(space, operands, count, arrays);
    if (status != LMX_OK)
        return status;
    for (size_t i = 0; i < count; i++) {
        lmx_array *a = &arrays[i];
        if (operands[i].view == NULL)
            continue;
        a->outer = space->outer;
        a->axes = operands[i].fit == LMX_FIT_OF_ROWS || operands[i].fit == LMX_FIT_VALUES
                      ? space->outer
                      : space->axes;
        memcpy(a->n, space->n, (size_t)a->axes * sizeof *a->n);
        a->natural = lmx_array_natural(a);
    }
    return LMX_OK;
}

lmx_status lmx_space_data(const lmx_space *space, const lmx_operand *operands, size_t count,
                          const lmx_array *arrays)
{
    for (size_t i = 0; i < count; i++) {
        const int of_rows = operands[i].view != NULL && arrays[i].axes == space->outer;
        if (operands[i].view != NULL && arrays[i].data == NULL && space->rows > 0 &&
            (of_rows || space->cols > 0))
            return LMX_ERR_NULL;
    }
    return LMX_OK;
}

void lmx_space_by_element(lmx_space *space, size_t count, lmx_array *arrays)
{
    const int last = space->outer - 1, alone = space->outer == 1;
    space->cols = space->n[last];
    space->rows = space->cols == 0 ? 0 : space->rows / space->cols;
    space->outer = alone ? 1 : last;
    space->axes = space->outer + 1;
    space->n[space->outer] = space->cols;
    if (alone)
        space->n[0] = 1;
    for (size_t i = 0; i < count; i++) {
        lmx_array *a = &arrays[i];
        if (a->data == NULL)
            continue;
        a->stride[space->outer] = a->stride[last];
        if (alone)
            a->stride[0] = 0;
        a->outer = space->outer;
        a->axes = space->axes;
        memcpy(a->n, space->n, (size_t)a->axes * sizeof *a->n);
    }
}

lmx_status lmx_view_vector(const lmx_view *view, size_t n, const lmx_tier *tier, lmx_array *array)
{
    if (view->ndim != 1 || (size_t)view->shape[0] != n)
        return LMX_ERR_SHAPE;
    const lmx_operand o = { view, LMX_FIT_SAME, LMX_HOLDS_REALS };
    lmx_space space;
    const lmx_status status = lmx_space_open(&space, &o, 1, 0, 1, 0, tier, array);
    return status != LMX_OK ? status : lmx_space_data(&space, &o, 1, array);
}
