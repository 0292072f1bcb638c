"""Versions between this store and a remote: only what is missing travels, and refs go last."""

from mvs.ops.transfer import beside, bundle
from mvs.ops.transfer.beside import Beside, Differs
from mvs.ops.transfer.choosing import matching
from mvs.ops.transfer.mirror import Mirrored, mirror, plan_mirror
from mvs.ops.transfer.pull import Here, Pulled, PullPlan, plan_pull, pull
from mvs.ops.transfer.push import Pushed, PushPlan, plan_push, push
from mvs.ops.transfer.upkeep import Collection, Health, check, collect, delete, plan_collect
from mvs.ops.transfer.working import Working

__all__ = [
    "Beside",
    "Collection",
    "Differs",
    "Health",
    "Here",
    "Mirrored",
    "PullPlan",
    "Pulled",
    "PushPlan",
    "Pushed",
    "Working",
    "beside",
    "bundle",
    "check",
    "collect",
    "delete",
    "matching",
    "mirror",
    "plan_collect",
    "plan_mirror",
    "plan_pull",
    "plan_push",
    "pull",
    "push",
]
