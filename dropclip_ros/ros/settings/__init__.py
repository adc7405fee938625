# SPDX-License-Identifier: Apache-2.0
"""Parameters that several nodes have, and the configurations of the core that they become."""
