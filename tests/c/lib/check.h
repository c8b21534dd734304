/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every C test needs: memory that ends where the array ends, canaries,
 * distances in ULP, reproducible data, and failure lines that say where they are.
 *
 * A program calls check_begin, then check_* for each cell, and returns
 * check_end().  Failures are counted, the first few are printed, and none stops
 * the program.  The environment variable LMX_CHECK holds words:
 *
 *   fast     a reduced grid, for emulators, valgrind and sanitizers
 *   full     everything, for nightly runs
 *   noguard  no page faults are provoked, and fast: qemu-x86_64 7.2 reads the masked-out
 *            words of an AVX2 load (hardware does not), so that a correct tail faults there
 *   nofork   no threads in forked children, in which qemu-user 7.2 dies of assertions of its own;
 *            noguard implies it
 *
 * Meson sets LMX_CHECK_DEFAULT where it cross-compiles or a sanitizer is on.
 */
#ifndef LMX_CHECK_H
#define LMX_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ------------------------------------------------------------ the program --- */

/* Where the program is; every failure line prints it. */
typedef struct check_place {
    const char *test;
    const char *tier;
    const char *dtype;
    uint64_t seed;
    size_t n;
    size_t in_offset;
    size_t out_offset;
} check_place;

extern check_place check_at;
extern bool check_fast, check_full, check_noguard, check_nofork;

void check_begin(const char *program);

/* Counts a test that cannot run here, and says so; never a failure. */
void check_skip(const char *what, const char *why);

/* Prints cells, failures and seconds. 0: passed, 1: failed, 77: nothing could run (Meson's skip). */
int check_end(void);

/* Adds to the number of cells tested. */
void check_count(uint64_t cells);

/* Failures so far. */
uint64_t check_failures(void);

/* Seconds on a monotonic clock. */
double check_seconds(void);

/* ---------------------------------------------------------------- failures --- */

/* One printf-style line after the place; for what the functions below do not cover. */
void check_fail(const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 1, 2)))
#endif
    ;

/* The text of the condition and its line are what a macro is for. */
#define CHECK(condition) check_true((condition), #condition, __FILE__, __LINE__)
bool check_true(bool condition, const char *text, const char *file, int line);

/* One element, as bits: `bits` is 16, 32 or 64, and names the format for the ULP distance
 * (16: the distance of the integers). */
bool check_bits(size_t index, uint64_t got, uint64_t want, int bits);

/* size bytes of two arrays of elements of `width` bytes; the first difference is printed. */
bool check_same(const void *got, const void *want, size_t size, size_t width);

/* The number of values of the format between the two; UINT64_MAX if just one is NaN. */
uint64_t check_ulp(uint64_t a, uint64_t b, int bits);

/* --------------------------------------------------------- guarded memory --- */

/* Usable bytes between two pages that cannot be touched. */
typedef struct check_buffer {
    unsigned char *base;
    unsigned char *image; /* what the canaries look like, outside the guards */
    size_t size;
} check_buffer;

typedef enum check_flush {
    CHECK_START, /* the array starts `offset` bytes behind the front guard */
    CHECK_END    /* the array ends `offset` bytes before the back guard */
} check_flush;

check_buffer check_buffer_new(size_t size);
void check_buffer_free(check_buffer *b);

/* The address of `size` bytes at one end of the buffer. */
void *check_put(const check_buffer *b, size_t size, check_flush flush, size_t offset);

/* Writes canaries over all of the buffer. */
void check_paint(const check_buffer *b);

/* Fails if a byte of the buffer outside [p, p + size) is no canary any more.  Bytes inside are
 * painted again, so that the buffer is ready for the next cell. */
bool check_canaries(const check_buffer *b, void *p, size_t size);

/* The same, and fails if a byte inside was written too. */
bool check_untouched(const check_buffer *b);

/* ------------------------------------------------------------------- data --- */

/* xoshiro256**, seeded by splitmix64 (Blackman and Vigna, public domain): the same numbers
 * everywhere. */
typedef struct check_random {
    uint64_t s[4];
} check_random;

check_random check_random_new(uint64_t seed);
uint64_t check_next(check_random *r);
size_t check_below(check_random *r, size_t n); /* 0 <= result < n, n > 0 */
double check_uniform(check_random *r, double lo, double hi);
double check_normal(check_random *r); /* N(0, 1); exact operations only, so the same bits
                                               everywhere */

/* FNV-1a, 64 bits. */
#define CHECK_HASH_SEED 0xcbf29ce484222325u
uint64_t check_hash(uint64_t hash, const void *p, size_t size);

/* ---------------------------------------------------------------- formats --- */

uint32_t check_f32_bits(float v);
uint64_t check_f64_bits(double v);
float check_f32(uint32_t u);
double check_f64(uint64_t u);

/* Conversions written for clarity in integers and double, as the reference for everything. */
double check_from_f16(uint16_t h);
uint16_t check_to_f16(float v);
uint16_t check_to_bf16(float v);

/* -------------------------------------------------------------------- CPU --- */

/* Whether this CPU and system can run the tier; asked here without the library. */
bool check_cpu_runs(const char *tier);

#endif
