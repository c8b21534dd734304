/* SPDX-License-Identifier: Apache-2.0 */
#include "linear/loss.h"

/* Rows first ... first + m, at most a group, and tiles of classes from `from` on. */
typedef struct {
    lmx_linear_loss *c;
    size_t first, m, from;
    size_t columns; /* of dhidden in a task */
} step;

static size_t real_size(const lmx_linear_loss *c) { return c->l.real->real_size; }
static size_t classes_at(const lmx_linear_loss *c, size_t from)
{
    return lmx_at_most(c->l.classes - from, LMX_TILE);
}
/* Row i of the gradient of a tile's logits: blocks of LMX_TILE rows. */
static char *g_of(const lmx_linear_loss *c, size_t tile, size_t i)
{
    const size_t block = tile * lmx_tiles(c->l.group) + i / LMX_TILE;
    return c->g + (block * LMX_BLOCK_REALS + i % LMX_TILE * LMX_TILE_ROW) * real_size(c);
}
static char *sums_of(const lmx_linear_loss *c, size_t tile)
{
    return c->sums + tile * LMX_TILE * c->l.depth * real_size(c);
}
/* NaN throughout: a bad row, or a mean over nothing. */
static int is_nan(const lmx_loss_row *row) { return row->bad || !lmx_finite(row->scale); }

/* The next rows from *begin on, of one block, that take part; 0 if there are none. */
static int next_run(uint32_t active, size_t m, size_t *begin, size_t *end)
{
    size_t i = *begin;
    while (i < m && !(active >> i / LMX_FILTER_ROWS & 1))
        i += LMX_FILTER_ROWS;
    if (i >= m)
        return 0;
    *begin = i;
    do
        i += LMX_FILTER_ROWS;
    while (i < m && i % LMX_TILE != 0 && (active >> i / LMX_FILTER_ROWS & 1));
    *end = lmx_at_most(i, m);
    return 1;
}

/* ------------------------------------------------------- which to skip --- */

/* Whether a group of rows has weight in this tile; most: their largest logits there, capped. */
static int has_weight(const step *s, size_t from, size_t n, size_t begin, size_t end,
                      const char *most)
{
    const lmx_linear_loss *c = s->c;
    for (size_t i = begin; i < end; i++) {
        const size_t at = s->first + i;
        const double o = c->l.real->get(most + i * real_size(c));
        if (is_nan(&c->row[at]) || c->target[at] - from < n || !(o < c->limit[at]))
            return 1;
    }
    return 0;
}

/* Groups with weight; for the others the mass that they lose. */
static uint32_t find_active(const step *s, size_t from, size_t n, const char *most)
{
    uint32_t active = 0;
    for (size_t i = 0; i < s->m; i += LMX_FILTER_ROWS)
        if (has_weight(s, from, n, i, lmx_at_most(i + LMX_FILTER_ROWS, s->m), most))
            active |= (uint32_t)1 << i / LMX_FILTER_ROWS;
    return active;
}

static char *own_scratch(const lmx_linear_loss *c, unsigned worker)
{
    return c->scratch + worker * 3 * LMX_TILE * real_size(c);
}

/* A row's logits, capped, where the rows' own are not to be touched. */
static char *capped(const lmx_linear_loss *c, unsigned worker, const char *o, size_t n)
{
    char *const z = own_scratch(c, worker);
    memcpy(z, o, n * real_size(c));
    if (c->softcap > 0)
        c->l.real->softcap(z, n, c->softcap);
    return z;
}

static double mass_of(const step *s, unsigned worker, size_t i, const char *o, size_t n)
{
    const lmx_linear_loss *c = s->c;
    lmx_chunk chunk;
    memset(&chunk, 0, sizeof chunk);
    const char *const z = capped(c, worker, o, n);
    c->kernel->measure(z, n, LMX_NO_TARGET, &c->spec, &c->row[s->first + i], &chunk);
    return lmx_sum_relative(chunk.sum, lmx_norm_value(&c->row[s->first + i].norm));
}

/* ------------------------------------------------ the gradient of logits --- */

