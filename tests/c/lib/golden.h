/* SPDX-License-Identifier: Apache-2.0 */
/* Hashes of results, one for each function and element type, in a file that every build compares with. */
#ifndef LMX_TEST_GOLDEN_H
#define LMX_TEST_GOLDEN_H

#include <stdbool.h>
#include <stdint.h>

#include "lanemax/lanemax.h"

/* DTYPE GOLDEN [--update], else a line on how to call and exit; whether to update. */
bool golden_arguments(int argc, char **argv, lmx_dtype *dtype);

void golden_read(const char *path);

/* Compares the hash with the file's; with update, takes it into what golden_write() writes first. */
void golden_check(const char *name, const char *type, uint64_t hash, bool update);

void golden_write(const char *path);

#endif
