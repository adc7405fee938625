# SPDX-License-Identifier: Apache-2.0
"""What a node that moves an arm needs beside a planner: is the robot the one of the model, and its gripper's action."""