/* Raw logits of rows begin ... end of the block, from the store or computed again. */
static void load(const step *s, unsigned worker, size_t tile, size_t begin, size_t end)
{
    const lmx_linear_loss *c = s->c;
    const size_t from = s->from + tile * LMX_TILE, n = classes_at(c, from);
    char *const g = g_of(c, tile, begin);
    if (c->store == NULL || s->first >= c->kept) {
        lmx_linear_logits(&c->l, worker, begin, end - begin, from, n, g, LMX_TILE_ROW);
        return;
    }
    for (size_t i = begin; i < end; i++)
        memcpy(g + (i - begin) * LMX_TILE_ROW * real_size(c),
               lmx_linear_kept(c, from, n, s->first + i), n * real_size(c));
}

/* Of a class that is no target, as many as a tile has. */
static char *soft_targets(const lmx_linear_loss *c, unsigned worker)
{
    return own_scratch(c, worker) + 2 * LMX_TILE * real_size(c);
}

/* Row i's logits become their gradient; soft_targets() are there. */
static void gradient_row(const step *s, unsigned worker, size_t i, size_t from, size_t n, char *g)
{
    const lmx_linear_loss *c = s->c;
    const lmx_table *const real = c->l.real;
    const size_t at = s->first + i, target = c->target[at] - from;
    const lmx_loss_row *const row = &c->row[at];
    if (is_nan(row)) {
        real->fill(g, n, 1, lmx_qnan());
        return;
    }
    char *const raw = own_scratch(c, worker) + LMX_TILE * real_size(c);
    if (c->softcap > 0) {
        memcpy(raw, g, n * real_size(c));
        real->softcap(g, n, c->softcap);
    }
    c->kernel->gradient(g, n, &c->chunks[2 * at], &c->spec, row, g, 0);
    if (c->add != 0)
        real->subtract(soft_targets(c, worker), n, row->scale, g);
    if (target < n)
        real->fill(g + target * real_size(c), 1, 1, row->at_target);
    if (c->softcap > 0)
        real->softcap_slope(raw, n, c->softcap, g);
}

/* Which groups of rows take part in a tile, with their logits in g. */
static uint32_t select_rows(const step *s, unsigned worker, size_t tile)
{
    const lmx_linear_loss *c = s->c;
    const size_t from = s->from + tile * LMX_TILE, n = classes_at(c, from);
    const uint32_t all = (uint32_t)(((uint64_t)1 << (s->m - 1) / LMX_FILTER_ROWS << 1) - 1);
    double *const lost = c->lost + tile * c->l.group;
    memset(lost, 0, s->m * sizeof *lost);
    size_t begin, end;
    if (c->limit == NULL) {
        for (begin = 0; next_run(all, s->m, &begin, &end); begin = end)
            load(s, worker, tile, begin, end);
        return all;
    }
    LMX_ALIGN(64) double most[LMX_GROUP_MOST]; /* reals */
    int loaded = 0;
    if (c->store != NULL && c->keeps_largest) {
        memcpy(most, lmx_linear_largest(c, from, s->first), s->m * real_size(c));
    } else {
        for (begin = 0; next_run(all, s->m, &begin, &end); begin = end) {
            load(s, worker, tile, begin, end);
            c->l.real->tile->largest(g_of(c, tile, begin), LMX_TILE_ROW, end - begin, n,
                                     (char *)most + begin * real_size(c));
        }
        loaded = 1;
        if (c->softcap > 0)
            c->l.real->softcap(most, s->m, c->softcap);
    }
    const uint32_t active = find_active(s, from, n, (const char *)most);
    if (!loaded)
        for (begin = 0; next_run(active, s->m, &begin, &end); begin = end)
            load(s, worker, tile, begin, end);
    if (c->dropped != NULL)
        for (begin = 0; next_run(~active, s->m, &begin, &end); begin = end) {
            if (!loaded)
                load(s, worker, tile, begin, end);
            for (size_t i = begin; i < end; i++)
                lost[i] = mass_of(s, worker, i, g_of(c, tile, i), n);
        }
    return active;
}

/* --------------------------------------------------------- their sums --- */

static char *weight_row(const lmx_linear_loss *c, size_t k)
{
    return c->dweight + (ptrdiff_t)k * c->dweight_row * (ptrdiff_t)c->l.table->elem_size;
}

