"""Sizes and speeds of dedup against TensorX, restic and borg, on a family that is trained or on the user's own."""

from bench.dedup import growth, sizes, speeds
from bench.dedup.family import family
from bench.dedup.ours import can
from bench.dedup.peers import installed
from bench.dedup.reading import family as read
from bench.measure import Meter
from bench.place import Place


def run(place: Place, meter: Meter) -> None:
    models = read(place.corpus if place.corpus else family(place.kept))
    if not can("dedup"):
        print("(this mvs has no 'dedup' yet: only what it will be measured against)")
    peers = installed(place.work)
    sizes.run(place, models, peers)
    speeds.run(place, meter, models, peers)
    if can("dedup"):
        growth.run(place, meter, models)
