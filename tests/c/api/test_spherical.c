/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The factored output layer, with inputs of one element type (the layer is double for f64, else float): the same bits
 * on every tier and for any number of threads, down to its state; no byte outside the arrays; a failure leaves it as it
 * was.  That it equals dense gradient descent is for the Python tests.
 *
 *   test_spherical DTYPE GOLDEN [--update]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"
#include "tiers.h"

static const lmx_loss_code losses[] = { LMX_LOSS_z_loss, LMX_LOSS_spherical_softmax_loss,
                                        LMX_LOSS_taylor_softmax_loss, LMX_LOSS_one_hot_mse_loss };
#define LOSSES (sizeof losses / sizeof *losses)

typedef struct {
    size_t classes, d, rows, targets;
    double lr, decay;
} setting;

/* More classes than a block of rows, a batch larger than d, one class, one input, steps so long that U must be mended. */
static const setting settings[] = {
    { 40, 6, 1, 1, 0.05, 0 },   { 40, 6, 7, 2, 0.25, 0.125 }, { 600, 33, 5, 1, 0.5, 0.0625 },
    { 33, 5, 40, 3, 0.125, 0 }, { 7, 1, 3, 2, 0.25, 0.5 },    { 1, 4, 2, 1, 0.125, 0 },
    { 50, 40, 35, 1, 0.5, 0 },
};
#define SETTINGS (sizeof settings / sizeof *settings)

static lmx_dtype layer_type(void) { return dtype == LMX_F64 ? LMX_F64 : LMX_F32; }

/* ------------------------------------------------------------ a state --- */

/* The state of a layer in one piece of memory. */
typedef struct {
    lmx_spherical_state s;
    unsigned char *memory;
    size_t bytes;
} snapshot;

static snapshot snapshot_new(size_t classes, size_t d)
{
    const size_t n = (classes * d + 7) / 8 * 8, dd = d * d;
    snapshot p;
    memset(&p, 0, sizeof p);
    p.bytes = n * 9 + (3 * dd + 2 * d) * 8;
    p.memory = get_memory(p.bytes);
    memset(p.memory, 0, p.bytes);
    double *const at = (void *)p.memory;
    lmx_spherical_state_init(&p.s);
    p.s.u = at;
    p.s.u_it = at + dd;
    p.s.gram = at + 2 * dd;
    p.s.sum = at + 3 * dd;
    p.s.omega = at + 3 * dd + d;
    p.s.v = at + 3 * dd + 2 * d;
    p.s.v_low = (void *)(at + 3 * dd + 2 * d + n);
    return p;
}

static void take(snapshot *p, const lmx_spherical *l)
{
    CHECK(lmx_spherical_get_state(l, &p->s) == LMX_OK);
}

/* As bytes, for comparison and hash. */
static uint64_t snapshot_hash(uint64_t hash, const snapshot *p)
{
    hash = check_hash(hash, p->memory, p->bytes);
    hash = check_hash(hash, &p->s.watched, sizeof p->s.watched);
    hash = check_hash(hash, &p->s.peak, sizeof p->s.peak);
    return check_hash(hash, p->s.counts, sizeof p->s.counts);
}

/* ----------------------------------------------------------- a history --- */

/* A layer, a batch for it, and what came of it. */
typedef struct {
    const setting *set;
    lmx_loss_code loss;
    lmx_spherical *layer;
    void *weight, *hidden, *dhidden, *logits, *values;
    double *given; /* targets of the squared error */
    int64_t *target, *classes;
    double result;
    check_random r;
    snapshot state;
} history;

static lmx_spherical_batch batch_of(history *h, void *dhidden)
{
    const setting *const s = h->set;
    const int squared = h->loss == LMX_LOSS_one_hot_mse_loss;
    lmx_spherical_batch b;
    CHECK(lmx_spherical_batch_init(&b) == LMX_OK);
    b.rows = s->rows;
    b.dtype = dtype;
    b.hidden = h->hidden;
    b.hidden_stride = (ptrdiff_t)s->d;
    b.target = h->target;
    b.target_type = LMX_I64;
    b.target_stride = (ptrdiff_t)s->targets;
    b.targets = squared ? s->targets : 1;
    b.ignore_index = -100;
    b.values = squared ? h->given : NULL;
    b.values_stride = (ptrdiff_t)s->targets;
    b.loss = &h->result;
    b.dhidden = dhidden;
    b.dhidden_stride = (ptrdiff_t)s->d;
    return b;
}

