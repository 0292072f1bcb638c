"""Versions between this store and a remote: only what is missing travels, and refs go last."""

from mvs.ops.transfer.pull import Pulled, PullPlan, plan_pull, pull
from mvs.ops.transfer.push import Pushed, PushPlan, plan_push, push

__all__ = ["PullPlan", "Pulled", "PushPlan", "Pushed", "plan_pull", "plan_push", "pull", "push"]
