// SPDX-License-Identifier: Apache-2.0
// The same file as C++.
#include "test_header.c"