static void history_open(history *h, lmx_ctx *ctx, lmx_loss_code loss, const setting *s)
{
    const size_t n = s->classes * s->d, m = s->rows;
    memset(h, 0, sizeof *h);
    h->set = s;
    h->loss = loss;
    h->weight = get_memory(n * 8);
    h->hidden = get_memory(m * s->d * size);
    h->dhidden = get_memory(m * s->d * size);
    h->logits = get_memory(m * s->classes * size);
    h->values = get_memory(m * s->classes * size);
    h->given = get_memory(m * s->targets * sizeof(double));
    h->target = get_memory(m * s->targets * sizeof *h->target);
    h->classes = get_memory(m * s->classes * sizeof *h->classes);
    h->state = snapshot_new(s->classes, s->d);
    h->r = check_random_new(check_at.seed = 100 + s->classes + (uint64_t)loss);
    for (size_t i = 0; i < n; i++)
        elem_put(layer_type(), h->weight, i, 0.5 * check_normal(&h->r));
    CHECK(lmx_spherical_create(ctx, layer_type(), loss, NULL, s->classes, s->d, h->weight,
                               (ptrdiff_t)s->d, &h->layer) == LMX_OK);
}

static void history_close(history *h)
{
    lmx_spherical_free(h->layer);
    free(h->weight);
    free(h->hidden);
    free(h->dhidden);
    free(h->logits);
    free(h->values);
    free(h->given);
    free(h->target);
    free(h->classes);
    free(h->state.memory);
}

/* Another batch: classes from a few, so that rows share them, and one in nine ignored. */
static void draw(history *h)
{
    const setting *const s = h->set;
    const size_t few = s->classes < 9 ? s->classes : 9;
    for (size_t i = 0; i < s->rows * s->d; i++)
        elem_put(dtype, h->hidden, i, check_normal(&h->r));
    for (size_t i = 0; i < s->rows * s->targets; i++) {
        h->target[i] = check_below(&h->r, 9) == 0 ? -100 : (int64_t)check_below(&h->r, few);
        h->given[i] = check_uniform(&h->r, -1, 1);
    }
}

/* Steps, and all that can be asked in between, as one hash. */
static uint64_t live(history *h, lmx_ctx *ctx, size_t steps)
{
    const setting *const s = h->set;
    const size_t m = s->rows, k = s->classes < 5 ? s->classes : 5;
    uint64_t hash = CHECK_HASH_SEED;
    for (size_t i = 0; i < steps; i++) {
        draw(h);
        lmx_spherical_batch b = batch_of(h, h->dhidden);
        double before;
        b.loss = &before;
        CHECK(lmx_spherical_loss(ctx, h->layer, &b) == LMX_OK);
        b.loss = &h->result;
        hash = check_hash(hash, h->dhidden, m * s->d * size);
        CHECK(lmx_spherical_step(ctx, h->layer, &b, s->lr, s->decay) == LMX_OK);
        check_same(&before, &h->result, sizeof before, sizeof before);
        hash = check_hash(hash, &h->result, sizeof h->result);
        hash = check_hash(hash, h->dhidden, m * s->d * size);
        check_count(1);
    }
    CHECK(lmx_spherical_logits(ctx, h->layer, dtype, m, h->hidden, (ptrdiff_t)s->d, h->logits,
                               (ptrdiff_t)s->classes) == LMX_OK);
    hash = check_hash(hash, h->logits, m * s->classes * size);
    CHECK(lmx_spherical_topk(ctx, h->layer, dtype, m, h->hidden, (ptrdiff_t)s->d, k, h->values,
                             (ptrdiff_t)k, h->classes, (ptrdiff_t)k) == LMX_OK);
    hash = check_hash(hash, h->values, m * k * size);
    hash = check_hash(hash, h->classes, m * k * sizeof *h->classes);
    CHECK(lmx_spherical_weight(ctx, h->layer, h->weight, (ptrdiff_t)s->d) == LMX_OK);
    hash = check_hash(hash, h->weight, s->classes * s->d * (layer_type() == LMX_F64 ? 8u : 4u));
    take(&h->state, h->layer);
    return snapshot_hash(hash, &h->state);
}

