"""The fleet policy: which models are awake, on how many GPUs, and why. Pure: it knows no cluster."""

from deployments.fleet.config import CPU, FleetConfig, FleetModel, FleetRules
from deployments.fleet.decision import Action, Decision, ModelState, Reason, Shortage, Status
from deployments.fleet.journal import Entry, Journal
from deployments.fleet.observation import Footprint, Load, Node, Observation, Phase, Replica
from deployments.fleet.policy import FleetPolicy
from deployments.fleet.state import FleetState

__all__ = [
    "CPU",
    "Action",
    "Decision",
    "Entry",
    "FleetConfig",
    "FleetModel",
    "FleetPolicy",
    "FleetRules",
    "FleetState",
    "Footprint",
    "Journal",
    "Load",
    "ModelState",
    "Node",
    "Observation",
    "Phase",
    "Reason",
    "Replica",
    "Shortage",
    "Status",
]
