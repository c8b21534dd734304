/* SPDX-License-Identifier: Apache-2.0 */
/* See check.h.  POSIX: guard pages need mmap. */
#include "check.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__) || defined(__i386__)
#  include <cpuid.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#  define CHECK_ASAN 1
#elif defined(__has_feature)
#  if __has_feature(address_sanitizer)
#    define CHECK_ASAN 1
#  endif
#endif

/* Enough to see a pattern, few enough to read. */
#define MAX_PRINTED 20

check_place check_at;
bool check_fast, check_full, check_noguard, check_nofork;

static const char *program_name = "";
static uint64_t n_cells, n_failures, n_skips;
static double started;

/* ------------------------------------------------------------ the program --- */

double check_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char *or_dash(const char *s) { return s != NULL ? s : "-"; }

static void print_place(FILE *f)
{
    fprintf(f, "FAIL %s %s: seed=%" PRIu64 " tier=%s dtype=%s n=%zu offset=%zu/%zu ", program_name,
            or_dash(check_at.test), check_at.seed, or_dash(check_at.tier), or_dash(check_at.dtype),
            check_at.n, check_at.in_offset, check_at.out_offset);
}

/* A guard page was hit, or a sanitizer aborts: say where, as no debugger is at hand in CI, then die
 * as without us. */
static void on_fault(int signal_number, siginfo_t *info, void *unused)
{
    (void)unused;
    char
        line[512]; /* snprintf is not async-signal-safe by the letter; the process is lost anyway */
    const int length = snprintf(line, sizeof line,
                                "FAULT signal %d at %p, in %s %s: seed=%" PRIu64
                                " tier=%s dtype=%s n=%zu offset=%zu/%zu\n",
                                signal_number, info->si_addr, program_name, or_dash(check_at.test),
                                check_at.seed, or_dash(check_at.tier), or_dash(check_at.dtype),
                                check_at.n, check_at.in_offset, check_at.out_offset);
    if (length > 0 && write(STDERR_FILENO, line, (size_t)length) < 0)
        _exit(3);
    signal(signal_number, SIG_DFL);
}

static bool has_word(const char *words, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += length) {
        const bool starts = at == words || at[-1] == ',' || at[-1] == ' ';
        const bool ends = at[length] == '\0' || at[length] == ',' || at[length] == ' ';
        if (starts && ends)
            return true;
    }
    return false;
}

void check_begin(const char *program)
{
    program_name = program;
    started = check_seconds();
    /* The build's own choice is a word of less weight than the user's. */
    const char *words = getenv("LMX_CHECK");
    if (words == NULL || *words == '\0')
        words = getenv("LMX_CHECK_DEFAULT");
    if (words != NULL) {
        check_noguard = has_word(words, "noguard");
        check_nofork = check_noguard || has_word(words, "nofork");
        check_full = has_word(words, "full");
        check_fast = !check_full && (has_word(words, "fast") || check_noguard);
    }
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigemptyset(&action.sa_mask);
    sigaction(SIGABRT, &action, NULL);
#if !defined(CHECK_ASAN) /* which says more about these */
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    sigaction(SIGILL, &action, NULL);
    sigaction(SIGFPE, &action, NULL);
#endif
}

void check_skip(const char *what, const char *why)
{
    n_skips++;
    printf("SKIP %s: %s (%s)\n", program_name, what, why);
    fflush(stdout);
}

void check_count(uint64_t cells) { n_cells += cells; }

uint64_t check_failures(void) { return n_failures; }

int check_end(void)
{
    if (n_failures > MAX_PRINTED)
        printf("... and %" PRIu64 " more failures\n", n_failures - MAX_PRINTED);
    printf("%s: %" PRIu64 " cells, %" PRIu64 " failures, %" PRIu64 " skipped, %.2f s%s\n",
           program_name, n_cells, n_failures, n_skips, check_seconds() - started,
           check_full      ? " (full)"
           : check_noguard ? " (fast, noguard)"
           : check_fast    ? " (fast)"
                           : "");
    fflush(stdout);
    if (n_failures != 0)
        return 1;
    return n_cells == 0 && n_skips != 0 ? 77 : 0;
}

/* ---------------------------------------------------------------- failures --- */

static bool count_failure(void)
{
    n_failures++;
    if (n_failures > MAX_PRINTED)
        return false;
    print_place(stdout);
    return true;
}

