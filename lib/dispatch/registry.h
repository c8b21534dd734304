/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of values against what the registry says of them, for every entry of the library. */
#ifndef LMX_REGISTRY_H
#define LMX_REGISTRY_H

#include "lanemax/lanemax.h"

/* Whether a parameter may have this value.  The caller has entered its own floating-point environment: a comparison
 * with NaN may trap. */
int lmx_parameter_fits(const lmx_parameter *parameter, double value);

/* The same of an option by its number, LMX_OPTION_name. */
int lmx_option_fits(lmx_option option, double value);

/* How many of an operation's parameters the registry describes, and whether values[i] fits the i-th of them. */
size_t lmx_parameter_count(const lmx_parameter parameter[LMX_PARAMETERS_MAX]);
int lmx_parameters_fit(const lmx_parameter parameter[LMX_PARAMETERS_MAX], const double *values);

#endif
