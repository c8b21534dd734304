/* SPDX-License-Identifier: Apache-2.0 */
/* This tier's table for this element type, expanded from the registry: no slot stays empty. */
#include "kernels/fourier/fourier.h"
#include "kernels/kernels.h"
#include "kernels/layout.h"
#include "kernels/paper/paper.h"
#include "kernels/loss/soft_targets.h"
#include "kernels/gemm/tile.h"

#define DECLARE(number, name, inputs, result, takes, parameters, formula) \
  extern const lmx_row_kernel LMX_K(name);
LMX_ROW_LIST(DECLARE)
#undef DECLARE
#define DECLARE(number, name, parameters, takes, formula) \
  extern const lmx_loss_kernel LMX_K(name);
LMX_LOSS_LIST(DECLARE)
#undef DECLARE

#define DECLARE(number, name, parameters, ulp, formula) \
  extern const lmx_unary_kernel LMX_K(name);
LMX_UNARY_LIST(DECLARE)
#undef DECLARE

#define DECLARE(number, name, inputs, parameters, ulp, formula) \
  extern const lmx_channel_kernel LMX_K(name);
LMX_CHANNEL_LIST(DECLARE)
#undef DECLARE

#define STRING_(s) #s
#define STRING(s)  STRING_(s)

#define FOURIER LMX_CAT4(lmx_fourier, _, f64, _, LMX_ISA)
extern const lmx_fourier_kernel FOURIER;
extern const lmx_tile_kernel LMX_K(tile);
extern const lmx_table LMX_K(table);

const lmx_table LMX_K(table) = {
    .isa = STRING(LMX_ISA),
    .elem_size = sizeof(elem),
    .real_size = sizeof(real),
    .row = {
#define ROW(number, name, inputs, result, takes, parameters, formula) \
  [number] = &LMX_K(name),
        LMX_ROW_LIST(ROW)
#undef ROW
    },
    .gather = LMX_K(gather),
    .scatter = LMX_K(scatter),
    .put_value = LMX_K(put_value),
    .fill = LMX_K(fill),
    .get = LMX_K(get),
    .loss = {
#define LOSS(number, name, parameters, takes, formula) [number] = &LMX_K(name),
        LMX_LOSS_LIST(LOSS)
#undef LOSS
    },
    .unary = {
#define UNARY(number, name, parameters, ulp, formula) [number] = &LMX_K(name),
        LMX_UNARY_LIST(UNARY)
#undef UNARY
    },
    .channel = {
#define CHANNEL(number, name, inputs, parameters, ulp, formula) [number] = &LMX_K(name),
        LMX_CHANNEL_LIST(CHANNEL)
#undef CHANNEL
    },
    .tile = &LMX_K(tile),
    .fourier = &FOURIER,
    .soften = LMX_K(soften),
    .mix = LMX_K(mix),
    .subtract = LMX_K(subtract),
    .spread = LMX_K(spread),
    .pull = LMX_K(pull),
    .softcap = LMX_K(softcap),
    .softcap_slope = LMX_K(softcap_slope),
    .exp_split = LMX_K(exp_split),
    .exp = LMX_K(exp),
    .log = LMX_K(log),
    .two_pass = LMX_K(two_pass),
    .three_pass_recompute = LMX_K(three_pass_recompute),
    .three_pass_reload = LMX_K(three_pass_reload),
    .copy = LMX_K(copy),
};
