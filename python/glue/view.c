/* SPDX-License-Identifier: Apache-2.0 */
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
static signed char builtin[BUILTIN_TYPES]; /* dtype + 1, so that 0 is none */
static struct {
    int number, dtype;
} others[OTHER_TYPES];
static int others_count;

void lmxpy_set_objects(size_t header_size, uintptr_t array, uintptr_t none)
{
    header = header_size;
    array_type = array;
    none_object = none;
}

int lmxpy_set_type(int number, int dtype)
{
    if (number >= 0 && number < BUILTIN_TYPES) {
        builtin[number] = (signed char)(dtype + 1);
        return 0;
    }
    for (int i = 0; i < others_count; i++)
        if (others[i].number == number)
            return 0;
    if (others_count == OTHER_TYPES)
        return -1;
    others[others_count].number = number;
    others[others_count].dtype = dtype;
    others_count++;
    return 0;
}

static int dtype_of(const descr_fields *d)
{
    if (d->byteorder != '=' && d->byteorder != '|')
        return -1;
    if (d->number >= 0 && d->number < BUILTIN_TYPES)
        return builtin[d->number] - 1;
    for (int i = 0; i < others_count; i++)
        if (others[i].number == d->number)
            return others[i].dtype;
    return -1;
}

int is_none(uintptr_t object) { return object == none_object; }

/* NULL if the object is no numpy.ndarray, but of a subclass, say. */
static const array_fields *fields_of(uintptr_t object)
{
    if (*(const uintptr_t *)(object + header - sizeof(void *)) != array_type)
        return NULL;
    return (const array_fields *)(object + header);
}

static void fill(const array_fields *a, lmx_view *v)
{
    v->data = a->data;
    v->dtype = dtype_of((const descr_fields *)(a->descr + header));
    v->ndim = a->ndim;
    v->shape = a->shape;
    v->strides = a->strides;
}

int is_array(uintptr_t object, lmx_view *v)
{
    const array_fields *a = fields_of(object);
    if (a != NULL)
        fill(a, v);
    return a != NULL;
}

int is_output(uintptr_t object, lmx_view *v)
{
    const array_fields *a = fields_of(object);
    if (a != NULL)
        fill(a, v);
    return a != NULL && (a->flags & WRITEABLE) != 0;
}

int is_optional(uintptr_t object, lmx_view *v, const lmx_view **to)
{
    *to = is_none(object) ? NULL : v;
    return *to == NULL || is_array(object, v);
}

int are_doubles(uintptr_t object, size_t least, double **to)
{
    *to = NULL;
    if (is_none(object))
        return 1;
    const array_fields *a = fields_of(object);
    if (a == NULL || (a->flags & (IN_C_ORDER | ALIGNED)) != (IN_C_ORDER | ALIGNED) ||
        dtype_of((const descr_fields *)(a->descr + header)) != LMX_F64)
        return 0;
    size_t n = 1;
    for (int i = 0; i < a->ndim; i++)
        n *= (size_t)a->shape[i];
    *to = (double *)(void *)a->data;
    return n >= least;
}

int lmxpy_see(uintptr_t object, lmxpy_image *image)
{
    lmx_view v;
    if (!is_array(object, &v))
        return LMXPY_UNUSUAL;
    image->data = (uintptr_t)v.data;
    image->ndim = v.ndim;
    image->dtype = v.dtype;
    image->flags = ((const array_fields *)(object + header))->flags;
    image->shape = v.shape;
    image->strides = v.strides;
    return LMX_OK;
}

void *lmxpy_data(uintptr_t object)
{
    const array_fields *a = fields_of(object);
    return a != NULL ? a->data : NULL;
}