/* -------------------------------------------------------- tiers, threads --- */

static void test_bits(void)
{
    for (size_t k = 0; k < LOSSES; k++) {
        static char name[60];
        uint64_t hash[MAX_TIERS];
        snprintf(name, sizeof name, "SphericalOutput-%s", lmx_loss_info((int)losses[k])->name);
        for (size_t t = 0; t < n_tiers; t++) {
            hash[t] = CHECK_HASH_SEED;
            check_at.tier = lmx_isa_name(ctx_of[t]);
            for (size_t i = 0; i < SETTINGS; i++) {
                history h;
                history_open(&h, ctx_of[t], losses[k], &settings[i]);
                const uint64_t one = live(&h, ctx_of[t], 40);
                hash[t] = check_hash(hash[t], &one, sizeof one);
                history_close(&h);
            }
        }
        tiers_golden(name, hash);
    }
}

static void test_threads(void)
{
    const setting whole = { 5000, 70, 130, 2, 0.125, 0.25 }, part = { 700, 33, 66, 2, 0.125, 0.25 };
    const setting large = check_fast ? part : whole;
    check_at.test = "threads";
    for (size_t k = 0; k < LOSSES; k++) {
        uint64_t want = 0;
        for (unsigned threads = 1; threads <= 4; threads++) {
            lmx_ctx *const ctx = ctx_with(threads, NULL);
            history h;
            history_open(&h, ctx, losses[k], &large);
            const uint64_t got = live(&h, ctx, 3);
            want = threads == 1 ? got : want;
            CHECK(got == want);
            history_close(&h);
            lmx_ctx_free(ctx);
        }
    }
}

/* ---------------------------------------------------------------- memory --- */

/* Every array between pages that cannot be touched. */
static void test_memory(void)
{
    enum { ARRAYS = 8 };
    const size_t away = check_noguard ? 512 : 0;
    check_at.test = "memory";
    for (size_t k = 0; k < LOSSES; k++)
        for (size_t i = 0; i < SETTINGS; i++) {
            const setting *const s = &settings[i];
            const size_t real = layer_type() == LMX_F64 ? 8 : 4, m = s->rows, n = s->classes * s->d;
            const size_t bytes[ARRAYS] = { m * s->d * size,       m * s->targets * 8,
                                           m * s->targets * 8,    m * s->d * size,
                                           m * s->classes * size, m * s->classes * size,
                                           m * s->classes * 8,    n * real };
            history h;
            check_buffer buffer[ARRAYS];
            void *at[ARRAYS];
            history_open(&h, NULL, losses[k], s);
            draw(&h);
            for (size_t a = 0; a < ARRAYS; a++) {
                buffer[a] = check_buffer_new(bytes[a] + 2048);
                at[a] =
                    check_put(&buffer[a], bytes[a], (a + i) & 1 ? CHECK_END : CHECK_START, away);
                check_paint(&buffer[a]);
            }
            memcpy(at[0], h.hidden, bytes[0]);
            memcpy(at[1], h.target, bytes[1]);
            memcpy(at[2], h.given, bytes[2]);
            lmx_spherical_batch b = batch_of(&h, at[3]);
            b.hidden = at[0];
            b.target = at[1];
            b.values = b.values != NULL ? at[2] : NULL;
            CHECK(lmx_spherical_step(NULL, h.layer, &b, s->lr, s->decay) == LMX_OK);
            CHECK(memcmp(at[0], h.hidden, bytes[0]) == 0);
            CHECK(memcmp(at[1], h.target, bytes[1]) == 0);
            CHECK(lmx_spherical_logits(NULL, h.layer, dtype, m, at[0], (ptrdiff_t)s->d, at[4],
                                       (ptrdiff_t)s->classes) == LMX_OK);
            CHECK(lmx_spherical_topk(NULL, h.layer, dtype, m, at[0], (ptrdiff_t)s->d, s->classes,
                                     at[5], (ptrdiff_t)s->classes, at[6],
                                     (ptrdiff_t)s->classes) == LMX_OK);
            CHECK(lmx_spherical_weight(NULL, h.layer, at[7], (ptrdiff_t)s->d) == LMX_OK);
            /* the best of all classes are the logits in order */
            for (size_t r = 0; r < m; r++)
                for (size_t q = 0; q < s->classes; q++) {
                    const size_t class = (size_t)((int64_t *)at[6])[r * s->classes + q];
                    const double v = elem_get(dtype, at[5], r * s->classes + q);
                    CHECK(v == elem_get(dtype, at[4], r * s->classes + class));
                    CHECK(q == 0 || v <= elem_get(dtype, at[5], r * s->classes + q - 1));
                }
            for (size_t a = 0; a < ARRAYS; a++) {
                check_canaries(&buffer[a], at[a], bytes[a]);
                check_buffer_free(&buffer[a]);
            }
            history_close(&h);
            check_count(1);
        }
}