/* Adds the products of some rows of one block to the tile's rows of dweight. */
static void add_weight(const step *s, unsigned worker, size_t tile, size_t from, size_t begin,
                       size_t end, int is_first)
{
    const lmx_linear_loss *c = s->c;
    char *const transposed = c->transposed + worker * LMX_BLOCK_REALS * real_size(c);
    c->l.real->tile->transpose(g_of(c, tile, begin), classes_at(c, from), end - begin, transposed);
    const size_t block = begin / LMX_TILE, parts = lmx_tiles(c->l.depth);
    for (size_t j = 0; j < c->l.depth; j += LMX_TILE) {
        const lmx_tile_product p = {
            .block = transposed,
            .is_transposed = 1,
            .m = classes_at(c, from),
            .k = end - begin,
            .n = lmx_at_most(c->l.depth - j, LMX_TILE),
            .panels = c->hidden + (block * parts + j / LMX_TILE) * lmx_linear_panels_size(&c->l),
            .first = begin % LMX_TILE,
            .panel_rows = lmx_at_most(s->m - block * LMX_TILE, LMX_TILE),
            .c = (lmx_linear_is_direct(c) ? weight_row(c, from) : sums_of(c, tile)) +
                 j * real_size(c),
            .c_row = lmx_linear_is_direct(c) ? c->dweight_row : (ptrdiff_t)c->l.depth,
            .add = !is_first,
        };
        c->l.real->tile->multiply(&p);
    }
}

void lmx_linear_put_row(const lmx_linear_loss *c, void *reals, void *to)
{
    static const lmx_gather as_is = { .stride = 1, .rate = 1 };
    if (c->accumulate)
        lmx_linear_add_row(c->l.table, to, c->l.real, 1, c->l.depth, reals, 0);
    c->l.table->scatter(reals, c->l.depth, &as_is, to);
}

/* No row took part in the first step of a tile. */
static void clear_weight(const lmx_linear_loss *c, size_t tile, size_t from)
{
    if (!lmx_linear_is_direct(c))
        memset(sums_of(c, tile), 0, LMX_TILE * c->l.depth * real_size(c));
    for (size_t i = 0; lmx_linear_is_direct(c) && i < classes_at(c, from); i++)
        c->l.table->fill(weight_row(c, from + i), c->l.depth, 1, 0);
}

/* Class k's entry of dbias is stored, or added in the wider compute type of the logits and the bias. */
static void put_bias(const lmx_linear_loss *c, size_t k, lmx_dd sum)
{
    const lmx_table *const own = c->l.bias_table;
    char *const to = c->dbias + k * own->elem_size;
    double value = sum.hi + sum.lo;
    if (c->accumulate) {
        /* The sum of two floats in double, rounded to float, is their float sum. */
        if (real_size(c) == sizeof(float) && own->real_size == sizeof(float))
            value = (float)value;
        value += own->get(to);
    }
    own->fill(to, 1, 1, value);
}

/* Stores the sums of all rows for a tile's classes. */
static void put_weight(const lmx_linear_loss *c, size_t tile, size_t from)
{
    const size_t n = classes_at(c, from);
    for (size_t i = 0; c->dweight != NULL && !lmx_linear_is_direct(c) && i < n; i++)
        lmx_linear_put_row(c, sums_of(c, tile) + i * c->l.depth * real_size(c),
                           weight_row(c, from + i));
    for (size_t i = 0; c->dbias != NULL && i < n; i++)
        put_bias(c, from + i, c->bias_sums[tile * LMX_TILE + i]);
}

static void tile_task(void *job, size_t begin_tile, size_t end_tile, unsigned worker)
{
    const step *s = job;
    const lmx_linear_loss *c = s->c;
    for (size_t tile = begin_tile; tile < end_tile; tile++) {
        const size_t from = s->from + tile * LMX_TILE, n = classes_at(c, from);
        if (s->first == 0)
            memset(c->bias_sums + tile * LMX_TILE, 0, LMX_TILE * sizeof *c->bias_sums);
        if (c->add != 0)
            c->l.real->soften(NULL, NULL, n, c->keep, c->add, soft_targets(c, worker));
        int is_first = s->first == 0;
        const uint32_t active = c->active[tile] = select_rows(s, worker, tile);
        size_t begin, end;
        for (begin = 0; next_run(active, s->m, &begin, &end); begin = end) {
            for (size_t i = begin; i < end; i++)
                gradient_row(s, worker, i, from, n, g_of(c, tile, i));
            if (c->dbias != NULL)
                c->l.real->tile->sum_columns(g_of(c, tile, begin), LMX_TILE_ROW, end - begin, n,
                                             c->bias_sums + tile * LMX_TILE);
        }
        /* after all the logits that may wait in these rows of dweight */
        for (begin = 0; c->dweight != NULL && next_run(active, s->m, &begin, &end); begin = end) {
            add_weight(s, worker, tile, from, begin, end, is_first);
            is_first = 0;
        }
        if (c->dweight != NULL && is_first)
            clear_weight(c, tile, from);
        if (s->first + s->m == c->l.rows)
            put_weight(c, tile, from);
    }
}

