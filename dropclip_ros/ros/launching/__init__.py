# SPDX-License-Identifier: Apache-2.0
"""What launch files share: the cameras' topics, the environment, arguments. Needs no rclpy; `files` needs launch."""
