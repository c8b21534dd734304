# SPDX-License-Identifier: Apache-2.0
"""Array-likes to NumPy arrays that the library takes, and what their shapes allow."""
