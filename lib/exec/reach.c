/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/reach.h"

#include <string.h>

/* Elements that pass the stage at a time: 2 KiB of doubles. */
enum { STAGE = 256 };

/* Whether a conversion kernel reaches any stretch of a row in one go. */
static int simple(const lmx_array *x, const lmx_table *real)
{
    return x->natural && x->axes == x->outer + 1 && x->table->real_size == real->real_size;
}

static ptrdiff_t steps(const lmx_array *x) { return x->stride[x->axes - 1] / (ptrdiff_t)x->size; }

/* Where element i of a row is; *left: how many, it included, are a constant stride apart from there on. */
static const char *run_at(const lmx_array *x, const char *row, size_t i, size_t *left)
{
    const int last = x->axes - 1;
    size_t q = i / x->n[last];
    ptrdiff_t offset = (ptrdiff_t)(i - q * x->n[last]) * x->stride[last];
    *left = x->n[last] - (i - q * x->n[last]);
    for (int k = last - 1; k >= x->outer; k--) {
        const size_t r = q / x->n[k];
        offset += (ptrdiff_t)(q - r * x->n[k]) * x->stride[k];
        q = r;
    }
    return row + offset;
}

/* Reals of one compute type at x as those of the other at z, which is returned. */
static const char *convert(const lmx_table *from, const void *x, size_t n, const lmx_table *to,
                           void *z)
{
    double *d = z;
    float *f = z;
    for (size_t i = 0; i < n; i++)
        if (to->real_size == 8)
            d[i] = lmx_real_at(from, x, i);
        else
            f[i] = (float)lmx_real_at(from, x, i);
    return z;
}

/* n elements, a stride of bytes apart, as reals to z; at most STAGE of them. */
static void load_run(const lmx_array *x, const char *at, size_t n, const lmx_table *real, char *z)
{
    LMX_ALIGN(64) char elements[STAGE * 8];
    LMX_ALIGN(64) char reals[STAGE * 8];
    const ptrdiff_t stride = x->stride[x->axes - 1];
    elements[0] = 0; /* the compiler does not know that n is not 0 */
    lmx_gather g = { .stride = 1, .rate = 1 };
    const void *from = at;
    if (x->natural) {
        g.stride = steps(x);
    } else {
        from = elements;
        for (size_t i = 0; i < n; i++, at += stride)
            memcpy(elements + i * x->size, at, x->size);
    }
    if (x->table->real_size == real->real_size) {
        x->table->gather(from, n, &g, z);
    } else {
        x->table->gather(from, n, &g, reals);
        convert(x->table, reals, n, real, z);
    }
}

static void store_run(const lmx_array *y, char *at, size_t n, const lmx_table *real, const char *z)
{
    LMX_ALIGN(64) char elements[STAGE * 8];
    LMX_ALIGN(64) char reals[STAGE * 8];
    const ptrdiff_t stride = y->stride[y->axes - 1];
    reals[0] = 0; /* the compiler does not know that n is not 0 */
    lmx_gather g = { .stride = 1, .rate = 1 };
    if (y->table->real_size != real->real_size)
        z = convert(real, z, n, y->table, reals);
    if (y->natural) {
        g.stride = steps(y);
        y->table->scatter(z, n, &g, at);
        return;
    }
    y->table->scatter(z, n, &g, elements);
    for (size_t i = 0; i < n; i++, at += stride)
        memcpy(at, elements + i * y->size, y->size);
}

/* Writes `value` to z where the mask is 0. */
static void mask(const lmx_passage *how, lmx_stretch at, const lmx_table *real, char *z,
                 double value)
{
    const lmx_array *w = how->where;
    for (size_t done = 0, left; done < at.n; done += left) {
        const char *m = run_at(w, how->where_row, at.first + done, &left);
        left = left < at.n - done ? left : at.n - done;
        for (size_t i = 0; i < left; i++, m += w->stride[w->axes - 1])
            if (*m == 0)
                real->put_value(z + (done + i) * real->real_size, value);
    }
}

void lmx_load(const lmx_array *x, lmx_stretch at, const lmx_passage *how, const lmx_table *real,
              void *z)
{
    lmx_gather g = { .stride = 1, .rate = how->rate, .rate_lo = how->rate_lo };
    if (simple(x, real)) {
        g.stride = steps(x);
        if (how->where != NULL) {
            g.where_stride = how->where->stride[x->outer];
            g.where = (const unsigned char *)how->where_row + (ptrdiff_t)at.first * g.where_stride;
        }
        x->table->gather(at.row + (ptrdiff_t)at.first * x->stride[x->outer], at.n, &g, z);
        return;
    }
    for (size_t done = 0, left; done < at.n; done += left) {
        const char *from = run_at(x, at.row, at.first + done, &left);
        left = left < at.n - done ? left : at.n - done;
        left = left < STAGE ? left : STAGE;
        load_run(x, from, left, real, (char *)z + done * real->real_size);
    }
    if (g.rate != 1)
        real->gather(z, at.n, &g, z);
    if (how->where != NULL)
        mask(how, at, real, z, -INFINITY);
}

