# SPDX-License-Identifier: Apache-2.0
"""What nodes tell beside their answers: detections and a standing question."""
