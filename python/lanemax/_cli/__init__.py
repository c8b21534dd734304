# SPDX-License-Identifier: Apache-2.0
"""The commands of ``python -m lanemax``, one module each; nothing here is imported by the library."""
