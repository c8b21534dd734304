/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled once for each public header, named by TEST_HEADER, as C11 here and as C++ through
 * test_header.cpp: it must stand alone, may be included twice, and leaves nothing behind
 * but declarations.
 */
#include TEST_HEADER
#include TEST_HEADER

#ifdef __cplusplus
#  define STATIC_ASSERT static_assert
#else
#  define STATIC_ASSERT _Static_assert
#endif

#ifdef LANEMAX_OPS_H
/* Numbers are ABI: consecutive from 0. */
enum {
#  define COUNT_ONE(number, name, inputs, result, takes, parameters, formula) count_##name = number,
    LMX_ROW_LIST(COUNT_ONE)
#  undef COUNT_ONE
        count_of_rows
};
STATIC_ASSERT(count_softmax == 0 && count_exp_sum == 5 && count_log_stablemax_vjp == 13 &&
                  count_of_rows >= 14,
              "the numbers are ABI");
#endif

#ifdef LANEMAX_LANEMAX_H
STATIC_ASSERT(sizeof(lmx_expsum) == 48, "lmx_expsum is stored in users' files");
STATIC_ASSERT(LMX_F32 == 0 && LMX_F64 == 1 && LMX_F16 == 2 && LMX_BF16 == 3, "the numbers are ABI");
STATIC_ASSERT(LMX_ERR_OVERFLOW == 12, "the numbers are ABI");
STATIC_ASSERT(LMX_ERR_NUMERIC == 13, "the numbers are ABI");
STATIC_ASSERT(LMX_ROW_exp_sum == 5 && LMX_ROW_COUNT == (int)count_of_rows,
              "enum and registry agree");
#endif

int main(void)
{
#ifdef LANEMAX_LANEMAX_H
    /* Of C linkage, or this does not link. */
    const lmx_row_info *const info = lmx_row_op_info(LMX_ROW_softmax);
    return info != 0 && lmx_abi_version() == LMX_ABI_VERSION ? 0 : 1;
#else
    return 0;
#endif
}
