/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "view.h"

/*
 * PyArrayObject_fields and the head of PyArray_Descr.  Extensions built against any NumPy since 1.0
 * read these fields in place through inline functions, so their offsets behind the object's header
 * are part of NumPy's binary interface.  The type of an object is the last field of its header.
 * Python compares what is seen here with NumPy's own answer when it starts.
 */
typedef struct array_fields {
    char *data;
    int ndim;
    ptrdiff_t *shape, *strides;
    void *base;
    char *descr;
    int flags;
} array_fields;

typedef struct descr_fields {
    void *type;
    char kind, letter, byteorder, flags;
    int number;
} descr_fields;

enum { IN_C_ORDER = 0x1, ALIGNED = 0x100, WRITEABLE = 0x400 };
enum { BUILTIN_TYPES = 32, OTHER_TYPES = 4 };

static size_t header;
static uintptr_t array_type, none_object;
static signed char builtin[BUILTIN_TYPES]; /* lmxpy_type + 1, so that 0 is none */
static struct {
    int number, type;
} others[OTHER_TYPES];
static int others_count;

void lmxpy_set_objects(size_t header_size, uintptr_t array, uintptr_t none)
{
    header = header_size;
    array_type = array;
    none_object = none;
}

int lmxpy_set_type(int number, int type)
{
    if (number >= 0 && number < BUILTIN_TYPES) {
        builtin[number] = (signed char)(type + 1);
        return 0;
    }
    for (int i = 0; i < others_count; i++)
        if (others[i].number == number)
            return 0;
    if (others_count == OTHER_TYPES)
        return -1;
    others[others_count].number = number;
    others[others_count].type = type;
    others_count++;
    return 0;
}

static int type_of(const descr_fields *d)
{
    if (d->byteorder != '=' && d->byteorder != '|')
        return -1;
    if (d->number >= 0 && d->number < BUILTIN_TYPES)
        return builtin[d->number] - 1;
    for (int i = 0; i < others_count; i++)
        if (others[i].number == d->number)
            return others[i].type;
    return -1;
}

int is_none(uintptr_t object) { return object == none_object; }

int is_array(uintptr_t object, view *v)
{
    if (*(const uintptr_t *)(object + header - sizeof(void *)) != array_type)
        return 0;
    const array_fields *a = (const array_fields *)(object + header);
    v->data = a->data;
    v->ndim = a->ndim;
    v->shape = a->shape;
    v->strides = a->strides;
    v->flags = a->flags;
    v->type = type_of((const descr_fields *)(a->descr + header));
    return 1;
}

int lmxpy_see(uintptr_t object, lmxpy_image *image)
{
    view v;
    if (!is_array(object, &v))
        return LMXPY_UNUSUAL;
    image->data = (uintptr_t)v.data;
    image->ndim = v.ndim;
    image->type = v.type;
    image->flags = v.flags;
    image->shape = v.shape;
    image->strides = v.strides;
    return LMX_OK;
}

void *lmxpy_data(uintptr_t object)
{
    view v;
    return is_array(object, &v) ? v.data : NULL;
}

int is_contiguous(const view *v)
{
    return (v->flags & (IN_C_ORDER | ALIGNED)) == (IN_C_ORDER | ALIGNED);
}

int is_aligned(const view *v) { return (v->flags & ALIGNED) != 0; }

int is_writeable(const view *v) { return (v->flags & WRITEABLE) != 0; }

int is_float(const view *v) { return v->type >= 0 && v->type < LMXPY_INTEGERS; }

int same_shape(const view *a, const view *b)
{
    if (a->ndim != b->ndim)
        return 0;
    for (int i = 0; i < a->ndim; i++)
        if (a->shape[i] != b->shape[i])
            return 0;
    return 1;
}

size_t itemsize(int type)
{
    static const unsigned char of_float[] = { 4, 8, 2, 2 };
    static const unsigned char of_integer[] = { 1, 2, 4, 8, 1, 2, 4, 8 };
    if (type >= LMXPY_BOOL)
        return 1;
    return type < LMXPY_INTEGERS ? of_float[type] : of_integer[type - LMXPY_INTEGERS];
}

size_t elements(const view *v)
{
    size_t n = 1;
    for (int i = 0; i < v->ndim; i++)
        n *= (size_t)v->shape[i];
    return n;
}

int may_overlap(const view *a, const view *b)
{
    const view *both[] = { a, b };
    const char *least[2], *end[2];
    for (int k = 0; k < 2; k++) {
        least[k] = both[k]->data;
        end[k] = both[k]->data + itemsize(both[k]->type);
        for (int i = 0; i < both[k]->ndim; i++) {
            const ptrdiff_t reach = (both[k]->shape[i] - 1) * both[k]->strides[i];
            *(reach < 0 ? &least[k] : &end[k]) += reach;
        }
    }
    return least[0] < end[1] && least[1] < end[0];
}

/* Some axes, not next to each other, that every array's strides let one walk as one axis. */
typedef struct group {
    size_t extent;
    int last; /* the innermost of them with more than one element; -1 for none */
} group;

