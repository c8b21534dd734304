# SPDX-License-Identifier: Apache-2.0
"""The part that knows the C library: contexts, registries, errors, calls on arrays as they are."""
