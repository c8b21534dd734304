/* SPDX-License-Identifier: Apache-2.0 */
/* See golden.h. */
#include "golden.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "rows.h"

bool golden_arguments(int argc, char **argv, lmx_dtype *dtype)
{
    const bool update = argc == 4 && strcmp(argv[3], "--update") == 0;
    if (argc == 3 || update)
        for (int i = 0; i < N_DTYPES; i++)
            if (strcmp(argv[1], dtype_name((lmx_dtype)i)) == 0) {
                *dtype = (lmx_dtype)i;
                return update;
            }
    fprintf(stderr, "usage: %s f32|f64|f16|bf16 GOLDEN [--update]\n", argv[0]);
    exit(2);
}

typedef struct golden_line {
    char name[40], type[8];
    uint64_t hash;
} golden_line;

#define MAX_GOLDEN 400

static golden_line golden[MAX_GOLDEN];
static size_t n_golden;

void golden_read(const char *path)
{
    FILE *const f = fopen(path, "r");
    char line[200];
    if (f == NULL)
        return;
    while (n_golden < MAX_GOLDEN && fgets(line, sizeof line, f) != NULL) {
        golden_line *const g = &golden[n_golden];
        if (line[0] != '#' && sscanf(line, "%39s %7s %" SCNx64, g->name, g->type, &g->hash) == 3)
            n_golden++;
    }
    fclose(f);
}

static golden_line *golden_find(const char *name, const char *type)
{
    for (size_t i = 0; i < n_golden; i++)
        if (strcmp(golden[i].name, name) == 0 && strcmp(golden[i].type, type) == 0)
            return &golden[i];
    return NULL;
}

void golden_write(const char *path)
{
    FILE *const f = fopen(path, "w");
    if (f == NULL) {
        perror(path);
        exit(3);
    }
    fprintf(
        f,
        "# FNV-1a of the results of the tests, the same for every tier, compiler, CPU and number "
        "of "
        "threads.\n# Written by test_ops and test_losses --update; changes with "
        "LMX_NUMERICS_VERSION, now %d.\n",
        LMX_NUMERICS_VERSION);
    for (size_t i = 0; i < n_golden; i++)
        fprintf(f, "%s %s %016" PRIx64 "\n", golden[i].name, golden[i].type, golden[i].hash);
    fclose(f);
}

void golden_check(const char *name, const char *type, uint64_t hash, bool update)
{
    golden_line *g = golden_find(name, type);
    if (update) {
        if (g == NULL && n_golden < MAX_GOLDEN) {
            g = &golden[n_golden++];
            snprintf(g->name, sizeof g->name, "%s", name);
            snprintf(g->type, sizeof g->type, "%s", type);
        }
        if (g != NULL)
            g->hash = hash;
    }
    if (g == NULL)
        check_fail("no line for it (hash %016" PRIx64 ")", hash);
    else if (g->hash != hash)
        check_fail("golden hash: got %016" PRIx64 " want %016" PRIx64, hash, g->hash);
    check_count(1);
}