/* Some columns of dhidden, over the tiles in their order. */
static void hidden_task(void *job, size_t begin_part, size_t end_part, unsigned worker)
{
    const step *s = job;
    const lmx_linear_loss *c = s->c;
    char *const panels = c->l.panels + worker * lmx_linear_panels_size(&c->l);
    for (size_t part = begin_part; part < end_part; part++) {
        const size_t j = part * s->columns, wide = lmx_at_most(c->l.depth - j, s->columns);
        for (size_t tile = 0; tile < c->tiles && s->from + tile * LMX_TILE < c->l.classes; tile++) {
            const size_t from = s->from + tile * LMX_TILE, n = classes_at(c, from);
            size_t begin = 0, end;
            if (!next_run(c->active[tile], s->m, &begin, &end))
                continue;
            c->l.table->pack->panels(&c->l.weight, from, n, j, wide, panels);
            for (; next_run(c->active[tile], s->m, &begin, &end); begin = end) {
                const size_t at = (s->first + begin) * (size_t)c->dhidden_row + j;
                const lmx_tile_product p = {
                    .block = g_of(c, tile, begin),
                    .m = end - begin,
                    .k = n,
                    .n = wide,
                    .panels = panels,
                    .panel_rows = n,
                    .c = c->dhidden + at * real_size(c),
                    .c_row = c->dhidden_row,
                    .add = 1,
                };
                c->l.real->tile->multiply(&p);
            }
        }
    }
}

/* Panels of hidden: for each block of LMX_TILE rows, one for each LMX_TILE columns. */
static void pack_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const step *s = job;
    const lmx_linear_loss *c = s->c;
    const size_t parts = lmx_tiles(c->l.depth);
    (void)worker;
    for (size_t at = begin; at < end; at++) {
        const size_t i = at / parts * LMX_TILE, j = at % parts * LMX_TILE;
        c->l.table->pack->panels(&c->l.hidden, s->first + i, lmx_at_most(s->m - i, LMX_TILE), j,
                                 lmx_at_most(c->l.depth - j, LMX_TILE),
                                 c->hidden + at * lmx_linear_panels_size(&c->l));
    }
}

static void add_lost(const step *s, size_t tiles)
{
    const lmx_linear_loss *c = s->c;
    for (size_t tile = 0; tile < tiles; tile++)
        for (size_t i = 0; i < s->m; i++)
            c->dropped[s->first + i] += c->lost[tile * c->l.group + i];
}

static void one_step(step *s, int packed)
{
    const lmx_linear_loss *c = s->c;
    const size_t tiles = lmx_at_most(lmx_tiles(c->l.classes - s->from), c->tiles);
    const size_t parts = lmx_tiles(c->l.depth), blocks = lmx_tiles(s->m);
    if (!packed) {
        if (c->dweight != NULL)
            lmx_parallel_for(c->l.pool, parts * blocks, 1, pack_task, s);
        if (c->store == NULL || s->first >= c->kept)
            lmx_linear_pack(&s->c->l, s->first, s->m);
    }
    lmx_parallel_for(c->l.pool, tiles, 1, tile_task, s);
    if (c->dropped != NULL)
        add_lost(s, tiles);
    if (c->dhidden != NULL && c->l.depth > 0)
        lmx_parallel_for(c->l.pool, (c->l.depth + s->columns - 1) / s->columns, 1, hidden_task, s);
}

void lmx_linear_loss_backward(lmx_linear_loss *c)
{
    step s = { c, 0, 0, 0, 0 };
    /* columns for every thread, whole lines of them */
    s.columns = lmx_at_most((c->l.depth / c->l.workers + 63) / 64 * 64 + 64, LMX_TILE);
    for (s.from = 0; s.from < c->l.classes; s.from += c->tiles * LMX_TILE)
        for (s.first = 0; s.first < c->l.rows; s.first += c->l.group) {
            s.m = lmx_at_most(c->l.rows - s.first, c->l.group);
            one_step(&s, s.from > 0 && c->l.rows <= c->l.group);
        }
}
