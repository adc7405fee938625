# SPDX-License-Identifier: Apache-2.0
"""What every long run stands on: errors, files, jobs on many processes, checkpoints, logs, recipes in YAML."""
