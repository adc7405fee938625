// SPDX-License-Identifier: Apache-2.0
// Leaves for BehaviorTree.CPP 4 over the service `ground` and the action `grasp`, with behaviortree_ros2. A source
// example: copy it into a package that depends on behaviortree_ros2 and dropclip_ros. It was not compiled here.
//
//   BT::RosNodeParams params;
//   params.nh = node;
//   params.default_port_value = "ground";
//   factory.registerNodeType<dropclip::Ground>("Ground", params);
//   params.default_port_value = "grasp";
//   factory.registerNodeType<dropclip::Grasp>("Grasp", params);
//
//   <Sequence>
//     <Ground query="the red mug" frame="{frame}" centre="{centre}"/>
//     <Grasp query="the red mug" top_k="3" candidates="{candidates}"/>
//   </Sequence>
#pragma once

#include <behaviortree_ros2/bt_action_node.hpp>
#include <behaviortree_ros2/bt_service_node.hpp>

#include <memory>
#include <string>
#include <vector>

#include "dropclip_ros/action/grasp.hpp"
#include "dropclip_ros/msg/grasp_candidate.hpp"
#include "dropclip_ros/msg/status.hpp"
#include "dropclip_ros/srv/ground.hpp"

namespace dropclip {

using Status = dropclip_ros::msg::Status;

// Fails where nothing, or more than one thing, answers the phrase; `message` says why in the node's words.
class Ground : public BT::RosServiceNode<dropclip_ros::srv::Ground> {
 public:
  Ground(const std::string& name, const BT::NodeConfig& config, const BT::RosNodeParams& params)
      : RosServiceNode(name, config, params) {}

  static BT::PortsList providedPorts() {
    return providedBasicPorts({BT::InputPort<std::string>("query"), BT::OutputPort<std::string>("frame"),
                               BT::OutputPort<geometry_msgs::msg::Point>("centre"),
                               BT::OutputPort<std::string>("message")});
  }

  bool setRequest(Request::SharedPtr& request) override {
    return static_cast<bool>(getInput("query", request->query));
  }

  BT::NodeStatus onResponseReceived(const Response::SharedPtr& response) override {
    setOutput("message", response->message);
    if (response->status != Status::OK) return BT::NodeStatus::FAILURE;
    setOutput("frame", response->header.frame_id);
    setOutput("centre", response->objects.front().centre);
    return BT::NodeStatus::SUCCESS;
  }

  BT::NodeStatus onFailure(BT::ServiceNodeErrorCode) override { return BT::NodeStatus::FAILURE; }
};

// What it finds goes on to a leaf of the action `pick` as it is. Halted, the goal is cancelled.
class Grasp : public BT::RosActionNode<dropclip_ros::action::Grasp> {
 public:
  Grasp(const std::string& name, const BT::NodeConfig& config, const BT::RosNodeParams& params)
      : RosActionNode(name, config, params) {}

  static BT::PortsList providedPorts() {
    return providedBasicPorts({BT::InputPort<std::string>("query"), BT::InputPort<unsigned>("top_k", 0, "0: the node's"),
                               BT::OutputPort<std::vector<dropclip_ros::msg::GraspCandidate>>("candidates"),
                               BT::OutputPort<std_msgs::msg::Header>("header"),
                               BT::OutputPort<std::string>("message")});
  }

  bool setGoal(Goal& goal) override {
    unsigned top_k = 0;
    getInput("top_k", top_k);
    goal.top_k = static_cast<uint8_t>(top_k);
    return static_cast<bool>(getInput("query", goal.query));
  }

  BT::NodeStatus onResultReceived(const WrappedResult& wrapped) override {
    setOutput("message", wrapped.result->message);
    if (wrapped.result->status != Status::OK) return BT::NodeStatus::FAILURE;
    setOutput("candidates", wrapped.result->candidates);
    setOutput("header", wrapped.result->header);
    return BT::NodeStatus::SUCCESS;
  }

  BT::NodeStatus onFailure(BT::ActionNodeErrorCode) override { return BT::NodeStatus::FAILURE; }
};

}  // namespace dropclip