/* A gradient over its input, rows apart, other integers, and a layer made from a state: the same bits. */
static void test_layouts(void)
{
    const setting s = { 40, 6, 7, 1, 0.25, 0.125 };
    check_at.test = "layouts";
    for (size_t k = 0; k < LOSSES; k++) {
        history h;
        history_open(&h, NULL, losses[k], &s);
        live(&h, NULL, 5);
        lmx_spherical *other = NULL;
        snapshot mine = snapshot_new(s.classes, s.d);
        CHECK(lmx_spherical_create(NULL, layer_type(), losses[k], NULL, s.classes, s.d, NULL, 0,
                                   &other) == LMX_OK);
        CHECK(lmx_spherical_set_state(other, &h.state.s) == LMX_OK);
        draw(&h);
        uint8_t classes[7];
        const size_t apart = s.d + 3;
        unsigned char *const wide = get_memory(s.rows * apart * size);
        for (size_t i = 0; i < s.rows; i++) {
            classes[i] = (uint8_t)(h.target[i] < 0 ? 200 : h.target[i]);
            memcpy(wide + i * apart * size, (char *)h.hidden + i * s.d * size, s.d * size);
        }
        lmx_spherical_batch b = batch_of(&h, h.dhidden);
        double loss = 0;
        CHECK(lmx_spherical_step(NULL, h.layer, &b, 0.25, 0) == LMX_OK);
        b.hidden = b.dhidden = wide;
        b.hidden_stride = b.dhidden_stride = (ptrdiff_t)apart;
        b.target = classes;
        b.target_type = LMX_U8;
        b.target_stride = 1;
        b.ignore_index = 200;
        b.loss = &loss;
        CHECK(lmx_spherical_step(NULL, other, &b, 0.25, 0) == LMX_OK);
        check_same(&loss, &h.result, sizeof loss, sizeof loss);
        for (size_t i = 0; i < s.rows; i++)
            check_same(wide + i * apart * size, (char *)h.dhidden + i * s.d * size, s.d * size,
                       size);
        take(&h.state, h.layer);
        take(&mine, other);
        check_same(mine.memory, h.state.memory, mine.bytes, 8);
        free(wide);
        free(mine.memory);
        lmx_spherical_free(other);
        history_close(&h);
    }
}

/* ------------------------------------------------------------ arguments --- */

static void expect(history *h, const lmx_spherical_batch *b, double lr, double decay,
                   lmx_status want)
{
    snapshot before = snapshot_new(h->set->classes, h->set->d);
    const size_t bytes = h->set->rows * h->set->d * size;
    unsigned char *const written = get_memory(bytes);
    take(&before, h->layer);
    memcpy(written, h->dhidden, bytes);
    h->result = 0.375;
    CHECK(lmx_spherical_step(NULL, h->layer, b, lr, decay) == want);
    take(&h->state, h->layer);
    check_same(h->state.memory, before.memory, before.bytes, 8);
    CHECK(snapshot_hash(1, &h->state) == snapshot_hash(1, &before));
    check_same(h->dhidden, written, bytes, size);
    CHECK(h->result == 0.375);
    free(written);
    free(before.memory);
    check_count(1);
}

