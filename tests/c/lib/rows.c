/* SPDX-License-Identifier: Apache-2.0 */
/* See rows.h. */
#include "rows.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t elem_size(lmx_dtype dtype)
{
    static const size_t size[N_DTYPES] = { 4, 8, 2, 2 };
    return size[dtype];
}

const char *dtype_name(lmx_dtype dtype)
{
    static const char *const name[N_DTYPES] = { "f32", "f64", "f16", "bf16" };
    return name[dtype];
}

void elem_put(lmx_dtype dtype, void *p, size_t i, double v)
{
    if (dtype == LMX_F64) {
        ((double *)p)[i] = v;
    } else if (dtype == LMX_F32) {
        ((float *)p)[i] = (float)v;
    } else {
        /* To float by round-to-odd, so that the second rounding is as if from v. */
        float f = (float)v;
        if (isfinite(f) && (double)f != v) {
            uint32_t u = check_f32_bits(f);
            if ((fabs((double)f) > fabs(v)) != 0)
                u--;
            f = check_f32(u | 1);
        }
        ((uint16_t *)p)[i] = dtype == LMX_F16 ? check_to_f16(f) : check_to_bf16(f);
    }
}

double elem_get(lmx_dtype dtype, const void *p, size_t i)
{
    if (dtype == LMX_F64)
        return ((const double *)p)[i];
    if (dtype == LMX_F32)
        return (double)((const float *)p)[i];
    const uint16_t e = ((const uint16_t *)p)[i];
    return dtype == LMX_F16 ? check_from_f16(e) : (double)check_f32((uint32_t)e << 16);
}

bool result_per_row(lmx_row_code op) { return lmx_row_op_info((int)op)->result != LMX_RESULT_ROW; }

size_t result_size(lmx_row_code op, lmx_dtype dtype)
{
    switch (lmx_row_op_info((int)op)->result) {
    case 0:
        return elem_size(dtype);
    case 1:
        return dtype == LMX_F64 ? sizeof(double) : sizeof(float);
    default:
        return sizeof(lmx_expsum);
    }
}

const char *row_kind_name(row_kind kind)
{
    static const char *const name[N_ROW_KINDS] = {
        "normal",     "wide",         "to -88",  "to -110", "unit",      "peak",    "ramp",
        "two-valued", "ten thousand", "heavy",   "masked",  "subnormal", "million", "huge",
        "zeros",      "all masked",   "one inf", "one NaN", "any",
    };
    return name[kind];
}

/* Powers of two that the type holds, and its largest finite value. */
typedef struct range {
    int min_subnormal, max_exponent;
    double largest;
} range;

static range range_of(lmx_dtype dtype)
{
    static const range of[N_DTYPES] = {
        { -149, 127, 0x1.fffffep127 },
        { -1074, 1023, 0x1.fffffffffffffp1023 },
        { -24, 15, 65504 },
        { -133, 127, 0x1.fep127 },
    };
    return of[dtype];
}

static double at_most(double v, double limit)
{
    return v > limit ? limit : v < -limit ? -limit : v;
}

/* Random bits of the type. */
static void put_any(lmx_dtype dtype, void *p, size_t i, check_random *r)
{
    const uint64_t u = check_next(r) >> 7;
    memcpy((char *)p + i * elem_size(dtype), &u, elem_size(dtype));
}

