// SPDX-License-Identifier: Apache-2.0
// A generator stage for MoveIt Task Constructor whose poses are the candidates of the action `grasp`, best first. A
// source example: copy it into a package that depends on moveit_task_constructor_core, rclcpp_action and dropclip_ros.
// It was not compiled here.
//
//   auto grasps = std::make_unique<dropclip::GraspStage>("grasps of a phrase", node, "the red mug");
//   grasps->setMonitoredStage(current_state);
//   auto ik = std::make_unique<mtc::stages::ComputeIK>("grasp IK", std::move(grasps));
//   ik->setMaxIKSolutions(4);
//   ik->setIKFrame("tool0");  // candidates are poses of the tool link
//   ik->properties().configureInitFrom(mtc::Stage::PARENT, {"eef", "group"});
//   ik->properties().configureInitFrom(mtc::Stage::INTERFACE, {"target_pose"});
//
// Around it as usual: MoveRelative along the tool's approach before it (from `pregrasp`, 10 cm by the matcher's
// `approach_distance`), allowing the hand and the object to touch, closing, attaching, MoveRelative up after it.
// The objects of the scene, object_N, are those of moveit_pick_node, or of `~/scene`; N is the id in `~/detections`.
// Each state has a property "width": what to open the hand to before the approach, m.
#pragma once

#include <moveit/planning_scene/planning_scene.h>
#include <moveit/task_constructor/stages/generate_pose.h>
#include <moveit/task_constructor/storage.h>

#include <chrono>
#include <rclcpp/rclcpp.hpp>
#include <rclcpp_action/rclcpp_action.hpp>
#include <string>
#include <utility>

#include "dropclip_ros/action/grasp.hpp"
#include "dropclip_ros/msg/status.hpp"

namespace dropclip {

namespace mtc = moveit::task_constructor;

class GraspStage : public mtc::stages::GeneratePose {
 public:
  using Action = dropclip_ros::action::Grasp;

  // node: not spun by anybody else while the task plans; timeout: for the whole answer, s.
  GraspStage(const std::string& name, rclcpp::Node::SharedPtr node, std::string query, double timeout = 60.0)
      : GeneratePose(name), node_(std::move(node)), query_(std::move(query)), timeout_(timeout) {
    client_ = rclcpp_action::create_client<Action>(node_, "grasp");
  }

  void compute() override {
    if (upstream_solutions_.empty()) return;
    const auto scene = upstream_solutions_.pop()->end()->scene()->diff();
    const auto answer = ask();
    if (!answer || answer->status != dropclip_ros::msg::Status::OK) {
      mtc::InterfaceState state(scene);
      mtc::SubTrajectory failure;
      failure.markAsFailure(answer ? answer->message : "no answer of the action grasp within " + std::to_string(timeout_) + " s");
      spawn(std::move(state), std::move(failure));
      return;
    }
    double cost = 0.0;
    for (const auto& candidate : answer->candidates) {
      geometry_msgs::msg::PoseStamped pose;
      pose.header = answer->header;
      pose.pose = candidate.tool;
      mtc::InterfaceState state(scene);
      state.properties().set("target_pose", pose);
      state.properties().set("width", static_cast<double>(candidate.grasp.width));
      mtc::SubTrajectory trajectory;
      trajectory.setCost(cost);  // by rank, from 0 to below 1
      trajectory.setComment("grasp of " + query_);
      spawn(std::move(state), std::move(trajectory));
      cost += 1.0 / static_cast<double>(answer->candidates.size());
    }
  }

 private:
  Action::Result::SharedPtr ask() {
    const auto wait = std::chrono::duration<double>(timeout_);
    if (!client_->wait_for_action_server(wait)) return nullptr;
    Action::Goal goal;
    goal.query = query_;
    auto sent = client_->async_send_goal(goal);
    if (rclcpp::spin_until_future_complete(node_, sent, wait) != rclcpp::FutureReturnCode::SUCCESS) return nullptr;
    const auto handle = sent.get();
    if (!handle) return nullptr;
    auto result = client_->async_get_result(handle);
    if (rclcpp::spin_until_future_complete(node_, result, wait) != rclcpp::FutureReturnCode::SUCCESS) {
      client_->async_cancel_goal(handle);
      return nullptr;
    }
    return result.get().result;
  }

  rclcpp::Node::SharedPtr node_;
  std::string query_;
  double timeout_;
  rclcpp_action::Client<Action>::SharedPtr client_;
};

}  // namespace dropclip