static void test_failures(void)
{
    const setting s = { 40, 6, 7, 2, 0.25, 0.125 };
    check_at.test = "failures";
    for (size_t k = 0; k < LOSSES; k++) {
        history h;
        const int squared = losses[k] == LMX_LOSS_one_hot_mse_loss;
        history_open(&h, NULL, losses[k], &s);
        live(&h, NULL, 3);
        const lmx_spherical_batch good = batch_of(&h, h.dhidden);
        lmx_spherical_batch b;
#define TRY(field, value, want)      \
  do {                               \
    b = good;                        \
    b.field = value;                 \
    expect(&h, &b, 0.25, 0.5, want); \
  } while (0)
        expect(&h, NULL, 0.25, 0, LMX_ERR_NULL);
        TRY(tag, 0, LMX_ERR_ARG);
        TRY(tag, sizeof b, LMX_ERR_ARG);
        TRY(dtype, (lmx_dtype)9, LMX_ERR_DTYPE);
        TRY(target_type, (lmx_int)77, LMX_ERR_DTYPE);
        TRY(loss, NULL, LMX_ERR_NULL);
        TRY(hidden, NULL, LMX_ERR_NULL);
        TRY(target, NULL, LMX_ERR_NULL);
        TRY(targets, 0, LMX_ERR_SHAPE);
        if (!squared) {
            TRY(targets, 2, LMX_ERR_SHAPE);
            TRY(values, h.given, LMX_ERR_OP);
        }
        TRY(rows, SIZE_MAX / 2, LMX_ERR_OVERFLOW);
        TRY(hidden, (char *)h.hidden + 1, LMX_ERR_ALIGN);
        TRY(dhidden_stride, 1, LMX_ERR_STRIDE);
        TRY(dhidden, (char *)h.hidden + size, LMX_ERR_OVERLAP);
        b = good;
        static const double bad[] = { -1, (double)INFINITY, (double)NAN };
        for (size_t i = 0; i < 3; i++) {
            expect(&h, &b, bad[i], 0, LMX_ERR_ARG);
            expect(&h, &b, 0.5, bad[i], LMX_ERR_ARG);
        }
        expect(&h, &b, 1e200, 1e200, LMX_ERR_ARG);
        static const int64_t wrong[] = { 40, -1, -99, INT64_MAX, INT64_MIN };
        h.target[12] = 3; /* the last row counts, whatever was drawn */
        for (size_t i = 0; i < 5; i++) {
            h.target[12] = wrong[i];
            expect(&h, &b, 0.5, 0, LMX_ERR_LABEL);
        }
        h.target[12] = 3;
        const double is = elem_get(dtype, h.hidden, 38);
        for (size_t i = 1; i < 3; i++) {
            elem_put(dtype, h.hidden, 38, bad[i]);
            expect(&h, &b, 0.5, 0, LMX_ERR_NUMERIC);
        }
        elem_put(dtype, h.hidden, 38, is);
        expect(&h, &b, 1e300, 0, LMX_ERR_NUMERIC);
        CHECK(lmx_spherical_step(NULL, NULL, &good, 1, 0) == LMX_ERR_NULL);
        CHECK(lmx_spherical_step(NULL, h.layer, &good, 0.25, 0.5) == LMX_OK);
        history_close(&h);
    }
}

