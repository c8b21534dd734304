/* SPDX-License-Identifier: Apache-2.0 */
#include "placed.h"

#include <stdlib.h>
#include <string.h>

#include "rows.h"

static size_t size_of(int dtype)
{
    if (dtype < 4)
        return elem_size((lmx_dtype)dtype);
    return dtype == LMX_BOOL     ? 1
           : dtype == LMX_EXPSUM ? sizeof(lmx_expsum)
                                 : (size_t)1 << (dtype & 3);
}

void placed_open(placed *p, check_random *r, int dtype, int ndim, const ptrdiff_t *shape,
                 bool repeats)
{
    int order[PLACED_NDIM];
    p->size = size_of(dtype);
    p->count = 1;
    for (int i = 0; i < ndim; i++) {
        const size_t at = check_below(r, (size_t)i + 1);
        order[i] = order[at];
        order[at] = i;
        p->shape[i] = shape[i];
        p->count *= (size_t)shape[i];
    }
    /* From the innermost axis on: each stride reaches past all inside it, with or without a gap of elements or bytes. */
    const size_t gap = check_below(r, 4);
    ptrdiff_t step = (ptrdiff_t)p->size, low = 0;
    for (int i = 0; i < ndim; i++) {
        const int axis = order[i];
        if (gap == 2)
            step += (ptrdiff_t)(check_below(r, 3) * p->size);
        else if (gap == 3)
            step += (ptrdiff_t)check_below(r, 2 * p->size);
        if (repeats && check_below(r, 5) == 0) {
            p->strides[axis] = 0;
            continue;
        }
        const bool back = check_below(r, 3) == 0;
        p->strides[axis] = back ? -step : step;
        low += back && shape[axis] > 0 ? step * (shape[axis] - 1) : 0;
        step *= shape[axis] > 0 ? shape[axis] : 1;
    }
    const size_t off = gap == 1 || gap == 3 ? check_below(r, 16) : 0;
    p->span = (size_t)step + 64;
    p->memory = malloc(p->span);
    if (p->memory == NULL)
        exit(3);
    memset(p->memory, 0x5b, p->span);
    p->view = (lmx_view){ p->memory + off + low, dtype, ndim, p->shape, p->strides };
}

void placed_close(placed *p) { free(p->memory); }

unsigned char *placed_at(const placed *p, size_t i)
{
    ptrdiff_t offset = 0;
    for (int k = p->view.ndim - 1; k >= 0; k--) {
        offset += (ptrdiff_t)(i % (size_t)p->shape[k]) * p->strides[k];
        i /= (size_t)p->shape[k];
    }
    return (unsigned char *)(uintptr_t)p->view.data + offset;
}

void placed_read(const placed *p, void *flat)
{
    for (size_t i = 0; i < p->count; i++)
        memcpy((char *)flat + i * p->size, placed_at(p, i), p->size);
}

void placed_write(placed *p, const void *flat)
{
    for (size_t i = 0; i < p->count; i++)
        memcpy(placed_at(p, i), (const char *)flat + i * p->size, p->size);
}

double placed_get(const placed *p, size_t i)
{
    double one;
    memcpy(&one, placed_at(p, i), p->size);
    return elem_get((lmx_dtype)p->view.dtype, &one, 0);
}

void placed_put(placed *p, size_t i, double value)
{
    double one;
    elem_put((lmx_dtype)p->view.dtype, &one, 0, value);
    memcpy(placed_at(p, i), &one, p->size);
}

size_t placed_index(int ndim, const ptrdiff_t *shape, uint64_t axes, size_t i)
{
    size_t at[PLACED_NDIM], index = 0;
    for (int k = ndim - 1; k >= 0; k--) {
        at[k] = i % (size_t)shape[k];
        i /= (size_t)shape[k];
    }
    for (int k = 0; k < ndim; k++)
        if (axes >> k & 1)
            index = index * (size_t)shape[k] + at[k];
    return index;
}