void lmx_store(const lmx_array *y, lmx_stretch at, const lmx_passage *how, const lmx_table *real,
               void *z)
{
    if (simple(y, real)) {
        lmx_gather g = { .stride = steps(y),
                         .rate = 1,
                         .masked_value = how->masked_value,
                         .stream = how->nontemporal };
        if (how->where != NULL) {
            g.where_stride = how->where->stride[y->outer];
            g.where = (const unsigned char *)how->where_row + (ptrdiff_t)at.first * g.where_stride;
        }
        char *const to = (char *)(uintptr_t)at.row + (ptrdiff_t)at.first * y->stride[y->outer];
        y->table->scatter(z, at.n, &g, to);
        return;
    }
    if (how->where != NULL)
        mask(how, at, real, z, how->masked_value ? -INFINITY : 0);
    for (size_t done = 0, left; done < at.n; done += left) {
        char *const to = (char *)(uintptr_t)run_at(y, at.row, at.first + done, &left);
        left = left < at.n - done ? left : at.n - done;
        left = left < STAGE ? left : STAGE;
        store_run(y, to, left, real, (const char *)z + done * real->real_size);
    }
}

void lmx_fill(const lmx_array *y, lmx_stretch at, double value)
{
    LMX_ALIGN(8) char one[8];
    for (size_t done = 0, left; done < at.n; done += left) {
        char *to = (char *)(uintptr_t)run_at(y, at.row, at.first + done, &left);
        left = left < at.n - done ? left : at.n - done;
        if (y->natural) {
            y->table->fill(to, left, steps(y), value);
            continue;
        }
        y->table->fill(one, 1, 1, value);
        for (size_t i = 0; i < left; i++, to += y->stride[y->axes - 1])
            memcpy(to, one, y->size);
    }
}

double lmx_get(const lmx_array *x, const char *at)
{
    LMX_ALIGN(8) char one[8];
    if (x->natural)
        return x->table->get(at);
    memcpy(one, at, x->size);
    return x->table->get(one);
}

void lmx_put(const lmx_array *y, const char *at, const lmx_table *real, double value)
{
    LMX_ALIGN(8) char z[8], one[8];
    const lmx_gather as_is = { .stride = 1, .rate = 1 };
    char *const to = (char *)(uintptr_t)at;
    real->put_value(z, value);
    if (y->table == real && y->natural) {
        memcpy(to, z, y->size);
        return;
    }
    if (y->table->real_size != real->real_size) {
        LMX_ALIGN(8) char other[8];
        convert(real, z, 1, y->table, other);
        memcpy(z, other, sizeof z);
    }
    y->table->scatter(z, 1, &as_is, one);
    memcpy(to, one, y->size);
}

int lmx_rows_packed(const lmx_array *x)
{
    const int o = x->outer;
    if (!lmx_row_contiguous(x) || o != 1)
        return 0;
    return x->n[0] == 1 || x->stride[0] == (ptrdiff_t)(x->n[1] * x->size);
}

/* Whether the block is one run of elements, and nothing differs between its rows. */
static int is_run(const lmx_array *x, lmx_block b, const lmx_passage *how, const lmx_table *real)
{
    return how->where == NULL && b.n == x->n[x->axes - 1] && lmx_rows_packed(x) &&
           x->table->real_size == real->real_size;
}

/* Row r of the block; how->where_row becomes the mask's. */
static lmx_stretch row_of(const lmx_array *x, lmx_block b, size_t r, lmx_passage *how)
{
    if (how->where != NULL)
        how->where_row = lmx_row_at(how->where, b.row + r);
    return (lmx_stretch){ lmx_row_at(x, b.row + r), b.first, b.n };
}

void lmx_load_rows(const lmx_array *x, lmx_block b, lmx_passage how, const lmx_table *real, char *z)
{
    const lmx_gather g = { .stride = 1, .rate = how.rate, .rate_lo = how.rate_lo };
    if (is_run(x, b, &how, real)) {
        x->table->gather(lmx_row_at(x, b.row), b.rows * b.n, &g, z);
        return;
    }
    for (size_t r = 0; r < b.rows; r++, z += b.n * real->real_size)
        lmx_load(x, row_of(x, b, r, &how), &how, real, z);
}

void lmx_store_rows(const lmx_array *y, lmx_block b, lmx_passage how, const lmx_table *real,
                    char *z)
{
    const lmx_gather g = { .stride = 1, .rate = 1, .stream = how.nontemporal };
    if (is_run(y, b, &how, real)) {
        y->table->scatter(z, b.rows * b.n, &g, (char *)(uintptr_t)lmx_row_at(y, b.row));
        return;
    }
    for (size_t r = 0; r < b.rows; r++, z += b.n * real->real_size)
        lmx_store(y, row_of(y, b, r, &how), &how, real, z);
}