void check_fail(const char *format, ...)
{
    if (!count_failure())
        return;
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

bool check_true(bool condition, const char *text, const char *file, int line)
{
    n_cells++;
    if (!condition)
        check_fail("%s:%d: %s", file, line, text);
    return condition;
}

/* Reals in order: negative ones mirrored, so that the two zeros are the same place. */
static int64_t ordered(uint64_t u, int bits)
{
    const uint64_t sign = (uint64_t)1 << (bits - 1);
    return u & sign ? -(int64_t)(u & (sign - 1)) : (int64_t)u;
}

static bool is_nan_bits(uint64_t u, int bits)
{
    if (bits == 32)
        return (u & 0x7fffffffu) > 0x7f800000u;
    if (bits == 64)
        return (u & 0x7fffffffffffffffu) > 0x7ff0000000000000u;
    return false;
}

uint64_t check_ulp(uint64_t a, uint64_t b, int bits)
{
    if (is_nan_bits(a, bits) || is_nan_bits(b, bits))
        return is_nan_bits(a, bits) && is_nan_bits(b, bits) ? 0 : UINT64_MAX;
    const int64_t x = ordered(a, bits), y = ordered(b, bits);
    return x > y ? (uint64_t)x - (uint64_t)y : (uint64_t)y - (uint64_t)x;
}

bool check_bits(size_t index, uint64_t got, uint64_t want, int bits)
{
    if (got == want)
        return true;
    const int digits = bits / 4;
    if (bits == 32)
        check_fail("index=%zu got=0x%0*" PRIx64 " (%a) want=0x%0*" PRIx64 " (%a) ulp=%" PRIu64,
                   index, digits, got, (double)check_f32((uint32_t)got), digits, want,
                   (double)check_f32((uint32_t)want), check_ulp(got, want, bits));
    else if (bits == 64)
        check_fail("index=%zu got=0x%0*" PRIx64 " (%a) want=0x%0*" PRIx64 " (%a) ulp=%" PRIu64,
                   index, digits, got, check_f64(got), digits, want, check_f64(want),
                   check_ulp(got, want, bits));
    else
        check_fail("index=%zu got=0x%0*" PRIx64 " want=0x%0*" PRIx64 " ulp=%" PRIu64, index, digits,
                   got, digits, want, check_ulp(got, want, bits));
    return false;
}

bool check_same(const void *got, const void *want, size_t size, size_t width)
{
    if (size == 0 || memcmp(got, want, size) == 0)
        return true;
    const unsigned char *const g = got, *const w = want;
    for (size_t i = 0; i + width <= size; i += width) {
        if (memcmp(g + i, w + i, width) == 0)
            continue;
        uint64_t a = 0, b = 0; /* little-endian, as every host of this library */
        memcpy(&a, g + i, width);
        memcpy(&b, w + i, width);
        return check_bits(i / width, a, b, (int)width * 8);
    }
    return false;
}

/* --------------------------------------------------------- guarded memory --- */

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static void die(const char *what)
{
    perror(what);
    exit(3);
}

check_buffer check_buffer_new(size_t size)
{
    const size_t page = page_size();
    check_buffer b;
    b.size = (size + page - 1) / page * page;
    if (b.size == 0)
        b.size = page;
    unsigned char *const all =
        mmap(NULL, b.size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED || mprotect(all + page, b.size, PROT_READ | PROT_WRITE) != 0)
        die("guarded memory");
    b.base = all + page;
    b.image = malloc(b.size);
    if (b.image == NULL)
        die("guarded memory");
    /* Depends on the place, so that a block moved by a few bytes is noticed too. */
    for (size_t i = 0; i < b.size; i++)
        b.image[i] = (unsigned char)(0x5b + 31 * i + (i >> 8));
    check_paint(&b);
    return b;
}

void check_buffer_free(check_buffer *b)
{
    const size_t page = page_size();
    munmap(b->base - page, b->size + 2 * page);
    free(b->image);
    b->base = b->image = NULL;
}

void *check_put(const check_buffer *b, size_t size, check_flush flush, size_t offset)
{
    if (size + offset > b->size) {
        fprintf(stderr, "%s: a guarded buffer of %zu bytes is too small\n", program_name, b->size);
        exit(3);
    }
    return flush == CHECK_START ? b->base + offset : b->base + b->size - offset - size;
}

void check_paint(const check_buffer *b) { memcpy(b->base, b->image, b->size); }

bool check_canaries(const check_buffer *b, void *p, size_t size)
{
    const size_t before = (size_t)((unsigned char *)p - b->base);
    const size_t after = before + size;
    const bool good = memcmp(b->base, b->image, before) == 0 &&
                      memcmp(b->base + after, b->image + after, b->size - after) == 0;
    if (!good) {
        for (size_t i = 0; i < b->size; i++)
            if ((i < before || i >= after) && b->base[i] != b->image[i]) {
                check_fail("wrote outside the array, at byte %td of its %zu",
                           (ptrdiff_t)i - (ptrdiff_t)before, size);
                break;
            }
        check_paint(b);
    }
    if (size != 0)
        memcpy(p, b->image + before, size);
    return good;
}

bool check_untouched(const check_buffer *b) { return check_canaries(b, b->base, 0); }

/* ------------------------------------------------------------------- data --- */

check_random check_random_new(uint64_t seed)
{
    check_random r;
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r.s[i] = z ^ z >> 31;
    }
    return r;
}

