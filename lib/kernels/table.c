/* SPDX-License-Identifier: Apache-2.0 */
/*
 * This tier's table for this element type, expanded from the registry: no slot stays empty.  16-bit types take the
 * kernels of their reals, but for those of operations and losses that lib/meson.build names in LMX_NATIVE_<name>.
 */
#include "kernels/fourier/fourier.h"
#include "kernels/gemm/tile.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/loss/soft_targets.h"

/* LMX_NATIVE_softmax, say, is a comma where the operation is compiled for this type, and undefined elsewhere: then
 * its name and the next form one argument. */
#define SECOND(a, b, ...)    b
#define CHOOSE(...)          SECOND(__VA_ARGS__)
#define NATIVE_OR_REAL(name) CHOOSE(LMX_NATIVE_##name LMX_K(name), LMX_K_REAL(name), )

#define DECLARE(number, name, inputs, result, takes, parameters, formula) \
  extern const lmx_row_kernel NATIVE_OR_REAL(name);
LMX_ROW_LIST(DECLARE)
#undef DECLARE
#define DECLARE(number, name, parameters, takes, formula) \
  extern const lmx_loss_kernel NATIVE_OR_REAL(name);
LMX_LOSS_LIST(DECLARE)
#undef DECLARE

#define DECLARE(number, name, parameters, ulp, formula) \
  extern const lmx_unary_kernel LMX_K_REAL(name);
LMX_UNARY_LIST(DECLARE)
#undef DECLARE

#define DECLARE(number, name, inputs, parameters, ulp, formula) \
  extern const lmx_channel_kernel LMX_K_REAL(name);
LMX_CHANNEL_LIST(DECLARE)
#undef DECLARE

#define STRING_(s) #s
#define STRING(s)  STRING_(s)

#define FOURIER LMX_CAT4(lmx_fourier, _, f64, _, LMX_ISA)
extern const lmx_fourier_kernel FOURIER;
extern const lmx_pack_kernel LMX_K(pack);
extern const lmx_tile_kernel LMX_K_REAL(tile);
void LMX_K_REAL(log)(const void *x, size_t n, int k, void *y);
extern const lmx_table LMX_K(table);

const lmx_table LMX_K(table) = {
    .isa = STRING(LMX_ISA),
    .elem_size = sizeof(elem),
    .real_size = sizeof(real),
    .row = {
#define ROW(number, name, inputs, result, takes, parameters, formula) \
  [number] = &NATIVE_OR_REAL(name),
        LMX_ROW_LIST(ROW)
#undef ROW
    },
    .gather = LMX_K(gather),
    .scatter = LMX_K(scatter),
    .put_value = LMX_K(put_value),
    .fill = LMX_K(fill),
    .get = LMX_K(get),
    .loss = {
#define LOSS(number, name, parameters, takes, formula) [number] = &NATIVE_OR_REAL(name),
        LMX_LOSS_LIST(LOSS)
#undef LOSS
    },
    .unary = {
#define UNARY(number, name, parameters, ulp, formula) [number] = &LMX_K_REAL(name),
        LMX_UNARY_LIST(UNARY)
#undef UNARY
    },
    .channel = {
#define CHANNEL(number, name, inputs, parameters, ulp, formula) [number] = &LMX_K_REAL(name),
        LMX_CHANNEL_LIST(CHANNEL)
#undef CHANNEL
    },
    .pack = &LMX_K(pack),
    .tile = &LMX_K_REAL(tile),
    .fourier = &FOURIER,
    .soften = LMX_K_REAL(soften),
    .mix = LMX_K_REAL(mix),
    .subtract = LMX_K_REAL(subtract),
    .spread = LMX_K_REAL(spread),
    .spread_vjp = LMX_K_REAL(spread_vjp),
    .softcap = LMX_K_REAL(softcap),
    .softcap_slope = LMX_K_REAL(softcap_slope),
    .log = LMX_K_REAL(log),
};