/* NaN in a row that is ignored does not matter; a batch of nothing else only decays the weights. */
static void test_ignored(void)
{
    const setting s = { 40, 6, 3, 1, 0, 0 };
    check_at.test = "ignored";
    for (size_t k = 0; k < LOSSES; k++) {
        history h;
        history_open(&h, NULL, losses[k], &s);
        draw(&h);
        h.target[0] = h.target[2] = 5;
        h.target[1] = -100;
        for (size_t i = 0; i < s.d; i++)
            elem_put(dtype, h.hidden, s.d + i, (double)NAN);
        lmx_spherical_batch b = batch_of(&h, h.dhidden);
        CHECK(lmx_spherical_step(NULL, h.layer, &b, 0.125, 0) == LMX_OK);
        CHECK(isfinite(h.result));
        for (size_t i = 0; i < s.rows * s.d; i++) {
            const double v = elem_get(dtype, h.dhidden, i);
            CHECK(i / s.d == 1 ? v == 0 : isfinite(v));
        }
        double before[240], after[240];
        CHECK(lmx_spherical_weight(NULL, h.layer, before, (ptrdiff_t)s.d) == LMX_OK);
        h.target[0] = h.target[2] = -100;
        CHECK(lmx_spherical_step(NULL, h.layer, &b, 0.5, 1) == LMX_OK);
        CHECK(isnan(h.result));
        for (size_t i = 0; i < s.rows * s.d; i++)
            CHECK(elem_get(dtype, h.dhidden, i) == 0);
        CHECK(lmx_spherical_weight(NULL, h.layer, after, (ptrdiff_t)s.d) == LMX_OK);
        for (size_t i = 0; i < s.classes * s.d; i++)
            CHECK(elem_get(layer_type(), after, i) == 0.5 * elem_get(layer_type(), before, i));
        CHECK(lmx_spherical_step(NULL, h.layer, &b, 1, 1) == LMX_OK);
        CHECK(lmx_spherical_weight(NULL, h.layer, after, (ptrdiff_t)s.d) == LMX_OK);
        for (size_t i = 0; i < s.classes * s.d; i++)
            CHECK(elem_get(layer_type(), after, i) == 0);
        history_close(&h);
    }
}

static void test_arguments(void)
{
    double w[12] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }, out[12], condition = 0;
    int64_t classes[12];
    lmx_spherical *l = NULL;
    check_at.test = "arguments";
    const lmx_loss_code z = LMX_LOSS_z_loss;
    static const double slope[] = { 0, 0 }, eps[] = { -1, 0 }, order[] = { 4, 0 };
    static const double location[] = { 1, (double)NAN };
    static const double smoothing[][2] = { { -0.5, 0 }, { 1.5, 0 }, { (double)NAN, 0 } };
