/* SPDX-License-Identifier: Apache-2.0 */
/* Texts, version, registry: what the library says about itself. */
#include "cpu.h"
#include "dispatch.h"
#include "lanemax/lanemax.h"

const char *lmx_status_string(lmx_status status)
{
    switch (status) {
    case LMX_OK:
        return "success";
    case LMX_ERR_NULL:
        return "a required pointer is NULL";
    case LMX_ERR_SHAPE:
        return "shapes do not fit together";
    case LMX_ERR_STRIDE:
        return "the elements of an output overlap each other";
    case LMX_ERR_LABEL:
        return "a target is out of range";
    case LMX_ERR_OP:
        return "unknown operation, or an option that it does not take";
    case LMX_ERR_NOMEM:
        return "out of memory";
    case LMX_ERR_ISA:
        return "the instruction set is not built in or not supported by this CPU";
    case LMX_ERR_ALIGN:
        return "a pointer is not aligned to its element size";
    case LMX_ERR_OVERLAP:
        return "an output partly overlaps an input";
    case LMX_ERR_DTYPE:
        return "unknown element type";
    case LMX_ERR_ARG:
        return "a parameter is out of range";
    case LMX_ERR_OVERFLOW:
        return "the array is larger than the address space";
    case LMX_ERR_NUMERIC:
        return "a number that would be kept is not finite";
    }
    return "unknown status";
}

const char *lmx_version(void) { return LMX_VERSION_STRING; }

int lmx_abi_version(void) { return LMX_ABI_VERSION; }

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

const char *lmx_isa_available(int i)
{
    const uint32_t features = lmx_cpu_features();
    int seen = 0;
    for (size_t k = 0; lmx_tier_at(k) != NULL; k++)
        if ((lmx_tier_at(k)->needs & ~features) == 0 && lmx_tier_works(lmx_tier_at(k)) &&
            seen++ == i)
            return lmx_tier_at(k)->isa;
    return NULL;
}

int lmx_isa_ignored(void) { return lmx_tier_override_ignored(); }
