# SPDX-License-Identifier: Apache-2.0
"""What the nodes share: messages, parameters, camera, transforms, markers. Needs rclpy."""