static uint64_t rotate(uint64_t x, int k) { return x << k | x >> (64 - k); }

uint64_t check_next(check_random *r)
{
    uint64_t *const s = r->s;
    const uint64_t result = rotate(s[1] * 5, 7) * 9;
    const uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

size_t check_below(check_random *r, size_t n) { return (size_t)(check_next(r) % n); }

double check_uniform(check_random *r, double lo, double hi)
{
    const double u = (double)(check_next(r) >> 11) * 0x1p-53;
    return lo + (hi - lo) * u;
}

double check_normal(check_random *r)
{
    /* Twelve uniforms: no libm, hence the same data on every system.  Good to +-6, which is what
     * "normal" has to mean here. */
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += check_uniform(r, 0, 1);
    return sum;
}

uint64_t check_hash(uint64_t hash, const void *p, size_t size)
{
    const unsigned char *const c = p;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ c[i]) * 0x100000001b3u;
    return hash;
}

/* ---------------------------------------------------------------- formats --- */

uint32_t check_f32_bits(float v)
{
    uint32_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

uint64_t check_f64_bits(double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return u;
}

float check_f32(uint32_t u)
{
    float v;
    memcpy(&v, &u, sizeof v);
    return v;
}

double check_f64(uint64_t u)
{
    double v;
    memcpy(&v, &u, sizeof v);
    return v;
}

double check_from_f16(uint16_t h)
{
    const int exponent = h >> 10 & 31, fraction = h & 0x3ff;
    double v;
    if (exponent == 31)
        v = fraction == 0 ? (double)INFINITY : (double)NAN;
    else if (exponent == 0)
        v = ldexp(fraction, -24);
    else
        v = ldexp(1024 + fraction, exponent - 25);
    return h & 0x8000 ? -v : v;
}

uint16_t check_to_f16(float v)
{
    const uint32_t u = check_f32_bits(v);
    const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
    if (isnan(v))
        return (uint16_t)(sign | 0x7e00 | (u >> 13 & 0x3ff));
    const double a = fabs((double)v);
    if (a >= 65520) /* half way from the largest, 65504, to 65536; the tie goes to even: up */
        return sign | 0x7c00;
    /* In units of the last place of a's binade, with the subnormals' for the smallest. */
    int e = a == 0 ? -15 : ilogb(a);
    e = e < -14 ? -14 : e;
    const int units = (int)rint(ldexp(a, 10 - e)); /* 0..2048, nearest even; exact otherwise */
    /* The hidden bit counts as one more exponent, and is missing in a subnormal, whose e + 14 is 0;
     * 2048 carries into the exponent. */
    return (uint16_t)(sign | ((e + 14) * 1024 + units));
}

uint16_t check_to_bf16(float v)
{
    const uint32_t u = check_f32_bits(v);
    if (isnan(v))
        return (uint16_t)(u >> 16 | 0x40);
    const uint32_t rest = u & 0xffff, kept = u >> 16;
    const bool up = rest > 0x8000 || (rest == 0x8000 && (kept & 1) != 0);
    return (uint16_t)(kept + up);
}

/* -------------------------------------------------------------------- CPU --- */

bool check_cpu_runs(const char *tier)
{
    if (strcmp(tier, "portable") == 0)
        return true;
#if defined(__aarch64__)
    return strcmp(tier, "neon") == 0;
#elif defined(__x86_64__) || defined(__i386__)
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & bit_F16C) == 0)
        return false;
    if (strcmp(tier, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(tier, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return false;
#else
    return false;
#endif
}
