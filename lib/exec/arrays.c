/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/arrays.h"

#include <stdint.h>

static size_t magnitude(ptrdiff_t v) { return v < 0 ? 0 - (size_t)v : (size_t)v; }

static int empty(const lmx_array *a)
{
    for (int i = 0; i < a->axes; i++)
        if (a->n[i] == 0)
            return 1;
    return 0;
}

/* The alignment of an element, a power of two. */
static size_t unit(const lmx_array *a) { return a->size > 8 ? 8 : a->size; }

lmx_array lmx_array_rows(const void *data, size_t size, size_t rows, size_t cols, ptrdiff_t stride)
{
    lmx_array a;
    a.data = data;
    a.size = size;
    a.outer = 1;
    a.axes = 2;
    a.dtype = -1;
    a.table = NULL;
    a.n[0] = rows;
    a.n[1] = cols;
    a.stride[1] = (ptrdiff_t)size;
    /* A product that does not fit is kept as a stride that lmx_array_fits() refuses; of one row it does not matter. */
    const size_t most = (size_t)PTRDIFF_MAX / size;
    a.stride[0] = rows < 2 ? 0 : magnitude(stride) > most ? PTRDIFF_MAX : stride * (ptrdiff_t)size;
    a.natural = lmx_array_natural(&a);
    return a;
}

int lmx_array_natural(const lmx_array *a)
{
    size_t bits = (uintptr_t)a->data;
    for (int i = 0; i < a->axes; i++) {
        if (a->n[i] < 2)
            continue;
        bits |= (size_t)a->stride[i];
        if (a->size > 8 && a->stride[i] % (ptrdiff_t)a->size != 0) /* sums: no power of two */
            return 0;
    }
    return (bits & (unit(a) - 1)) == 0;
}

size_t lmx_distinct_count(const lmx_array *a)
{
    size_t count = 1;
    for (int i = 0; i < a->axes; i++)
        if (a->stride[i] != 0)
            count *= a->n[i];
    return count;
}

const char *lmx_distinct_at(const lmx_array *a, size_t i)
{
    ptrdiff_t offset = 0;
    for (int k = a->axes - 1; k >= 0; k--) {
        if (a->stride[k] == 0)
            continue;
        offset += (ptrdiff_t)(i % a->n[k]) * a->stride[k];
        i /= a->n[k];
    }
    return (const char *)a->data + offset;
}

int lmx_array_fits(const lmx_array *a)
{
    /* Small: extents below 2^19 and strides below 2^23 make at most 2^42 bytes for each axis.  The
     * divisions below take longer than a softmax of 10 elements. */
    size_t extents = 0, strides = 0;
    for (int i = 0; i < a->axes; i++) {
        extents |= a->n[i];
        strides |= magnitude(a->stride[i]);
    }
    if (extents >> 19 == 0 && strides >> 23 == 0 && a->axes <= 3 && sizeof(size_t) == 8)
        return 1;
    size_t left = (size_t)PTRDIFF_MAX - a->size, count = 1;
    for (int i = 0; i < a->axes; i++) {
        if (a->n[i] < 2)
            continue;
        const size_t steps = a->n[i] - 1, s = magnitude(a->stride[i]);
        if (s != 0 && steps > left / s)
            return 0;
        left -= steps * s;
        if (a->n[i] > (size_t)PTRDIFF_MAX / count) /* also counts of broadcast elements */
            return 0;
        count *= a->n[i];
    }
    return 1;
}

int lmx_array_aligned(const lmx_array *a)
{
    return empty(a) ||
           ((uintptr_t)a->data & (unit(a) - 1)) == 0; /* nothing is accessed of empty ones */
}

/* The extents that matter, widest stride first. */
static int order(const lmx_array *a, int dims[LMX_AXES])
{
    int count = 0;
    for (int i = 0; i < a->axes; i++) {
        if (a->n[i] < 2)
            continue;
        int at = count++;
        while (at > 0 && magnitude(a->stride[dims[at - 1]]) < magnitude(a->stride[i])) {
            dims[at] = dims[at - 1];
            at--;
        }
        dims[at] = i;
    }
    return count;
}

