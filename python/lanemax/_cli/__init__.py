# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m lanemax``, one module each; the library imports none of them."""
