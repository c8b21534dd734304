/* SPDX-License-Identifier: Apache-2.0 */
/* The registry (ops.h) as tables that programs can read, and the one check of a value against it. */
#include "dispatch/registry.h"

#include "kernels/kernels.h"

static const lmx_row_info rows[] = {
#define INFO(number, name, inputs, result, takes, parameters, formula) \
  [number] = { #name, inputs, result, takes, { parameters }, formula },
    LMX_ROW_LIST(INFO)
#undef INFO
};

const lmx_row_info *lmx_row_op_info(int op)
{
    return op >= 0 && op < (int)LMX_ROW_COUNT ? &rows[op] : NULL;
}

static const lmx_loss_description losses[] = {
#define INFO(number, name, parameters, takes, formula) \
  [number] = { #name, { parameters }, takes, formula },
    LMX_LOSS_LIST(INFO)
#undef INFO
};

const lmx_loss_description *lmx_loss_info(int op)
{
    return op >= 0 && op < (int)LMX_LOSS_COUNT ? &losses[op] : NULL;
}

static const lmx_unary_description unaries[] = {
#define INFO(number, name, parameters, ulp, formula) \
  [number] = { #name, { parameters }, ulp, formula },
    LMX_UNARY_LIST(INFO)
#undef INFO
};

const lmx_unary_description *lmx_unary_info(int op)
{
    return op >= 0 && op < (int)LMX_UNARY_COUNT ? &unaries[op] : NULL;
}

static const lmx_channel_description channels[] = {
#define INFO(number, name, inputs, parameters, ulp, formula) \
  [number] = { #name, inputs, { parameters }, ulp, formula },
    LMX_CHANNEL_LIST(INFO)
#undef INFO
};

const lmx_channel_description *lmx_channel_info(int op)
{
    return op >= 0 && op < (int)LMX_CHANNEL_COUNT ? &channels[op] : NULL;
}

static const lmx_parameter options[] = {
#define INFO(number, name, standard, least, greatest, flags) \
  [number] = LMX_PARAMETER(name, standard, least, greatest, flags),
    LMX_OPTION_LIST(INFO)
#undef INFO
};

const lmx_parameter *lmx_option_info(int option)
{
    return option >= 0 && option < (int)LMX_OPTION_COUNT ? &options[option] : NULL;
}

/* ------------------------------------------------------------ checking --- */

static int is_multiple(double value, int64_t unit)
{
    if (value >= 0x1p+54 || value <= -0x1p+54) /* every double is, and int64_t may not hold it */
        return 1;
    return (double)((int64_t)value / unit * unit) == value;
}

int lmx_parameter_fits(const lmx_parameter *parameter, double value)
{
    const unsigned flags = parameter->flags;
    if ((flags & LMX_UNCHECKED) != 0 || ((flags & LMX_OPTIONAL) != 0 && value == 0))
        return 1;
    if (!lmx_finite(value) || value < parameter->least || value > parameter->greatest ||
        ((flags & LMX_ABOVE) != 0 && value == parameter->least))
        return 0;
    return (flags & LMX_EVEN) != 0      ? is_multiple(value, 2)
           : (flags & LMX_INTEGER) != 0 ? is_multiple(value, 1)
                                        : 1;
}

int lmx_option_fits(lmx_option option, double value)
{
    return lmx_parameter_fits(&options[option], value);
}

size_t lmx_parameter_count(const lmx_parameter parameter[LMX_PARAMETERS_MAX])
{
    size_t n = 0;
    while (n < LMX_PARAMETERS_MAX && parameter[n].name != NULL)
        n++;
    return n;
}

int lmx_parameters_fit(const lmx_parameter parameter[LMX_PARAMETERS_MAX], const double *values)
{
    const size_t n = lmx_parameter_count(parameter);
    for (size_t i = 0; i < n; i++)
        if (!lmx_parameter_fits(&parameter[i], values[i]))
            return 0;
    return 1;
}