int lmx_array_distinct(const lmx_array *a)
{
    int dims[LMX_AXES];
    size_t span = a->size;
    if (empty(a))
        return 1;
    for (int k = order(a, dims) - 1; k >= 0; k--) {
        const size_t s = magnitude(a->stride[dims[k]]);
        if (s < span)
            return 0;
        span += (a->n[dims[k]] - 1) * s;
    }
    return 1;
}

static int same_strides(const lmx_array *a, const lmx_array *b)
{
    if (a->size != b->size || a->axes != b->axes)
        return 0;
    for (int i = 0; i < a->axes; i++)
        if (a->n[i] != b->n[i] || (a->n[i] > 1 && a->stride[i] != b->stride[i]))
            return 0;
    return 1;
}

int lmx_array_same(const lmx_array *a, const lmx_array *b)
{
    return a->data == b->data && a->dtype == b->dtype && same_strides(a, b);
}

static void range(const lmx_array *a, uintptr_t *lo, uintptr_t *hi)
{
    *lo = *hi = (uintptr_t)a->data;
    for (int i = 0; i < a->axes; i++) {
        const size_t bytes = (a->n[i] - 1) * magnitude(a->stride[i]);
        if (a->stride[i] < 0)
            *lo -= bytes;
        else
            *hi += bytes;
    }
    *hi += a->size;
}

/* Is |gap| < size reached by gap - sum of i_k s_k, |i_k| < n_k, over dims[k ...]?  Strides reach
 * past everything inside them, so only the two nearest multiples of each can do. */
static int reaches(const lmx_array *a, const int *dims, int count, ptrdiff_t gap)
{
    if (count == 0)
        return magnitude(gap) < a->size;
    const ptrdiff_t s = (ptrdiff_t)magnitude(a->stride[dims[0]]);
    const ptrdiff_t most = (ptrdiff_t)a->n[dims[0]] - 1, near = gap / s;
    for (ptrdiff_t i = near - 1; i <= near + 1; i++)
        if (i >= -most && i <= most && reaches(a, dims + 1, count - 1, gap - i * s))
            return 1;
    return 0;
}

int lmx_array_overlap(const lmx_array *a, const lmx_array *b)
{
    if (empty(a) || empty(b))
        return 0;
    uintptr_t alo, ahi, blo, bhi;
    range(a, &alo, &ahi);
    range(b, &blo, &bhi);
    if (ahi <= blo || bhi <= alo)
        return 0;
    if (!same_strides(a, b) || !lmx_array_distinct(a))
        return 1;
    int dims[LMX_AXES];
    const int count = order(a, dims);
    return reaches(a, dims, count, (ptrdiff_t)((uintptr_t)b->data - (uintptr_t)a->data));
}

static int is_allowed(const lmx_array *out, const lmx_array *in, unsigned may_be, size_t i)
{
    return (may_be >> i & 1) != 0 && lmx_array_same(out, in);
}

static lmx_status check(const lmx_array *a, size_t inputs, size_t n, const unsigned *may_be,
                        int aligned)
{
    for (size_t i = 0; i < n; i++)
        if (a[i].data != NULL && !lmx_array_fits(&a[i]))
            return LMX_ERR_OVERFLOW;
    for (size_t i = 0; aligned && i < n; i++)
        if (a[i].data != NULL && !lmx_array_aligned(&a[i]))
            return LMX_ERR_ALIGN;
    for (size_t o = inputs; o < n; o++)
        if (a[o].data != NULL && !lmx_array_distinct(&a[o]))
            return LMX_ERR_STRIDE;
    for (size_t o = inputs; o < n; o++) {
        const unsigned allowed = may_be == NULL ? 0 : may_be[o - inputs];
        for (size_t i = 0; i < o && a[o].data != NULL; i++)
            if (a[i].data != NULL && !(i < inputs && is_allowed(&a[o], &a[i], allowed, i)) &&
                lmx_array_overlap(&a[o], &a[i]))
                return LMX_ERR_OVERLAP;
    }
    return LMX_OK;
}

lmx_status lmx_arrays_check(const lmx_array *a, size_t inputs, size_t n, const unsigned *may_be)
{
    return check(a, inputs, n, may_be, 0);
}

lmx_status lmx_rows_check(const lmx_array *a, size_t inputs, size_t n, const unsigned *may_be)
{
    return check(a, inputs, n, may_be, 1);
}