#define CREATE(type, loss, p, D, d, w, stride, want) \
  CHECK(lmx_spherical_create(NULL, type, loss, p, D, d, w, stride, &l) == (want) && l == NULL)
    CREATE(LMX_F64, LMX_LOSS_cross_entropy, NULL, 4, 3, w, 3, LMX_ERR_OP);
    CREATE(LMX_F64, (lmx_loss_code)-1, NULL, 4, 3, w, 3, LMX_ERR_OP);
    CREATE(LMX_F16, z, NULL, 4, 3, w, 3, LMX_ERR_DTYPE);
    CREATE((lmx_dtype)7, z, NULL, 4, 3, w, 3, LMX_ERR_DTYPE);
    CREATE(LMX_F64, z, slope, 4, 3, w, 3, LMX_ERR_ARG);
    CREATE(LMX_F64, z, location, 4, 3, w, 3, LMX_ERR_ARG);
    CREATE(LMX_F64, LMX_LOSS_spherical_softmax_loss, eps, 4, 3, w, 3, LMX_ERR_ARG);
    CREATE(LMX_F64, LMX_LOSS_taylor_softmax_loss, order, 4, 3, w, 3, LMX_ERR_ARG);
    for (size_t i = 0; i < sizeof smoothing / sizeof *smoothing; i++)
        CREATE(LMX_F64, LMX_LOSS_one_hot_mse_loss, smoothing[i], 4, 3, w, 3, LMX_ERR_ARG);
    CREATE(LMX_F64, z, NULL, 0, 3, w, 3, LMX_ERR_SHAPE);
    CREATE(LMX_F64, z, NULL, 4, 0, w, 3, LMX_ERR_SHAPE);
    CREATE(LMX_F64, z, NULL, SIZE_MAX / 2, 3, w, 3, LMX_ERR_OVERFLOW);
    CREATE(LMX_F64, z, NULL, 4, SIZE_MAX / 2, w, 3, LMX_ERR_OVERFLOW);
    CREATE(LMX_F64, z, NULL, 4, 3, (char *)w + 1, 3, LMX_ERR_ALIGN);
    w[7] = (double)NAN;
    CREATE(LMX_F64, z, NULL, 4, 3, w, 3, LMX_ERR_NUMERIC);
    w[7] = 1e200;
    CREATE(LMX_F64, z, NULL, 4, 3, w, 3, LMX_ERR_NUMERIC);
    w[7] = 8;
    CHECK(lmx_spherical_create(NULL, LMX_F64, z, NULL, 4, 3, w, 3, NULL) == LMX_ERR_NULL);
    CHECK(lmx_spherical_create(NULL, LMX_F64, z, NULL, 4, 3, w, 3, &l) == LMX_OK);

    CHECK(lmx_spherical_logits(NULL, l, LMX_F64, 2, w, 3, out, 3) == LMX_ERR_STRIDE);
    CHECK(lmx_spherical_logits(NULL, l, LMX_F64, 2, w, 3, w, 4) == LMX_ERR_OVERLAP);
    CHECK(lmx_spherical_logits(NULL, l, LMX_F64, 2, NULL, 3, out, 4) == LMX_ERR_NULL);
    CHECK(lmx_spherical_logits(NULL, NULL, LMX_F64, 2, w, 3, out, 4) == LMX_ERR_NULL);
    CHECK(lmx_spherical_logits(NULL, l, (lmx_dtype)9, 2, w, 3, out, 4) == LMX_ERR_DTYPE);
    CHECK(lmx_spherical_logits(NULL, l, LMX_F64, 0, NULL, 3, NULL, 4) == LMX_OK);
    CHECK(lmx_spherical_topk(NULL, l, LMX_F64, 2, w, 3, 5, out, 5, classes, 5) == LMX_ERR_SHAPE);
    CHECK(lmx_spherical_topk(NULL, l, LMX_F64, 2, w, 3, 2, out, 2, NULL, 2) == LMX_ERR_NULL);
    CHECK(lmx_spherical_topk(NULL, l, LMX_F64, 2, w, 3, 0, NULL, 0, NULL, 0) == LMX_OK);
    CHECK(lmx_spherical_weight(NULL, l, out, 2) == LMX_ERR_STRIDE);
    CHECK(lmx_spherical_weight(NULL, l, NULL, 3) == LMX_ERR_NULL);
    CHECK(lmx_spherical_condition(l, NULL) == LMX_ERR_NULL);
    CHECK(lmx_spherical_condition(l, &condition) == LMX_OK && condition == 1);

    lmx_spherical_description about = { 0 };
    CHECK(lmx_spherical_info(l, &about) == LMX_ERR_ARG);
    CHECK(lmx_spherical_description_init(&about) == LMX_OK);
    CHECK(lmx_spherical_info(l, &about) == LMX_OK && about.classes == 4 && about.d == 3);
    CHECK(about.loss == z && about.parameter[0] == 1 && about.dtype == LMX_F64 && about.steps == 0);
    CHECK(lmx_spherical_info(NULL, &about) == LMX_ERR_NULL);

    snapshot p = snapshot_new(4, 3);
    take(&p, l);
    double *const sum = p.s.sum;
    p.s.sum = NULL;
    CHECK(lmx_spherical_set_state(l, &p.s) == LMX_ERR_NULL);
    p.s.sum = (void *)((char *)sum + 4);
    CHECK(lmx_spherical_get_state(l, &p.s) == LMX_ERR_ALIGN);
    p.s.sum = sum;
    p.s.u[4] = (double)INFINITY;
    CHECK(lmx_spherical_set_state(l, &p.s) == LMX_ERR_NUMERIC);
    p.s.tag = sizeof p.s;
    CHECK(lmx_spherical_get_state(l, &p.s) == LMX_ERR_ARG);
    CHECK(lmx_spherical_weight(NULL, l, out, 3) == LMX_OK && memcmp(out, w, sizeof w) == 0);
    free(p.memory);
    lmx_spherical_free(l);
    lmx_spherical_free(NULL);
}

int main(int argc, char **argv)
{
    tiers_begin(argc, argv, "spherical");
    test_bits();
    check_at.tier = lmx_isa_name(NULL);
    test_arguments();
    test_failures();
    test_ignored();
    test_layouts();
    if (!check_noguard) {
        test_memory();
        test_threads();
    }
    return tiers_end();
}
