/* SPDX-License-Identifier: Apache-2.0 */
/* The text of each status, and the version. */
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
