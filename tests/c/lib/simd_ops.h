/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tier's vector operations as ordinary functions on arrays, so that a test
 * compiled without any vector flag can call them.  simd_ops.c fills it, once per
 * tier and element type; test_simd.c is compiled once per element type.
 */
#ifndef LMX_SIMD_OPS_H
#define LMX_SIMD_OPS_H

#include <stddef.h>
#include <stdint.h>

/* The same types as in lib/simd/simd.h, which simd_ops.c has included already. */
#if defined(LMX_ELEM_F64)
#  define REAL_BITS 64
typedef double real;
typedef int64_t ibits;
#else
#  define REAL_BITS 32
typedef float real;
typedef int32_t ibits;
#endif

#if defined(LMX_ELEM_F32) || defined(LMX_ELEM_F64)
typedef real elem;
#else
typedef uint16_t elem;
#endif

/* Vectors are arrays of `lanes` values, moved with memcpy: v_load is under test too. */
typedef struct simd_ops {
    const char *tier;
    size_t lanes;

    void (*set1)(real a, real *out);
    void (*load)(const real *p, real *out);
    void (*store)(real *p, const real *v);
    void (*load_n)(const real *p, size_t n, real fill, real *out);
    void (*store_n)(real *p, const real *v, size_t n);
    void (*stream)(real *p, const real *v); /* and the fence behind it */

    void (*e_load)(const elem *p, real *out);
    void (*e_store)(elem *p, const real *v);
    void (*e_load_n)(const elem *p, size_t n, real fill, real *out);
    void (*e_store_n)(elem *p, const real *v, size_t n);
    void (*e_stream)(elem *p, const real *v);
    real (*e_get)(const elem *p);
    void (*e_put)(elem *p, real v);

    void (*add)(const real *a, const real *b, real *out);
    void (*sub)(const real *a, const real *b, real *out);
    void (*mul)(const real *a, const real *b, real *out);
    void (*div)(const real *a, const real *b, real *out);
    void (*max)(const real *a, const real *b, real *out);
    void (*min)(const real *a, const real *b, real *out);
    void (*fma)(const real *a, const real *b, const real *c, real *out);
    real (*hmax)(const real *v);

    void (*select_gt)(const real *a, const real *b, const real *x, const real *y, real *out);
    void (*select_eq)(const real *a, const real *b, const real *x, const real *y, real *out);
    void (*select_nan)(const real *a, const real *x, const real *y, real *out);
    int (*any_gt)(const real *a, const real *b);
    int (*any_eq)(const real *a, const real *b);
    int (*any_nan)(const real *a);

    void (*bits)(const real *v, ibits *out);
    void (*from_bits)(const ibits *v, real *out);
    void (*vi_set1)(ibits a, ibits *out);
    void (*vi_add)(const ibits *a, const ibits *b, ibits *out);
    void (*vi_shl)(const ibits *v, int count, ibits *out); /* 0 and the counts of SHIFTS */
    void (*vi_shr)(const ibits *v, int count, ibits *out); /* the counts of SHIFTS */

    /* Entry i of t, plus a; float only, else NULL. */
    void (*table8)(const int32_t *t, ibits a, const ibits *i, ibits *out);

    /* The sum of n_add vectors, then of n_fma products, from zero. */
    void (*wide)(const real *v, size_t n_add, const real *a, const real *b, size_t n_fma,
                 double *hi, double *lo);
    /* The total of lanes that are loaded; NULL for double. */
    double (*wide_total)(const double *hi, const double *lo);

    /* Two of them, loaded, and merged. */
    void (*wide_merge)(const double *a_hi, const double *a_lo, const double *b_hi,
                       const double *b_lo, double *hi, double *lo);
    /* The product of a and b, made wide, times c, made wide; and its square. */
    void (*wide_mul)(const real *a, const real *b, const real *c, double *hi, double *lo);

    /* evens and odds of a and b, and these two zipped again */
    void (*split)(const real *a, const real *b, real *evens, real *odds);
    void (*zip)(const real *evens, const real *odds, real *low, real *high);
} simd_ops;

/* Shift counts are constants of the instruction: these are tried. */
#if REAL_BITS == 64
#  define SHIFTS(OP) OP(1) OP(2) OP(7) OP(20) OP(31) OP(32) OP(33) OP(45) OP(49) OP(52) OP(63)
#else
#  define SHIFTS(OP) OP(1) OP(2) OP(7) OP(13) OP(16) OP(17) OP(20) OP(23) OP(29) OP(31)
#endif

#endif
