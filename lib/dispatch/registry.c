/* SPDX-License-Identifier: Apache-2.0 */
/* The registry (ops.h) as tables that programs can read. */
#include "lanemax/lanemax.h"

enum { ROW, VALUE, SUM };

static const lmx_row_info infos[] = {
#define INFO(number, name, inputs, result, options, parameter, standard, formula) \
  [number] = { #name, options, formula, inputs, result, parameter, standard },
    LMX_ROW_LIST(INFO)
#undef INFO
};

const lmx_row_info *lmx_row_op_info(int op)
{
    return op >= 0 && op < (int)LMX_ROW_COUNT ? &infos[op] : NULL;
}

static const lmx_loss_description losses[] = {
#define INFO(number, name, parameters, d0, d1, options, formula) \
  [number] = { #name, parameters, { d0, d1 }, options, formula },
    LMX_LOSS_LIST(INFO)
#undef INFO
};

const lmx_loss_description *lmx_loss_info(int op)
{
    return op >= 0 && op < (int)LMX_LOSS_COUNT ? &losses[op] : NULL;
}

static const lmx_unary_description unaries[] = {
#define INFO(number, name, parameters, standard, learned, ulp, formula) \
  [number] = { #name, parameters, standard, learned, ulp, formula },
    LMX_UNARY_LIST(INFO)
#undef INFO
};

const lmx_unary_description *lmx_unary_info(int op)
{
    return op >= 0 && op < (int)LMX_UNARY_COUNT ? &unaries[op] : NULL;
}

static const lmx_channel_description channels[] = {
#define INFO(number, name, inputs, parameters, learned, ulp, formula) \
  [number] = { #name, inputs, parameters, learned, ulp, formula },
    LMX_CHANNEL_LIST(INFO)
#undef INFO
};

const lmx_channel_description *lmx_channel_info(int op)
{
    return op >= 0 && op < (int)LMX_CHANNEL_COUNT ? &channels[op] : NULL;
}
