/* SPDX-License-Identifier: Apache-2.0 */
#include "linear/topk.h"

#include "exec/reach.h"

typedef struct {
    lmx_topk *c;
    size_t first, count; /* rows */
    size_t piece;        /* of slot 0 */
    size_t slots;
} round_of;

/* n logits from class `from` on; their tiles that hold nothing better than the worst are passed over. */
static void look(const lmx_topk *c, lmx_candidate *heap, size_t from, size_t n, const char *z)
{
    for (size_t j = 0; j < n; j += LMX_TILE) {
        const char *const tile = z + j * c->l.real->real_size;
        const size_t wide = lmx_at_most(n - j, LMX_TILE);
        double most;
        c->l.real->tile->largest(tile, 0, 1, wide, &most);
        const lmx_candidate best = { lmx_real_at(c->l.real, &most, 0), from + j };
        if (!lmx_is_worse(heap[0], best))
            continue;
        for (size_t i = 0; i < wide; i++) {
            const lmx_candidate own = { lmx_real_at(c->l.real, tile, i), from + j + i };
            lmx_consider(heap, c->k, own);
        }
    }
}

static char *piece_at(const round_of *r, size_t slot, size_t row)
{
    const lmx_topk *c = r->c;
    return c->z + (slot * c->l.group + row) * LMX_PIECE_ROW * c->l.real->real_size;
}

static size_t classes_of(const round_of *r, size_t slot)
{
    return lmx_at_most(r->c->l.classes - (r->piece + slot) * LMX_PIECE, LMX_PIECE);
}

static void logits_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const round_of *r = job;
    const lmx_linear *l = &r->c->l;
    for (size_t slot = begin; slot < end; slot++) {
        const size_t from = (r->piece + slot) * LMX_PIECE, n = classes_of(r, slot);
        for (size_t j = 0; j < n; j += LMX_TILE)
            lmx_linear_logits(l, worker, 0, r->count, from + j, lmx_at_most(n - j, LMX_TILE),
                              piece_at(r, slot, 0) + j * l->real->real_size, LMX_PIECE_ROW);
    }
}

static void look_task(void *job, size_t begin, size_t end, unsigned worker)
{
    const round_of *r = job;
    (void)worker;
    for (size_t i = begin; i < end; i++)
        for (size_t slot = 0; slot < r->slots; slot++)
            look(r->c, r->c->heap + i * r->c->k, (r->piece + slot) * LMX_PIECE, classes_of(r, slot),
                 piece_at(r, slot, i));
}

static void write_row(const lmx_topk *c, size_t row, lmx_candidate *heap)
{
    const ptrdiff_t value_at_row =
        (ptrdiff_t)row * c->values_row * (ptrdiff_t)c->l.table->elem_size;
    lmx_sort_candidates(heap, c->k);
    for (size_t i = 0; i < c->k; i++) {
        c->l.table->fill(c->values + value_at_row + (ptrdiff_t)(i * c->l.table->elem_size), 1, 1,
                         heap[i].value);
        c->indices[(ptrdiff_t)row * c->indices_row + (ptrdiff_t)i] = (int64_t)heap[i].index;
    }
}

void lmx_topk_run(lmx_topk *c)
{
    const size_t pieces = (c->l.classes - 1) / LMX_PIECE + 1;
    for (size_t first = 0; first < c->l.rows; first += c->l.group) {
        round_of r = { c, first, lmx_at_most(c->l.rows - first, c->l.group), 0, 0 };
        /* worse than every logit: -inf, and a class behind the last */
        for (size_t i = 0; i < r.count * c->k; i++)
            c->heap[i] = (lmx_candidate){ -(double)INFINITY, c->l.classes };
        lmx_linear_pack(&c->l, first, r.count);
        for (; r.piece < pieces; r.piece += c->slots) {
            r.slots = lmx_at_most(pieces - r.piece, c->slots);
            lmx_parallel_for(c->l.pool, r.slots, 1, logits_task, &r);
            lmx_parallel_for(c->l.pool, r.count, (r.count - 1) / (4 * c->l.workers) + 1, look_task,
                             &r);
        }
        for (size_t i = 0; i < r.count; i++)
            write_row(c, first + i, c->heap + i * c->k);
    }
}