void row_fill(lmx_dtype dtype, void *p, size_t n, row_kind kind, check_random *r)
{
    const range limits = range_of(dtype);
    const size_t chosen = n != 0 ? check_below(r, n) : 0;
    const double one = check_normal(r) * 3, other = check_normal(r) * 3;
    for (size_t i = 0; i < n; i++) {
        double v = 0;
        switch (kind) {
        case ROW_NORMAL:
            v = check_normal(r);
            break;
        case ROW_WIDE:
            v = 10 * check_normal(r);
            break;
        case ROW_TO_88:
            v = check_uniform(r, -88, 0);
            break;
        case ROW_TO_110:
            v = check_uniform(r, -110, 0);
            break;
        case ROW_UNIT:
            v = check_uniform(r, 0, 1);
            break;
        case ROW_PEAK:
            v = i == chosen ? one + 20 : one;
            break;
        case ROW_RAMP:
            v = one + (double)i / 64;
            break;
        case ROW_TWO_VALUED:
            v = (check_next(r) & 1) != 0 ? one : other;
            break;
        case ROW_TEN_THOUSAND:
            v = check_uniform(r, -1e4, 1e4);
            break;
        case ROW_HEAVY: {
            const double below = check_normal(r);
            v = at_most(check_normal(r) / (below == 0 ? 1 : below), limits.largest);
            break;
        }
        case ROW_MASKED:
            v = i != chosen && check_below(r, 100) != 0 ? -INFINITY : check_normal(r);
            break;
        case ROW_SUBNORMAL:
            v = ldexp((double)check_below(r, 128), limits.min_subnormal);
            v = (check_next(r) & 1) != 0 ? v : -v;
            break;
        case ROW_MILLION:
            v = at_most(check_uniform(r, -1e6, 1e6), limits.largest);
            break;
        case ROW_HUGE: {
            const size_t powers = (size_t)(limits.max_exponent + 1 - limits.min_subnormal);
            v = ldexp(1, limits.min_subnormal + (int)check_below(r, powers));
            if (check_below(r, 8) == 0)
                v = limits.largest;
            v = (check_next(r) & 1) != 0 ? v : -v;
            break;
        }
        case ROW_ZEROS:
            v = (check_next(r) & 1) != 0 ? 0.0 : -0.0;
            break;
        case ROW_ALL_MASKED:
            v = -INFINITY;
            break;
        case ROW_ONE_INF:
            v = i == chosen ? INFINITY : check_normal(r);
            break;
        case ROW_ONE_NAN:
            v = i == chosen ? NAN : check_normal(r);
            break;
        default:
            put_any(dtype, p, i, r);
            continue;
        }
        elem_put(dtype, p, i, v);
    }
}

bool results_same(lmx_row_code op, lmx_dtype dtype, const void *got, const void *want, size_t n)
{
    const size_t size = result_size(op, dtype);
    return check_same(got, want, n * size, size == sizeof(lmx_expsum) ? 8 : size);
}

strided_steps row_strides(ptrdiff_t stride) { return (strided_steps){ stride, 1, 0 }; }

lmx_status row_call(lmx_ctx *ctx, lmx_row_code op, lmx_dtype dtype, size_t rows, size_t cols,
                    const void *a, const void *b, void *out)
{
    const strided_shape shape = { rows, cols, 1 };
    const strided_steps in = row_strides((ptrdiff_t)cols);
    const strided_steps to = row_strides(result_per_row(op) ? 1 : (ptrdiff_t)cols);
    return strided_row_op(ctx, op, dtype, &shape, a, &in, b, &in, NULL, out, &to);
}

strided_options row_options(lmx_row_code op)
{
    strided_options options;
    memset(&options, 0, sizeof options);
    CHECK(lmx_row_options_init(op, &options.o) == LMX_OK);
    return options;
}

lmx_options ctx_options(unsigned threads, const char *isa)
{
    lmx_options options;
    CHECK(lmx_options_init(&options) == LMX_OK);
    options.threads = threads;
    options.isa = isa;
    return options;
}

lmx_ctx *ctx_with(unsigned threads, const char *isa)
{
    const lmx_options options = ctx_options(threads, isa);
    lmx_ctx *ctx = NULL;
    const lmx_status status = lmx_ctx_create(&ctx, &options);
    if (status != LMX_OK) {
        fprintf(stderr, "cannot create a context (%u threads, %s): %s\n", threads,
                isa != NULL ? isa : "default", lmx_status_string(status));
        exit(3);
    }
    return ctx;
}
