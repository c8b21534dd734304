/* SPDX-License-Identifier: Apache-2.0 */
#include "linear/loss.h"

#include "exec/reach.h"

typedef struct {
    lmx_linear_loss *c;
    size_t first, count; /* rows */
    size_t piece;        /* of the round's first slot */
} round_of;

/* Logits of one piece, kept if there is a place for them. */
static void piece_logits(const round_of *r, unsigned worker, size_t from, size_t n, char *z)
{
    lmx_linear_loss *const c = r->c;
    const size_t real_size = c->l.real->real_size;
    for (size_t j = 0; j < n; j += LMX_TILE) {
        const size_t wide = lmx_at_most(n - j, LMX_TILE);
        char *const tile = z + j * real_size;
        lmx_linear_logits(&c->l, worker, 0, r->count, from + j, wide, tile, LMX_PIECE_ROW);
        if (c->store == NULL)
            continue;
        for (size_t i = 0; i < r->count && r->first + i < c->kept; i++)
            memcpy(lmx_linear_kept(c, from + j, wide, r->first + i),
                   tile + i * LMX_PIECE_ROW * real_size, wide * real_size);
    }
}

/* The largest of each row in each tile of a piece, into the store; the rest of it starts behind. */
static void keep_largest(const round_of *r, size_t from, size_t n, const char *z)
{
    const lmx_linear_loss *c = r->c;
    const size_t real_size = c->l.real->real_size;
    for (size_t j = 0; j < n; j += LMX_TILE) {
        LMX_ALIGN(64) double most[LMX_TILE]; /* reals */
        for (size_t i = 0; i < r->count; i += LMX_TILE) {
            const size_t m = lmx_at_most(r->count - i, LMX_TILE);
            c->l.real->tile->largest(z + (i * LMX_PIECE_ROW + j) * real_size, LMX_PIECE_ROW, m,
                                     lmx_at_most(n - j, LMX_TILE), most);
            memcpy(lmx_linear_largest(c, from + j, r->first + i), most, m * real_size);
        }
    }
}

static void measure(const round_of *r, unsigned worker, size_t slot, size_t from, size_t n, char *z)
{
    lmx_linear_loss *const c = r->c;
    const lmx_table *const real = c->l.real;
    char *const u = c->mix == NULL ? NULL : c->soft + worker * LMX_PIECE * real->real_size;
    if (u != NULL)
        real->soften(NULL, NULL, n, c->keep, c->add, u); /* the same for every row */
    for (size_t i = 0; i < r->count; i++) {
        char *const o = z + i * LMX_PIECE_ROW * real->real_size;
        lmx_loss_row *const row = &c->row[r->first + i];
        const size_t at = slot * c->l.group + i, target = c->target[r->first + i] - from;
        lmx_chunk *const chunk = &c->found[at];
        if (target < n)
            row->x = real->get(o + target * real->real_size);
        c->kernel->measure(o, n, LMX_NO_TARGET, &c->spec, row, chunk);
        if (u == NULL)
            continue;
        if (target < n)
            row->on_mix = real->get(u + target * real->real_size);
        c->pivot[at] = lmx_pivot_of(chunk);
        real->mix(o, u, n, c->pivot[at], &c->mix[at]);
    }
}

static void piece_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const round_of *r = job;
    lmx_linear_loss *const c = r->c;
    const size_t real_size = c->l.real->real_size;
    char *const z = c->z + worker * c->l.group * LMX_PIECE_ROW * real_size;
    for (size_t slot = begin; slot < end; slot++) {
        const size_t from = (r->piece + slot) * LMX_PIECE;
        const size_t n = lmx_at_most(c->l.classes - from, LMX_PIECE);
        piece_logits(r, worker, from, n, z);
        if (c->softcap > 0)
            for (size_t i = 0; i < r->count; i++)
                c->l.real->softcap(z + i * LMX_PIECE_ROW * real_size, n, c->softcap);
        if (c->store != NULL && c->keeps_largest)
            keep_largest(r, from, n, z);
        measure(r, worker, slot, from, n, z);
    }
}

/* Chunk `own` joins those of a row: all[0] has the largest logit, all[1] is the sum of the others. */
static void join(lmx_chunk all[2], const lmx_chunk *own, int is_first)
{
    if (is_first) {
        all[0] = *own;
        memset(&all[1], 0, sizeof all[1]);
        all[1].kind = LMX_KIND_EMPTY;
        all[1].max = -(double)INFINITY;
        return;
    }
    const int larger = own->max > all[0].max;
    const lmx_chunk other = larger ? all[0] : *own;
    if (larger)
        all[0] = *own;
    all[1].sum = lmx_sum_add(all[1].sum, other.sum);
    if (other.kind == LMX_KIND_BAD)
        all[1].kind = LMX_KIND_BAD;
    else if (other.kind != LMX_KIND_EMPTY && all[1].kind == LMX_KIND_EMPTY)
        all[1].kind = LMX_KIND_PLAIN;
}

static void join_mix(lmx_loss_row *row, const lmx_mix *own, double pivot, int is_first)
{
    if (is_first) {
        row->mix = *own;
        row->pivot = pivot;
        return;
    }
    const double up = pivot - row->pivot;
    if (up > 0) {
        const lmx_mix before = row->mix;
        row->mix = (lmx_mix){ { 0, 0 }, { 0, 0 } };
        lmx_mix_add(&row->mix, &before, up);
        row->pivot = pivot;
        lmx_mix_add(&row->mix, own, 0);
    } else {
        lmx_mix_add(&row->mix, own, -up);
    }
}

static void join_round(const round_of *r, size_t slots)
{
    const lmx_linear_loss *c = r->c;
    for (size_t i = 0; i < r->count; i++)
        for (size_t slot = 0; slot < slots; slot++) {
            const size_t at = slot * c->l.group + i;
            const int is_first = r->piece + slot == 0;
            join(&c->chunks[2 * (r->first + i)], &c->found[at], is_first);
            if (c->mix != NULL)
                join_mix(&c->row[r->first + i], &c->mix[at], c->pivot[at], is_first);
        }
}

void lmx_linear_loss_forward(lmx_linear_loss *c)
{
    const size_t pieces = (c->l.classes - 1) / LMX_PIECE + 1;
    for (size_t first = 0; first < c->l.rows; first += c->l.group) {
        round_of r = { c, first, lmx_at_most(c->l.rows - first, c->l.group), 0 };
        lmx_linear_pack(&c->l, first, r.count);
        for (; r.piece < pieces; r.piece += c->slots) {
            const size_t slots = lmx_at_most(pieces - r.piece, c->slots);
            lmx_parallel_for(c->l.pool, slots, 1, piece_task, &r);
            join_round(&r, slots);
        }
    }
    for (size_t i = 0; i < c->l.rows; i++)
        c->kernel->finish(&c->chunks[2 * i], 2, &c->spec, &c->row[i]);
}
