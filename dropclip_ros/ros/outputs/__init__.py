# SPDX-License-Identifier: Apache-2.0
"""What nodes tell beside their answers: detections, a standing question, their health."""
