# SPDX-License-Identifier: Apache-2.0
"""HGGD's architecture (`dropclip_ros.grasping.hggd`) trained on grasps of MV-TOD scenes.

dropclip-mvtod grasps --scenes SCENES                      # true grasps, once
python -m training.hggd --scenes SCENES --out runs/hggd    # trains, goes on where it was stopped, exports
python -m benchmarks.path.proposals --scenes HELD_OUT --model runs/hggd/model/hggd.pt
"""