static int nests(const view *arrays, int count, int outer, int inner)
{
    const ptrdiff_t n = arrays[0].shape[inner];
    for (int i = 0; i < count; i++)
        if (arrays[i].strides[outer] != arrays[i].strides[inner] * n)
            return 0;
    return 1;
}

static int extend(group *g, const view *arrays, int count, int axis)
{
    if (g->last >= 0 && !nests(arrays, count, g->last, axis))
        return 0;
    g->extent *= (size_t)arrays[0].shape[axis];
    g->last = axis;
    return 1;
}

/* The stride of a group in elements, for an array whose strides divide by its element size. */
static ptrdiff_t stride(const view *v, const group *g)
{
    return g->last < 0 ? 1 : v->strides[g->last] / (ptrdiff_t)itemsize(v->type);
}

static int store(const view *arrays, int count, const group *rows, const group *cols,
                 const group *inner, layout *found)
{
    found->shape.rows = rows->extent;
    found->shape.cols = cols->extent;
    found->shape.inner = inner->extent;
    const group *groups[] = { rows, cols, inner };
    for (int i = 0; i < count; i++) {
        const ptrdiff_t size = (ptrdiff_t)itemsize(arrays[i].type);
        if (!(arrays[i].flags & ALIGNED))
            return LMXPY_COPY;
        for (int k = 0; k < 3; k++)
            if (groups[k]->last >= 0 && arrays[i].strides[groups[k]->last] % size != 0)
                return LMXPY_COPY;
        found->strides[i].row = stride(&arrays[i], rows);
        found->strides[i].col = stride(&arrays[i], cols);
        found->strides[i].inner = stride(&arrays[i], inner);
    }
    return LMX_OK;
}

int lay_out(const view *arrays, int count, uint64_t over, layout *found)
{
    const view *x = &arrays[0];
    group cols = { 1, -1 }, kept[2] = { { 1, -1 }, { 1, -1 } };
    int k = 0;
    for (int i = 0; i < x->ndim; i++) {
        if (x->shape[i] == 1)
            continue;
        if (over >> i & 1) {
            if (!extend(&cols, arrays, count, i))
                return LMXPY_COPY;
        } else if (!extend(&kept[k], arrays, count, i)) {
            if (++k == 2)
                return LMXPY_COPY;
            extend(&kept[k], arrays, count, i);
        }
    }
    const group one = { 1, -1 };
    /* Neighbours in memory belong to different rows: blocks of columns are the fast way. */
    if (k == 0 && kept[0].last >= 0 && stride(x, &kept[0]) == 1 && stride(x, &cols) != 1)
        return store(arrays, count, &one, &cols, &kept[0], found);
    return store(arrays, count, &kept[0], &cols, &kept[1], found);
}

int lay_out_pointwise(const view *arrays, int count, const view *like, layout *found)
{
    int order[LMXPY_MAX_NDIM], live = 0;
    for (int i = 0; i < like->ndim; i++) {
        if (like->shape[i] == 1)
            continue;
        int at = live++;
        const ptrdiff_t s = like->strides[i] < 0 ? -like->strides[i] : like->strides[i];
        for (; at > 0; at--) {
            const ptrdiff_t t = like->strides[order[at - 1]];
            if ((t < 0 ? -t : t) >= s)
                break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    group g[3] = { { 1, -1 }, { 1, -1 }, { 1, -1 } };
    int k = 0;
    for (int i = 0; i < live; i++)
        if (!extend(&g[k], arrays, count, order[i])) {
            if (++k == 3)
                return LMXPY_COPY;
            extend(&g[k], arrays, count, order[i]);
        }
    const group one = { 1, -1 };
    if (k == 0)
        return store(arrays, count, &one, &g[0], &one, found);
    return store(arrays, count, &g[0], &g[k], k == 1 ? &one : &g[1], found);
}

void lay_out_nothing(size_t rows, size_t cols, layout *found)
{
    memset(found, 0, sizeof *found);
    found->shape.rows = rows;
    found->shape.cols = cols;
    found->shape.inner = 1;
}

int broadcast(view *v, const view *x, ptrdiff_t *strides)
{
    const int missing = x->ndim - v->ndim;
    if (missing < 0)
        return 0;
    for (int i = 0; i < x->ndim; i++) {
        const ptrdiff_t n = i < missing ? 1 : v->shape[i - missing];
        if (n != 1 && n != x->shape[i])
            return 0;
        strides[i] = n == 1 ? 0 : v->strides[i - missing];
    }
    v->ndim = x->ndim;
    v->shape = x->shape;
    v->strides = strides;
    return 1;
}

void gather(const view *v, uint64_t over, double *to)
{
    ptrdiff_t at[LMXPY_MAX_NDIM] = { 0 };
    const char *p = v->data;
    for (;;) {
        *to++ = v->type == LMX_F64 ? *(const double *)p : *(const float *)p;
        int i = v->ndim - 1;
        for (; i >= 0; i--) {
            if (over >> i & 1)
                continue;
            p += v->strides[i];
            if (++at[i] < v->shape[i])
                break;
            p -= at[i] * v->strides[i];
            at[i] = 0;
        }
        if (i < 0)
            return;
    }
}
