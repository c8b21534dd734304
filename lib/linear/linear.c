/* SPDX-License-Identifier: Apache-2.0 */
#include "linear/linear.h"

void lmx_linear_cut(lmx_linear *l)
{
    /* Blocks of about the same length, whole lines of them; one of length 0 for a depth of 0. */
    l->depth_blocks = l->depth == 0 ? 1 : lmx_tiles(l->depth);
    l->depth_step = ((l->depth + l->depth_blocks - 1) / l->depth_blocks + 15) / 16 * 16;
}

static size_t block_size(const lmx_linear *l) { return LMX_BLOCK_REALS * l->real->real_size; }
size_t lmx_linear_blocks_size(const lmx_linear *l)
{
    return lmx_tiles(l->group) * l->depth_blocks * block_size(l);
}

size_t lmx_linear_panels_size(const lmx_linear *l)
{
    return lmx_round_up(LMX_PANEL_REALS * l->real->real_size);
}

static size_t step_of(const lmx_linear *l, size_t k)
{
    const size_t at = k * l->depth_step;
    return at < l->depth ? lmx_at_most(l->depth - at, l->depth_step) : 0;
}

void lmx_linear_pack(lmx_linear *l, size_t first, size_t count)
{
    char *to = l->blocks;
    for (size_t i = 0; i < count; i += LMX_TILE)
        for (size_t k = 0; k < l->depth_blocks; k++, to += block_size(l))
            l->table->pack->block(&l->hidden, first + i, lmx_at_most(count - i, LMX_TILE),
                                  k * l->depth_step, step_of(l, k), to);
}

/* Bias of n <= LMX_TILE classes from `from` on, in the compute type, is added to each row of z. */
static void add_bias(const lmx_linear *l, size_t from, size_t count, size_t n, void *z,
                     ptrdiff_t z_row)
{
    const lmx_table *const own = l->bias_table;
    const char *const bias = (const char *)l->bias + from * own->elem_size;
    LMX_ALIGN(64) double converted[LMX_TILE]; /* reals */
    if (own->real_size == l->real->real_size) {
        static const lmx_gather as_is = { .stride = 1, .rate = 1 };
        own->gather(bias, n, &as_is, converted);
    } else {
        for (size_t i = 0; i < n; i++)
            l->real->put_value((char *)converted + i * l->real->real_size,
                               own->get(bias + i * own->elem_size));
    }
    l->real->tile->add_bias(converted, count, n, z, z_row);
}

void lmx_linear_logits(const lmx_linear *l, unsigned worker, size_t begin, size_t count,
                       size_t from, size_t n, void *z, ptrdiff_t z_row)
{
    const lmx_tile_kernel *const tile = l->real->tile;
    const size_t real_size = l->real->real_size;
    char *const panels = l->panels + worker * lmx_linear_panels_size(l);
    for (size_t k = 0; k < l->depth_blocks; k++) {
        const size_t step = step_of(l, k);
        l->table->pack->panels_across(&l->weight, from, n, k * l->depth_step, step, panels);
        for (size_t i = begin, m; i < begin + count; i += m) {
            const size_t within = i % LMX_TILE;
            m = lmx_at_most(begin + count - i, LMX_TILE - within);
            const lmx_tile_product p = {
                .block = l->blocks + (i / LMX_TILE * l->depth_blocks + k) * block_size(l) +
                         within * LMX_TILE_ROW * real_size,
                .m = m,
                .k = step,
                .n = n,
                .panels = panels,
                .panel_rows = step,
                .c = (char *)z + (ptrdiff_t)(i - begin) * z_row * (ptrdiff_t)real_size,
                .c_row = z_row,
                .add = k > 0,
            };
            tile->multiply(&p);
        }
    }
    if (l->bias != NULL)
        add_bias(l, from, count, n, z, z_row);
}
